"""What a service may use at most, and what of the machine it sees, in Compose's old and new words."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from vtopo.importing.container import ContainerText, Conversion, items_of
from vtopo.importing.quantities import rate_text, value, whole
from vtopo.importing.writing import Block, quoted
from vtopo.importing.yaml_text import Field, Fields, Node, Scalar
from vtopo.values import dataclass


@dataclass(frozen=True, slots=True)
class Service:
    """A service, the name of its node, and how many of it there are."""

    entry: Field
    name: str
    count: int

    @property
    def body(self) -> Fields:
        assert isinstance(self.entry.value, Fields)
        return self.entry.value

    @property
    def reference(self) -> str:
        """All of its nodes."""
        return f"{self.name}[*]" if self.count > 1 else self.name

    @property
    def mode(self) -> str:
        """Its `network_mode`, if it has one."""
        node = self.body.get("network_mode")
        return node.text if isinstance(node, Scalar) else ""


class LimitedText(ContainerText):
    """The limits of a service's block."""

    def __init__(self, conversion: Conversion, service: Service) -> None:
        super().__init__(conversion, service.name, many=service.count > 1)
        self.service = service

    def memory_and_swap(self, entry: Field) -> None:
        memory = self.service.body.get("mem_limit")
        both, alone = self.bytes(entry.value), self.bytes(memory) if memory is not None else None
        swap = (
            value("swap", both - alone) if both is not None and alone is not None and both >= alone else None
        )
        self.unless(self.once("swap", swap), entry, "" if alone is not None else "it takes a mem_limit")

    def quota(self, entry: Field) -> None:
        period = self.service.body.get("cpu_period")
        each = whole(self.known(period) or "") if period is not None else 100_000
        quota = whole(self.known(entry.value) or "")
        cpus = value("cpus", round(Fraction(quota * 1000, each))) if quota and each else None
        self.unless(self.once("cpus", cpus), entry)

    def period(self, entry: Field) -> None:
        self.unless(self.service.body.get("cpu_quota") is not None, entry)

    def oom(self, entry: Field) -> None:
        limited = self.service.body.get("mem_limit") is not None
        on = self.switch(entry.value) == "on"
        self.unless(limited and self.once("oom", "pause" if on else "kill"), entry)

    def block_io(self, entry: Field) -> None:
        inner = Block()
        devices: dict[str, dict[tuple[str, str], int]] = {}
        for each in entry.value.fields if isinstance(entry.value, Fields) else ():
            kind, _, unit = each.name.removeprefix("device_").partition("_")
            weight = whole(self.known(each.value) or "")
            if each.name == "weight" and weight is not None and 10 <= weight <= 1000:
                inner.say(f"weight {max(1, round(weight / 5))}")  # Docker's 500 is 100 here
                continue
            for node in items_of(each.value) or (each.value,):
                path, rate = (
                    (node.get("path"), node.get("rate")) if isinstance(node, Fields) else (None, None)
                )
                amount = self.bytes(rate) if rate is not None else None
                name = self.known(path) if path is not None else None
                if kind not in ("read", "write") or unit not in ("bps", "iops") or not name or not amount:
                    self.left(f"{entry.name} {each.name}", "", node)
                    continue
                devices.setdefault(name, {})[kind, unit] = amount
        for name, rates in devices.items():
            said = [
                f"{kind} {rate_text(amount) if unit == 'bps' else f'{amount}iops'}"
                for (kind, unit), amount in rates.items()
            ]
            inner.say(f"device {quoted(name)} {{ {'; '.join(said)} }}")
        if inner:
            self.block.nest("io", inner)
        else:
            self.left(entry)

    def devices(self, entry: Field) -> None:
        allowed: dict[str, str] = {}
        for node in items_of(entry.value):
            self.beside(node)
            inside, _, rest = (self.known(node) or "").partition(":")
            target, _, access = rest.partition(":")
            access = access or "rwm"
            fits = (
                inside.startswith("/dev/")
                and target in ("", inside)
                and 0 < len(access) == len(set(access)) < 4
            )
            if fits and set(access) <= set("rwm") and inside not in allowed:
                allowed[inside] = access
            else:
                self.left(entry.name, "", node)
        if allowed:
            inner = Block()
            for path, access in allowed.items():
                inner.say(f"allow {quoted(path)} {access}")
            self.block.nest("devices", inner)
        self.if_no_list(entry)

    def deploy(self, entry: Field) -> None:
        for each in entry.value.fields if isinstance(entry.value, Fields) else ():
            if each.name == "resources" and isinstance(each.value, Fields):
                self._resources(each.value)
            elif each.name == "replicas" and str(self.service.count) == self.known(each.value):
                continue
            elif each.name == "restart_policy" and isinstance(each.value, Fields):
                self._restart_policy(each.value)
            else:
                self.left(f"deploy {each.name}", "", each.value)
        if not isinstance(entry.value, Fields) or not entry.value.fields:
            self.left(entry)

    def _resources(self, resources: Fields) -> None:
        for part in resources.fields:
            for each in part.value.fields if isinstance(part.value, Fields) else ():
                prop, read = _RESOURCES.get((part.name, each.name), ("", _nothing))
                text = read(self, prop, each.value)
                if not prop or not self.once(prop, text):
                    self.left(f"deploy resources {part.name} {each.name}", "", each.value)
            if not isinstance(part.value, Fields) or not part.value.fields:
                self.left(f"deploy resources {part.name}", "", part.value)

    def _restart_policy(self, policy: Fields) -> None:
        words = {"none": "no", "on-failure": "on-failure", "any": "always"}
        for each in policy.fields:
            text = words.get(self.known(each.value) or "") if each.name == "condition" else None
            if text is None or not self.once("restart", text):
                self.left(f"deploy restart_policy {each.name}", "", each.value)


Read = Callable[[ContainerText, str, Node], "str | None"]


def _nothing(text: ContainerText, prop: str, node: Node) -> str | None:
    return None


def read_string(text: ContainerText, prop: str, node: Node) -> str | None:
    return text.string(node)


def read_switch(text: ContainerText, prop: str, node: Node) -> str | None:
    return text.switch(node)


def read_words(text: ContainerText, prop: str, node: Node) -> str | None:
    return text.words(node)


def read_size(text: ContainerText, prop: str, node: Node) -> str | None:
    return text.size(prop, node)


def read_number(text: ContainerText, prop: str, node: Node) -> str | None:
    return text.number(prop, node)


def read_decimal(text: ContainerText, prop: str, node: Node) -> str | None:
    return text.decimal(prop, node)


def read_cpuset(text: ContainerText, prop: str, node: Node) -> str | None:
    return text.cpuset(node)


_RESOURCES: dict[tuple[str, str], tuple[str, Read]] = {
    ("limits", "cpus"): ("cpus", read_decimal),
    ("limits", "memory"): ("memory", read_size),
    ("limits", "pids"): ("pids", read_number),
    ("reservations", "memory"): ("memory-reservation", read_size),
}
