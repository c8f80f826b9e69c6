"""The README's two commands work on a fresh machine; `make test-fresh` runs this, since it takes long."""

from guest.boot import succeeds


def test_a_fresh_machine_needs_no_more_than_the_readme_says() -> None:
    succeeds("fresh.sh", seconds=3500)  # emulated on two CPUs with a load of twelve: 2343
