"""How many hosts a lab has at first sight of its text, before it is parsed: for starting things early."""

from __future__ import annotations

import re

_HOSTS = re.compile(
    r"^host[ \t]+[A-Za-z_][\w-]*(?:\[([0-9]{1,6})\.\.([0-9]{1,6})\])?[ \t]*(?:$|[#{:])",
    re.ASCII | re.MULTILINE,
)
_USERS = re.compile(r"\bmap\b|\bnamespaces\b[^\]\n]*\buser\b")
_NO_NET = re.compile(r"\bnamespaces\b(?![^\]\n]*\bnet\b)")


def hosts_at_sight(text: str) -> int:
    """At least so many hosts with a network namespace of the usual kind there very probably are; often all.

    Only what stands plainly at the beginning of a line counts, and none does in a lab that has others, too.
    """
    return 0 if _USERS.search(text) or _NO_NET.search(text) else _plain_hosts(text)


def hosts_with_users_at_sight(text: str) -> int:
    """About so many hosts with a user namespace there very probably are; none if no line says so."""
    return _plain_hosts(text) if _USERS.search(text) else 0


def _plain_hosts(text: str) -> int:
    count = 0
    for match in _HOSTS.finditer(text):
        first, last = match[1], match[2]
        count += 1 if first is None else max(0, int(last) - int(first) + 1)
    return count
