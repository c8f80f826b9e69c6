"""The networks of a Compose file: a bridge for each, and a link from each service that is on it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import field

from vtopo.importing.compose_limits import LimitedText, Service
from vtopo.importing.container import Conversion, items_of
from vtopo.importing.flow import flow
from vtopo.importing.names import LONGEST_BRIDGE
from vtopo.importing.result import remarked
from vtopo.importing.writing import Block
from vtopo.importing.yaml_text import Field, Fields, Items, Node, Scalar
from vtopo.lang.ast.values import IPInterface
from vtopo.values import dataclass

_FREE = ipaddress.IPv4Network("10.0.0.0/8")
_FIRST_FREE = 100
"""The second byte of the first subnet that is picked where the file names none: 10.100.0.0."""
_MAC = re.compile(r"[0-9A-Fa-f][02468ACEace](?::[0-9A-Fa-f]{2}){5}")
_DEVICE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:-[A-Za-z0-9_]+)*")
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass
class _Network:
    name: str
    entry: Field | None
    bridge: str
    subnets: list[IPNetwork] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)
    members: int = 0


class Networks:
    """All networks by the file's names."""

    def __init__(self, conversion: Conversion, declared: Fields | None, services: dict[str, Service]) -> None:
        self._conversion = conversion
        self._networks: dict[str, _Network] = {}
        for entry in declared.fields if declared is not None else ():
            self._networks[entry.name] = self._network(entry.name, entry)
        for service in services.values():
            for name in _names(service):
                if name == "default" and name not in self._networks:
                    self._networks[name] = self._network(name, None)
                if name in self._networks:
                    self._networks[name].members += service.count
        self._bodies: dict[str, Block] = {name: Block() for name in self._networks}
        for network in self._networks.values():
            self._read(network)
        self._pick()

    def _network(self, name: str, entry: Field | None) -> _Network:
        wanted = "lan" if name == "default" else name
        return _Network(name, entry, self._conversion.names.take(wanted, "net", LONGEST_BRIDGE))

    # Bridges

    def write(self, block: Block) -> None:
        """The bridges."""
        for network in self._networks.values():
            if network.entry is None:
                block.note("Compose's network of the services that name none.")
                self._one(network, block)
                continue
            with remarked(block, self._conversion.remarks, network.entry.key, network.entry.value):
                self._one(network, block)

    def _one(self, network: _Network, block: Block) -> None:
        if network.bridge != network.name and network.entry is not None:
            block.note(f"{network.name}: {network.bridge} here")
        block.nest(f"bridge {network.bridge}", self._bodies[network.name])

    def _read(self, network: _Network) -> None:
        body = self._bodies[network.name]
        fields = (
            network.entry.value.fields if network.entry and isinstance(network.entry.value, Fields) else ()
        )
        for each in fields:
            if each.name == "ipam" and isinstance(each.value, Fields):
                self._ipam(network, each.value, body)
            elif each.name == "driver" and isinstance(each.value, Scalar) and each.value.text == "bridge":
                continue
            else:
                why = "no network of a lab leads out of it" if each.name == "internal" else ""
                why = "the lab has one of its own" if each.name == "external" else why
                self._left(body, each.name, each.value, why)
        value = network.entry.value if network.entry else None
        if isinstance(value, Items) or (isinstance(value, Scalar) and not value.empty):
            self._left(body, network.name, value)

    def _ipam(self, network: _Network, ipam: Fields, body: Block) -> None:
        for each in ipam.fields:
            if each.name != "config":
                if not (
                    each.name == "driver" and isinstance(each.value, Scalar) and each.value.text == "default"
                ):
                    self._left(body, f"ipam {each.name}", each.value)
                continue
            for config in items_of(each.value) or (each.value,):
                if not isinstance(config, Fields):
                    self._left(body, "ipam config", config)
                    continue
                subnet = self._subnet(network, config)
                for part in config.fields:
                    if part.name == "subnet" and subnet is not None:
                        body.say(f"subnet {subnet}")
                    elif part.name == "gateway" and self._gateway(network, subnet, part.value, body):
                        continue
                    else:
                        self._left(body, f"ipam {part.name}", part.value)

    def _subnet(self, network: _Network, config: Fields) -> IPNetwork | None:
        """The subnet, if the bridge can have it: one of each family."""
        text = self._known(config.get("subnet"))
        try:
            subnet = ipaddress.ip_network(text or "", strict=False)
        except ValueError:
            return None
        if any(s.version == subnet.version for s in network.subnets) or subnet.num_addresses < 4:
            return None
        if subnet.is_multicast or subnet.network_address.is_loopback or subnet.prefixlen < 4:
            return None
        if subnet.num_addresses < network.members + 4:
            return None
        network.subnets.append(subnet)
        return subnet

    def _gateway(self, network: _Network, subnet: IPNetwork | None, node: Node, body: Block) -> bool:
        """The address that Docker gives to the machine, as the bridge's own."""
        address = self._address(network, self._known(node) or "")
        if address is None or subnet is None or address.ip not in subnet:
            return False
        body.say(f"address {address}")
        return True

    def _address(self, network: _Network, text: str) -> IPInterface | None:
        """An address that a node of the network can have, now taken."""
        try:
            ip = ipaddress.ip_address(text.strip())
        except ValueError:
            return None
        for subnet in network.subnets:
            if ip in subnet and ip not in (subnet.network_address, subnet.broadcast_address):
                if str(ip) in network.taken or getattr(ip, "scope_id", None):
                    return None
                network.taken.add(str(ip))
                return ipaddress.ip_interface(f"{ip}/{subnet.prefixlen}")
        return None

    def _pick(self) -> None:
        """Subnets for those that have none, apart from all that have."""
        taken = [
            s for n in self._networks.values() for s in n.subnets if isinstance(s, ipaddress.IPv4Network)
        ]
        at = int(_FREE.network_address) + (_FIRST_FREE << 16)
        for network in self._networks.values():
            if network.subnets or not network.members:
                continue
            length = min(24, 32 - (network.members + 3).bit_length())
            step = 1 << (32 - length)
            at = -(-at // step) * step
            while any(ipaddress.IPv4Network((at, length)).overlaps(other) for other in taken):
                at += step
            subnet = ipaddress.IPv4Network((at, length))
            at += step
            network.subnets.append(subnet)
            self._bodies[network.name].say(f"subnet {subnet}")

    # Links

    def link(self, text: LimitedText, block: Block) -> None:
        """A service's links, in the order in which it names its networks."""
        service = text.service
        if text.network not in (None, "bridge") or service.mode:
            return
        settings = _settings(service)
        for name in _names(service):
            network = self._networks.get(name)
            if network is not None:
                self._link(service, network, settings.get(name), block)

    def leave(self, text: LimitedText, entry: Field) -> None:
        """What of `networks` becomes no link."""
        if text.service.mode:
            text.left(entry, f"its network is {text.service.mode}")
            return
        for name in _names(text.service):
            if name not in self._networks:
                text.left(
                    f"networks {name}", "the file has no such network", _settings(text.service).get(name)
                )
        if not isinstance(entry.value, Fields):
            for item in items_of(entry.value):
                if not isinstance(item, Scalar):
                    text.left("networks", "", item)
        if not list(_names(text.service)):
            text.left(entry)

    def _link(self, service: Service, network: _Network, settings: Node | None, block: Block) -> None:
        port, addresses, mac = "", "", ""
        for each in settings.fields if isinstance(settings, Fields) else ():
            text = self._known(each.value) or ""
            if each.name in ("ipv4_address", "ipv6_address") and service.count == 1:
                address = self._address(network, text)
                if address is not None:
                    addresses += f" {address}"
                    continue
            elif each.name == "mac_address" and _MAC.fullmatch(text) and service.count == 1 and not mac:
                mac = f" {{ mac {text.lower()} }}"
                continue
            elif each.name == "interface_name" and _DEVICE.fullmatch(text) and self._free_port(service, text):
                port = f":{text}"
                continue
            why = "`exec` can write /etc/hosts" if each.name == "aliases" else ""
            self._left(block, f"networks {network.name} {each.name}", each.value, why)
        if isinstance(settings, Items) or (isinstance(settings, Scalar) and not settings.empty):
            self._left(block, f"networks {network.name}", settings)
        block.say(f"link {service.reference}{port}{addresses}{mac} -- {network.bridge}")

    def _free_port(self, service: Service, name: str) -> bool:
        """Whether no other interface of the service can have the name."""
        wanted = [
            self._known(each)
            for settings in _settings(service).values()
            if isinstance(settings, Fields) and (each := settings.get("interface_name")) is not None
        ]
        return wanted.count(name) == 1 and len(name) < 16 and name not in ("lo", "all", "default", "eth0")

    def _known(self, node: Node | None) -> str | None:
        if not isinstance(node, Scalar) or node.empty or node.tag:
            return None
        return self._conversion.variables.known(node.text)

    def _left(self, block: Block, name: str, node: Node, why: str = "") -> None:
        self._conversion.left += 1
        block.note(f"{name}: {flow(node)}".rstrip() + (f"  ({why})" if why else ""))


def _names(service: Service) -> Iterator[str]:
    """The networks that a service is on, each once."""
    if service.mode:
        return
    given = service.body.get("networks")
    if given is None:
        yield "default"
    elif isinstance(given, Fields):
        yield from (f.name for f in given.fields)
    else:
        yield from dict.fromkeys(i.text for i in items_of(given) if isinstance(i, Scalar) and not i.empty)


def _settings(service: Service) -> dict[str, Node]:
    given = service.body.get("networks")
    return {f.name: f.value for f in given.fields} if isinstance(given, Fields) else {}
