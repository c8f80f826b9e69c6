"""How many hosts a lab has at first sight of its text, before it is parsed: for starting things early."""

from __future__ import annotations

import re

_HOSTS = re.compile(
    r"^host[ \t]+[A-Za-z_][\w-]*(?:\[([0-9]{1,6})\.\.([0-9]{1,6})\])?[ \t]*(?:$|[#{:])",
    re.ASCII | re.MULTILINE,
)
_OTHERWISE = re.compile(r"\bmap\b|\bnamespaces\b(?![^\]\n]*\bnet\b)|\bnamespaces\b[^\]\n]*\buser\b")


def hosts_at_sight(text: str) -> int:
    """At least so many hosts with a network namespace of the usual kind there very probably are; often all.

    Only what stands plainly at the beginning of a line counts, and none does in a lab that has others, too.
    """
    if _OTHERWISE.search(text):
        return 0
    count = 0
    for match in _HOSTS.finditer(text):
        first, last = match[1], match[2]
        count += 1 if first is None else max(0, int(last) - int(first) + 1)
    return count
