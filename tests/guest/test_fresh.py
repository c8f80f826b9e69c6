"""The README's two commands work on a fresh machine; `make test-fresh` runs this, since it takes long."""

import pytest

from guest.boot import succeeds

SECONDS = 3500
"""Emulated on two CPUs with a load of twelve: 2343."""


@pytest.mark.timeout(SECONDS + 900)  # with what is installed and built first
def test_a_fresh_machine_needs_no_more_than_the_readme_says() -> None:
    succeeds("fresh.sh", seconds=SECONDS)
