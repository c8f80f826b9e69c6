"""Outcomes in words: what the kernel said to a request for a resource."""

from __future__ import annotations

from vtopo.backends.base import Done, Failed, Outcome
from vtopo.backends.netlink_socket import Answer
from vtopo.compile.resources import Resource


def failed(r: Resource, error: Answer | OSError) -> Failed:
    """The resource was not made, changed or removed."""
    if isinstance(error, Answer):
        return Failed(r.id, str(error), error.errno)
    where = f" ({error.filename})" if error.filename else ""
    return Failed(r.id, f"{error.strerror}{where}", error.errno or 0)


def outcome(r: Resource, answer: Answer) -> Outcome:
    """Done, if the kernel said so."""
    return failed(r, answer) if answer.errno else Done(r.id)
