"""The kernel's names of interfaces: what the lab says where it can be, else a short one that no other has."""

from __future__ import annotations

from vtopo.digests import sha256
from vtopo.model.interfaces import LONGEST_DEVICE
from vtopo.model.lab import Interface, Lab


class DeviceNames:
    """Names of the devices of one lab.

    A host's interface has the name that the lab gives it. A bridge's ports share a namespace with other
    bridges, so a port is `BRIDGE.PORT` there; where that is too long or taken, the name ends in a hash.
    """

    def __init__(self, lab: Lab) -> None:
        # An uplink's switch has a namespace of its own.
        self._parents = {b.name: b.name if b.kind == "uplink" else b.parent for b in lab.bridges}
        self._taken: dict[tuple[str | None, str], str] = {}
        self._ports: dict[str, str] = {}
        self._bridges: dict[str, str] = {}
        ends = [end for link in lab.links for end in (link.left, link.right)]
        for own in lab.devices:
            self._taken[own.node, own.name] = own.full_name
        for end in ends:
            if end.node not in self._parents:
                self._taken[end.node, end.name] = end.full_name
        for bridge in lab.bridges:
            # What is not behind a host but in a module keeps the module's name: `rack1.tor`.
            name = bridge.name.removeprefix(f"{bridge.parent}.") if bridge.parent is not None else bridge.name
            self._bridges[bridge.name] = self._free(self._parents[bridge.name], name, bridge.name)
        for end in ends:
            if end.node in self._parents:
                name = f"{self.bridge(end.node)}.{end.name}"
                self._ports[end.full_name] = self._free(self._parents[end.node], name, end.full_name)

    def bridge(self, node: str) -> str:
        """A bridge's device."""
        return self._bridges[node]

    def interface(self, end: Interface) -> str:
        """The device of one end of a link."""
        return self._ports.get(end.full_name, end.name)

    def vxlan(self, namespace: str | None, vni: int, at: str) -> str:
        """The device of a tunnel end in a namespace: a host's, or the fabric; `at` is whose network it sends by."""
        return self._free(namespace, f"vxlan{vni}", f"{at}/vxlan{vni}")

    def _free(self, namespace: str | None, name: str, owner: str) -> str:
        tries = 0
        while len(name.encode()) > LONGEST_DEVICE or self._taken.get((namespace, name), owner) != owner:
            digest = sha256(f"{owner}\0{tries}".encode()).hexdigest()
            name = f"{name[: LONGEST_DEVICE - 9]}-{digest[:8]}"
            tries += 1
        self._taken[namespace, name] = owner
        return name
