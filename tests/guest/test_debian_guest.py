"""What this machine's kernel lacks is tried on a stock Debian, by the tests that are marked `debian`.

`VTOPO_GUEST_TESTS="tests/system/test_netem.py -k rate"` runs only those.
"""

import os
import xml.etree.ElementTree as ET
from collections.abc import Callable

import pytest

from guest.boot import succeeds

SECONDS = 2400
"""Emulated, beside the other tests, it has taken half of that."""


@pytest.mark.timeout(SECONDS + 900)  # with what is installed and built first
def test_the_system_tests_hold_on_a_stock_debian(record_property: Callable[[str, object], None]) -> None:
    words = os.environ.get("VTOPO_GUEST_TESTS", "")
    ended = succeeds("system-tests.sh", SECONDS, words, compiled=True)
    assert ended.junit is not None
    cases = list(ET.fromstring(ended.junit).iter("testcase"))
    passed = [case.get("name", "") for case in cases if len(case) == 0]
    skipped = len(cases) - len(passed)
    record_property(
        "in the Debian guest", f"{len(passed)} passed, {skipped} skipped in {ended.seconds:.0f} s"
    )
    if words:
        return
    # Selected and run: a guest whose kernel, tools or marks are wrong would skip, and say that all is well.
    for name in ("test_a_v2_group_refuses_devices_by_a_program", "test_lab[limits]"):
        assert name in passed
    assert len(passed) > 2 * skipped
