"""Reads what a node may use at most, and finds limits that contradict each other."""

from __future__ import annotations

from collections.abc import Sequence

from vtopo.lang.diagnostics import Diagnostics, Label
from vtopo.model.draft import NodeDraft
from vtopo.model.lab import DeviceAccess, DeviceIo, Limits
from vtopo.model.properties import Read, Setting, Settings
from vtopo.model.schema import Type
from vtopo.model.values import shown

_ALL = "rwm"


def read_limits(node: NodeDraft, diagnostics: Diagnostics) -> Limits | None:
    """The limits of a node; None if it says none."""
    diagnostics.via = node.via
    settings = node.settings
    if not settings.found:
        return None
    _reservation(settings, diagnostics)
    cpuset = settings.one("cpuset", tuple)
    io = settings.one("io", bool)
    inner = io.block if io is not None and io.block is not None else Settings()
    default, rules = _devices(settings, diagnostics)
    limits = Limits(
        cpus=settings.value("cpus", int),
        cpu_weight=settings.value("cpu-weight", int),
        cpuset=cpuset.value if cpuset is not None else (),
        memory=settings.value("memory", int),
        memory_reservation=settings.value("memory-reservation", int),
        swap=settings.value("swap", int),
        swappiness=settings.value("swappiness", int),
        oom=settings.value("oom", str),
        pids=settings.value("pids", int),
        io_weight=inner.value("weight", int),
        io=tuple(_device_limit(each) for each in inner.texts("device")),
        devices=default,
        device_rules=rules,
    )
    return limits if limits != Limits() else None


def _reservation(settings: Settings, diagnostics: Diagnostics) -> None:
    memory, reservation = settings.one("memory", int), settings.one("memory-reservation", int)
    if memory is None or reservation is None or reservation.value <= memory.value:
        return
    diagnostics.add(
        "E0215",
        f"`memory-reservation` is {shown(Type.SIZE, reservation.value)}, "
        f"more than `memory`, {shown(Type.SIZE, memory.value)}",
        reservation.range,
        "never reached",
        others=[Label(memory.range, "the limit")],
        help="the reservation is what is left to the node when memory is short; make it the smaller one",
    )


# Input and output


def _device_limit(device: Setting[str]) -> DeviceIo:
    inner = device.block or Settings()
    return DeviceIo(
        device.value,
        _rate(inner.many("read"), Type.THROUGHPUT),
        _rate(inner.many("write"), Type.THROUGHPUT),
        _rate(inner.many("read"), Type.OPERATIONS),
        _rate(inner.many("write"), Type.OPERATIONS),
    )


def _rate(found: Sequence[Setting[Read]], type_: Type) -> int | None:
    """The smallest of the limits of one kind."""
    rates = [s.value for s in found if s.type is type_ and isinstance(s.value, int)]
    return min(rates, default=None)


# Devices


def _devices(settings: Settings, diagnostics: Diagnostics) -> tuple[str | None, tuple[DeviceAccess, ...]]:
    """The default, and what holds for each named device: exceptions to the default, then exceptions to those.

    So the order of the rules does not matter.
    """
    block = settings.one("devices", bool)
    inner = block.block if block is not None and block.block is not None else Settings()
    allowed, denied = inner.texts("allow"), inner.texts("deny")
    everything = {word: _of_all(rules, diagnostics) for word, rules in (("allow", allowed), ("deny", denied))}
    if (one := everything["allow"]) and (other := everything["deny"]):
        others = [Label(other.range, "all is denied here")]
        diagnostics.add("E0215", "all devices are allowed and denied", one.range, "allowed", others=others)
    default = "deny" if everything["deny"] else None
    rules = [
        DeviceAccess(path, _access(path, default is None, allowed, denied, diagnostics))
        for path in dict.fromkeys(s.value for s in (*allowed, *denied) if s.type is Type.TEXT)
    ]
    return default, tuple(rules)


def _of_all(rules: Sequence[Setting[str]], diagnostics: Diagnostics) -> Setting[str] | None:
    found = [rule for rule in rules if rule.type is Type.WORD]
    for rule in found:
        if "access" in rule.slots:
            diagnostics.add("E0203", "`all` means every access", rule.range, "no letters after `all`")
    return found[0] if found else None


def _access(
    path: str,
    default: bool,
    allowed: Sequence[Setting[str]],
    denied: Sequence[Setting[str]],
    diagnostics: Diagnostics,
) -> str:
    more, less = (
        {letter for rule in rules if rule.value == path for letter in _letters(rule, diagnostics)}
        for rules in (allowed, denied)
    )
    left = (set(_ALL) - less) | more if default else more - less
    return "".join(letter for letter in _ALL if letter in left)


def _letters(rule: Setting[str], diagnostics: Diagnostics) -> str:
    access = rule.slot("access", str) or _ALL
    if set(access) <= set(_ALL) and len(set(access)) == len(access):
        return access
    diagnostics.add(
        "E0203", f"`{access}` is no access", rule.range, "some of the letters r (read), w (write), m (make)"
    )
    return ""
