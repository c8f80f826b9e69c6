"""Reads how hosts are set apart, and finds what cannot be together: maps that contradict, links without a network."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence

from vtopo.lang.diagnostics import Diagnostics, Label
from vtopo.lang.source import Range
from vtopo.model.draft import Draft, NodeDraft
from vtopo.model.kinds import NAMESPACES, USUAL
from vtopo.model.lab import Expectation, IdMap, Isolation, Output
from vtopo.model.properties import Read, Setting, Settings

_IDS = 2**32 - 1  # the last number of 32 bits is no id
_MOST_MAPS = 340  # lines that the kernel takes for one map (user_namespaces(7))
_OF_THE_NETWORK = ("route", "sysctl", "masquerade", "forward")
_OF_THE_FILES = ("rootfs", "bind", "file")


class IsolationPass:
    """Reads what the hosts of a lab have of their own."""

    def __init__(self, draft: Draft, expectations: Sequence[Expectation], diagnostics: Diagnostics) -> None:
        self._draft = draft
        self._expectations = expectations
        self._diagnostics = diagnostics

    def resolve(self) -> Mapping[str, Isolation]:
        """Those of the hosts that say anything of it, by their names."""
        found: dict[str, Isolation] = {}
        for node in self._draft.nodes.values():
            said = node.settings.found
            if node.kind == "host" and any(name in said for name in ("namespaces", "map", "rootfs")):
                self._diagnostics.via = node.via
                found[node.name] = self._of(node)
        without = {name for name, isolation in found.items() if "net" not in isolation.namespaces}
        if without:
            self._check_expectations(without)
        return found

    def _of(self, node: NodeDraft) -> Isolation:
        settings = node.settings
        namespaces = self._namespaces(settings)
        uids, gids = self._map(settings, "uid"), self._map(settings, "gid")
        written = settings.one("namespaces", tuple)
        if written is not None:
            self._check(node, namespaces, written)
        return Isolation(namespaces, uids or gids, gids or uids, self._rootfs(settings))

    def _namespaces(self, settings: Settings) -> tuple[str, ...]:
        written = settings.one("namespaces", tuple)
        maps = settings.many("map")
        if written is None:
            return _ordered({*USUAL, *(("user",) if maps else ())})
        named = [str(word) for word in written.value]
        if not named:
            self._bad("a host has at least one namespace of its own", written.range, "none here")
        if maps and "user" not in named:
            self._bad(
                "a map of ids takes a user namespace",
                maps[0].range,
                others=[Label(written.range, "`user` is not among these")],
                help="add `user` to `namespaces`, or leave the map out",
            )
        return _ordered(set(named))

    # Maps

    def _map(self, settings: Settings, ids: str) -> tuple[IdMap, ...]:
        written = [s for s in settings.many("map") if s.slots["ids"] == ids]
        maps = [_id_map(setting) for setting in written]
        for one, setting in zip(maps, written, strict=True):
            if max(one.inside, one.outside) + one.count > _IDS:
                self._bad(
                    f"this map goes past the last {ids}",
                    setting.range,
                    f"there are {_IDS} ids, from 0 to {_IDS - 1}",
                    help="a smaller `count`",
                )
        for at, one in enumerate(maps):
            for before, other in zip(maps[:at], written, strict=False):
                if where := _overlap(one, before):
                    others = [Label(other.range, "mapped here")]
                    self._bad(f"{ids} {where} is mapped twice", written[at].range, "and here", others)
        if len(maps) > _MOST_MAPS:
            self._bad(
                f"more than {_MOST_MAPS} maps of {ids}s",
                written[_MOST_MAPS].range,
                "the kernel takes no more",
            )
        if maps and not any(one.inside == 0 for one in maps):
            self._bad(
                f"no {ids} is 0 in this host",
                written[0].range,
                "what runs in a host starts as its root",
                help=f"such as `map {ids} 0 -> {maps[0].outside} count 1`",
            )
        return tuple(maps)

    # Root

    def _rootfs(self, settings: Settings) -> str | None:
        written = settings.one("rootfs", str)
        if written is None:
            return None
        if not written.value or "\0" in written.value:
            self._bad("a root is a folder of the machine", written.range, "this is none")
        return posixpath.normpath(posixpath.join(posixpath.dirname(written.range.path), written.value))

    # What is not the host's own

    def _check(
        self, node: NodeDraft, namespaces: tuple[str, ...], written: Setting[tuple[object, ...]]
    ) -> None:
        if "net" not in namespaces:
            for place, label in self._in_the_network(node):
                self._bad(
                    f"`{node.name}` has no network of its own",
                    place,
                    label,
                    [Label(written.range, "`net` is not among these")],
                    help="add `net` to `namespaces`: the machine's own network is never changed",
                )
        if "mnt" not in namespaces:
            for name in _OF_THE_FILES:
                for setting in (*node.settings.many(name), *node.late.many(name)):
                    self._bad(
                        f"`{node.name}` has no files of its own",
                        setting.range,
                        f"`{name}` takes a mount namespace",
                        [Label(written.range, "`mnt` is not among these")],
                        help="add `mnt` to `namespaces`: the machine's own files are never changed",
                    )

    def _in_the_network(self, node: NodeDraft) -> Iterator[tuple[Range, str]]:
        for end in node.ends:
            yield end.range, "plugged in here" if end.peer is not None else "an interface of its own"
        for name in _OF_THE_NETWORK:
            for setting in (*node.settings.many(name), *node.late.many(name)):
                yield setting.range, f"`{name}` takes one"
        for other in self._draft.nodes.values():
            if other.host is node and other.is_bridge:
                yield other.range, "a bridge in it"

    def _check_expectations(self, without: set[str]) -> None:
        self._diagnostics.via = None
        for expectation in self._expectations:
            claim = expectation.claim
            if not isinstance(claim, Output) and claim.subject in without:
                self._bad(
                    f"`{claim.subject}` has no network of its own",
                    expectation.range,
                    "it sends nothing",
                    [Label(self._draft.nodes[claim.subject].range, "its `namespaces` have no `net`")],
                )

    def _bad(
        self, message: str, place: Range, label: str = "", others: Sequence[Label] = (), help: str = ""
    ) -> None:
        self._diagnostics.add("E0218", message, place, label, others=list(others), help=help)


def _ordered(kinds: set[str]) -> tuple[str, ...]:
    return tuple(kind for kind in NAMESPACES if kind in kinds)


def _id_map(setting: Setting[Read]) -> IdMap:
    inside, outside, count = (setting.slots[name] for name in ("inside", "outside", "count"))
    assert isinstance(inside, int)
    assert isinstance(outside, int)
    assert isinstance(count, int)
    return IdMap(inside, outside, count)


def _overlap(one: IdMap, other: IdMap) -> str:
    """What two maps both have, in words; empty if nothing."""
    for side in ("inside", "outside"):
        first, second = getattr(one, side), getattr(other, side)
        both = max(first, second)
        if both < min(first + one.count, second + other.count):
            return f"{both} {side}"
    return ""
