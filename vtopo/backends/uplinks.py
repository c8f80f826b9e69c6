"""The backend of gate, macvlan and machine-vxlan: what of a lab touches the machine's own network namespace."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar

from vtopo.backends import gates, links, machine_vxlans, macvlans, nft
from vtopo.backends.base import BackendError, Done, Failed, Handle, Outcome, Present, Watch, Weigh
from vtopo.backends.outcomes import failed
from vtopo.backends.places import Places
from vtopo.backends.threads import apart
from vtopo.compile.machine_names import gate_device
from vtopo.compile.resources import Gate, MachineVxlan, Macvlan, Resource

T = TypeVar("T")

_UNSEEN = "what this machine's own network has cannot be seen"


class UplinkBackend:
    """The ways out of one lab. Tables are marked by their names, links by their group."""

    kinds = frozenset({"gate", "macvlan", "machine-vxlan"})
    slow: Mapping[str, Weigh] = MappingProxyType({})

    def __init__(self, lab: str, watch: Watch | None = None) -> None:
        self.lab = lab
        self._places = Places(lab, watch)
        self._lock = threading.Lock()

    def _apart(self, handles: Mapping[str, Handle], work: Callable[[], T]) -> T:
        with self._lock:
            self._places.renew(handles)
            try:
                return apart(work)
            finally:
                self._places.close()  # no namespace is kept that others take away

    def observe(self, recorded: Sequence[Resource], handles: Mapping[str, Handle]) -> Mapping[str, Present]:
        """What is there, as the kernel tells it."""

        def look() -> list[Resource]:
            with gates.opened() as there:
                found: list[Resource] = []
                found += gates.observe(self._places, there, [r for r in recorded if isinstance(r, Gate)])
                found += macvlans.observe(
                    self._places, there, [r for r in recorded if isinstance(r, Macvlan)]
                )
                found += machine_vxlans.observe(
                    self._places, there, [r for r in recorded if isinstance(r, MachineVxlan)]
                )
                return found

        try:
            return {r.id: Present(r) for r in self._apart(handles, look)} if recorded else {}
        except OSError as e:
            raise BackendError(f"{_UNSEEN}: {e.strerror}") from e

    def unable(self, batch: Sequence[Resource]) -> Iterator[Failed]:
        """What this machine cannot do of them."""
        from vtopo.backends.uplink_checks import Checks

        if not batch:
            return
        try:
            yield from Checks().unable(batch)
        except OSError as e:
            for r in batch:
                yield Failed(r.id, f"{_UNSEEN}: {e.strerror}", e.errno or 0)

    def create(self, batch: Sequence[Resource], handles: Mapping[str, Handle]) -> Iterator[Outcome]:
        """Make each."""
        for r in batch:
            yield self._apart(handles, lambda r=r: self._create(r))  # type: ignore[misc]

    def _create(self, r: Resource) -> Outcome:
        with gates.opened() as there:
            if isinstance(r, Gate):
                return gates.create(self._places, there, r)
            try:
                if isinstance(r, MachineVxlan):
                    machine_vxlans.make(self._places, there, r)
                else:
                    assert isinstance(r, Macvlan)
                    macvlans.make(self._places, there, r)
            except OSError as e:
                return failed(r, e)
            return Done(r.id)

    def update(
        self, batch: Sequence[tuple[Resource, Resource]], handles: Mapping[str, Handle]
    ) -> Iterator[Outcome]:
        """Change each in place."""
        for old, new in batch:
            yield self._apart(handles, lambda old=old, new=new: self._update(old, new))  # type: ignore[misc]

    def _update(self, old: Resource, new: Resource) -> Outcome:
        if isinstance(new, Macvlan):
            return macvlans.update(self._places, new)
        if isinstance(new, MachineVxlan):
            return links.update(self._places, old, new)
        assert isinstance(old, Gate)
        assert isinstance(new, Gate)
        with gates.opened() as there:
            return gates.update(self._places, there, old, new)

    def delete(self, batch: Sequence[Resource], handles: Mapping[str, Handle]) -> Iterator[Outcome]:
        """Take each away."""
        for r in batch:
            yield self._apart(handles, lambda r=r: self._delete(r))  # type: ignore[misc]

    def _delete(self, r: Resource) -> Outcome:
        if isinstance(r, Macvlan):
            return macvlans.delete(self._places, r)
        if isinstance(r, MachineVxlan):
            return links.delete(self._places, [r])[0]
        assert isinstance(r, Gate)
        with gates.opened() as there:
            return gates.delete(there, r)

    def traces(self) -> Sequence[str]:
        """The lab's tables in the machine's namespace."""
        return [f"nftables' table {table}" for table in self._tables()]

    def _tables(self) -> list[str]:
        try:
            return [table for table in nft.ours() if table.split(".")[1] == self.lab]
        except OSError as e:
            raise BackendError(f"{_UNSEEN}: {e.strerror}") from e

    def sweep(self) -> Sequence[str]:
        """Remove what the tables' names tell of; what stands in the lab's own namespaces ends with these."""
        removed = []
        for table in self._tables():
            uplink = table.split(".", 2)[2].removesuffix(".probe")
            device = gate_device(self.lab, uplink)

            def take_away(device: str = device, table: str = table) -> None:
                with gates.opened() as there:
                    gates.take_away(there, device, table)

            try:
                apart(take_away)
            except OSError as e:
                if e.errno != errno.ENOENT:
                    text = (
                        f"lab {self.lab}: nftables' table {table}: {e}; `vtopo down {self.lab}` tries again"
                    )
                    raise BackendError(text) from e
            removed.append(f"nftables' table {table}")
        return removed
