"""Whether this process works without root: inside the world that a keeper keeps for an ordinary user, and as what."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from vtopo.backends.base import Done, Failed, Handle, Outcome, Present, Weigh
from vtopo.compile.resources import Resource

MARK = Path("/run/vtopo-keeper")
"""In a keeper's world, a file with the token of that keeper; root's own /run has none."""


def inside() -> bool:
    """Whether this process is in a keeper's world."""
    return MARK.exists()


def outside() -> bool:
    """Whether this process is an ordinary user's, and in no world of theirs."""
    return os.geteuid() != 0


def token() -> str:
    """The name of the keeper whose world this is, which no other keeper has; empty outside of any."""
    try:
        return MARK.read_text().strip()
    except FileNotFoundError:
        return ""


class NeedsRoot:
    """The backend of kinds of resources that take root: it refuses them, before anything is made, and has none."""

    slow: Mapping[str, Weigh] = MappingProxyType({})

    def __init__(self, kinds: Iterable[str], what: str) -> None:
        """`what` takes root, as the beginning of a sentence."""
        self.kinds = frozenset(kinds)
        self._reason = f"{what} root; run vtopo with sudo, or take it out of the lab"
        self._refused: set[str] = set()

    def observe(self, recorded: Sequence[Resource], handles: Mapping[str, Handle]) -> Mapping[str, Present]:
        """Nothing exists."""
        return {}

    def unable(self, batch: Sequence[Resource]) -> Iterator[Failed]:
        """All of them, told once for each node: what a machine consists of need not be read one by one."""
        for r in batch:
            node = r.id.partition("/")[0]
            if node not in self._refused:
                self._refused.add(node)
                yield Failed(r.id, self._reason, errno.EPERM)

    def create(self, batch: Sequence[Resource], handles: Mapping[str, Handle]) -> Iterator[Outcome]:
        """Refuse them."""
        return (Failed(r.id, self._reason, errno.EPERM) for r in batch)

    def update(
        self, batch: Sequence[tuple[Resource, Resource]], handles: Mapping[str, Handle]
    ) -> Iterator[Outcome]:
        """Refuse them."""
        return (Failed(to.id, self._reason, errno.EPERM) for _, to in batch)

    def delete(self, batch: Sequence[Resource], handles: Mapping[str, Handle]) -> Iterator[Outcome]:
        """They are gone already."""
        return (Done(r.id) for r in batch)

    def traces(self) -> Sequence[str]:
        """None."""
        return ()

    def sweep(self) -> Sequence[str]:
        """Nothing to remove."""
        return ()


def other_owners(batch: Sequence[Resource]) -> Iterator[Failed]:
    """Files of others than root, where the user namespace has no id but the user's own."""
    if not inside() or _ids() > 1:
        return
    from vtopo.compile.resources import File

    for r in batch:
        if isinstance(r, File) and any(part not in ("root", "0") for part in r.owner.split(":")):
            yield Failed(
                r.id,
                f"{r.path}: the owner {r.owner} takes root, or a range of ids for you in /etc/subuid and "
                "/etc/subgid together with newuidmap(1)",
            )


def _ids() -> int:
    lines = Path("/proc/self/uid_map").read_text().splitlines()
    return sum(int(line.split()[2]) for line in lines)
