"""The backend of links, forwarding entries, addresses, routes and sysctls: what stands inside network namespaces."""

from __future__ import annotations

import errno
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

from vtopo.backends import links, observe, settings
from vtopo.backends.base import Failed, Handle, Outcome, Present, Watch, Weigh
from vtopo.backends.netlink_socket import Answer
from vtopo.backends.outcomes import failed
from vtopo.backends.places import Places
from vtopo.backends.threads import apart
from vtopo.compile.resources import (
    Address,
    Attached,
    Bond,
    Bridge,
    Dummy,
    Forward,
    Nat,
    Neighbour,
    Resource,
    Sysctl,
    Tap,
    Veth,
    Vlan,
    Vrf,
    Vxlan,
)

T = TypeVar("T")


class NetlinkBackend:
    """Links and their settings in the namespaces of one lab.

    It keeps namespaces open from one call to the next; `close` lets go of them. A call with handles that
    lack one, or have another for its id, lets go of that one.
    """

    kinds = frozenset(
        {
            *("bridge", "veth", "vxlan", "tap", "vlan", "bond", "vrf", "dummy", "attached"),
            *("flood", "forward", "neighbour", "static-mac", "address", "route", "nat", "sysctl"),
        }
    )
    slow: Mapping[str, Weigh] = MappingProxyType({})

    def __init__(self, lab: str, watch: Watch | None = None) -> None:
        self.lab = lab
        self._places = Places(lab, watch)
        self._lock = threading.Lock()  # the kernel has one, too: RTNL

    def close(self) -> None:
        """Let go of all namespaces."""
        with self._lock:
            self._places.close()

    def _apart(self, handles: Mapping[str, Handle], work: Callable[[], T]) -> T:
        with self._lock:
            self._places.renew(handles)
            return apart(work)

    def observe(self, recorded: Sequence[Resource], handles: Mapping[str, Handle]) -> Mapping[str, Present]:
        """What exists of the recorded, as the kernel tells it."""
        return self._apart(handles, partial(observe.observe, self._places, recorded))

    def unable(self, batch: Sequence[Resource]) -> Iterator[Failed]:
        """What this kernel has nothing for."""
        from vtopo.backends import features

        return features.unable(batch)

    def create(self, batch: Sequence[Resource], handles: Mapping[str, Handle]) -> Iterator[Outcome]:
        """Make resources of one kind."""
        from vtopo.backends import nat, own, taps

        makers: dict[str, Callable[[Places, Any], list[Outcome]]] = {
            "bridge": links.create_bridges,
            "veth": links.create_veths,
            "vxlan": links.create_vxlans,
            "tap": taps.create,
            **dict.fromkeys(("vlan", "bond", "vrf", "dummy"), own.create),
            "attached": own.attach,
            "address": settings.create,
            "route": settings.create,
            "flood": settings.create,
            "forward": settings.create,
            "neighbour": settings.create,
            "static-mac": settings.create,
            "nat": nat.create,
            "sysctl": partial(settings.set_sysctls, action="create"),
        }
        for kind, there in _by_kind(batch).items():
            for part in _parts(there):
                yield from self._apart(handles, partial(makers[kind], self._places, part))

    def update(
        self, batch: Sequence[tuple[Resource, Resource]], handles: Mapping[str, Handle]
    ) -> Iterator[Outcome]:
        """Change what is of links and sysctls in place."""
        for old, new in batch:
            yield from self._apart(handles, partial(self._update, old, new))

    def _update(self, old: Resource, new: Resource) -> list[Outcome]:
        if isinstance(new, Sysctl):
            return settings.set_sysctls(self._places, [new], "change")
        if isinstance(new, Forward | Neighbour):
            return settings.update(self._places, new)
        if isinstance(old, Address) and isinstance(new, Address):
            return settings.change_address(self._places, old, new)
        if isinstance(old, Veth | Bridge | Vxlan):
            return [links.update(self._places, old, new)]
        from vtopo.backends import nat, own, taps

        if isinstance(new, Nat):
            return nat.create(self._places, [new])
        if isinstance(new, Tap):
            return [taps.update(self._places, new)]
        if isinstance(new, Vlan | Bond | Vrf | Dummy) and isinstance(old, Vlan | Bond | Vrf | Dummy):
            return [own.update(self._places, old, new)]
        if isinstance(new, Attached):
            return [own.update_attached(self._places, new)]
        return [failed(new, Answer(errno.EOPNOTSUPP))]

    def delete(self, batch: Sequence[Resource], handles: Mapping[str, Handle]) -> Iterator[Outcome]:
        """Remove single resources from namespaces that stay."""
        from vtopo.backends import nat, own, taps

        removers: dict[str, Callable[[Places, Any], list[Outcome]]] = {
            **dict.fromkeys(("bridge", "veth", "vxlan", "vlan", "bond", "vrf", "dummy"), links.delete),
            **dict.fromkeys(
                ("address", "route", "flood", "forward", "neighbour", "static-mac"), settings.delete
            ),
            "nat": nat.delete,
            "sysctl": settings.reset_sysctls,
            "tap": taps.delete,
            "attached": own.detach,
        }
        for kind, there in _by_kind(batch).items():
            if kind not in removers:
                yield from (failed(r, Answer(errno.EOPNOTSUPP)) for r in there)
                continue
            yield from self._apart(handles, partial(removers[kind], self._places, there))

    def traces(self) -> Sequence[str]:
        """None of its own: every link is in a namespace that the namespaces' backend finds."""
        return ()

    def sweep(self) -> Sequence[str]:
        """Nothing: all of these end with the namespaces, which are found by their own marks."""
        self.close()
        return []


def _by_kind(batch: Sequence[Resource]) -> dict[str, list[Resource]]:
    by_kind: dict[str, list[Resource]] = defaultdict(list)
    for r in batch:
        by_kind[r.kind].append(r)
    return by_kind


def _parts(batch: list[Resource], size: int = 512) -> Iterator[list[Resource]]:
    """A long batch in parts, so that progress shows and an interrupt waits for a part only."""
    for i in range(0, len(batch), size):
        yield batch[i : i + size]
