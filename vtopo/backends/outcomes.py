"""Outcomes in words: what was being done to which resource, and what the kernel said to it."""

from __future__ import annotations

from vtopo.backends.base import Done, Failed, Outcome
from vtopo.backends.netlink_socket import Answer
from vtopo.compile.resources import Resource


def label(r: Resource) -> str:
    """Kind and name, such as `veth a:eth0--b:eth0`."""
    name, slash, kind = r.id.rpartition("/")
    return f"{r.kind} {name if slash and kind == r.kind else r.id}"


def failed(action: str, r: Resource, error: Answer | OSError) -> Failed:
    """The resource was not made, changed or removed."""
    if isinstance(error, Answer):
        return Failed(r.id, f"{action} of {label(r)}: {error}", error.errno)
    where = f" ({error.filename})" if error.filename else ""
    return Failed(r.id, f"{action} of {label(r)}: {error.strerror}{where}", error.errno or 0)


def outcome(action: str, r: Resource, answer: Answer) -> Outcome:
    """Done, if the kernel said so."""
    return failed(action, r, answer) if answer.errno else Done(r.id)
