"""How many hosts a text has at first sight: never more than it has, where it says nothing unusual."""

from __future__ import annotations

from pathlib import Path

import pytest

from vtopo.compile.frontend import check_source
from vtopo.lang.census import hosts_at_sight, hosts_with_users_at_sight
from vtopo.lang.source import Source

LABS = Path(__file__).parents[2] / "labs"


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("host a", 1),
        ("host a\nhost b # the other\nhost c { forward on }\nhost d : t\n", 4),
        ("host h[1..1000]\nhost extra\n", 1001),
        ("host h[5..2]\nhost [x]\n# host a\n  host b\nhosts c\nhost a-b\n", 1),
        ("bridge b\nlink a -- b\nlet n = 3\nhost h[1..n]\n", 0),
        ("host a { namespaces [net, mnt] }\nhost b\n", 2),
        ("host a { namespaces [pid, mnt] }\nhost b\n", 0),
        ("host a { namespaces [net, user] }\nhost b\n", 0),
        ("host a { map uid 0 1000 }\nhost b\n", 0),
    ],
)
def test_what_stands_plainly_counts(text: str, count: int) -> None:
    assert hosts_at_sight(text) == count


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("host h[1..1000]\n", 0),
        ("host h[1..1000] { namespaces [net, mnt, user] }\nhost b\n", 1001),
        ("host h[1..200] {\n  map uid 0 -> 1000 count 1\n}\n", 200),
        ("host h[1..200] { namespaces [net] }\n", 0),
    ],
)
def test_those_with_a_user_namespace_are_told_apart(text: str, count: int) -> None:
    assert hosts_with_users_at_sight(text) == count


@pytest.mark.parametrize("path", sorted(LABS.glob("*.vlab")), ids=lambda path: path.name)
def test_no_more_than_there_are(path: Path) -> None:
    checked = check_source(Source(str(path), path.read_text()))
    if checked.lab is not None:  # others use files
        assert hosts_at_sight(path.read_text()) <= sum(host.kind == "host" for host in checked.lab.hosts)
