"""Which devices a control group may use: rules from device files, for v1's devices.allow and for v2's eBPF program."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator, Sequence

from vtopo.backends import bpf
from vtopo.backends.scratch import DEVICES
from vtopo.compile.resources import Cgroup
from vtopo.digests import sha256
from vtopo.values import dataclass

ALL = "rwm"
_ANY = -1
_PTS = range(136, 144)  # majors of the terminals below /dev/pts (Documentation/admin-guide/devices.txt)


@dataclass(frozen=True, slots=True)
class Rule:
    """What may be done with a device: `kind` is b or c, `access` some of r, w, m; a minor of -1 is any."""

    kind: str
    major: int
    minor: int
    access: str

    def line(self, access: str) -> str:
        """As devices.allow and devices.list have it (Documentation/admin-guide/cgroup-v1/devices.rst)."""
        return f"{self.kind} {self.major}:{'*' if self.minor == _ANY else self.minor} {access}"

    @property
    def denied(self) -> str:
        """What may not be done."""
        return "".join(letter for letter in ALL if letter not in self.access)


OWN = (
    *(Rule("c", major, minor, ALL) for _, major, minor in DEVICES),
    Rule("c", 5, 2, ALL),  # /dev/pts/ptmx
    *(Rule("c", major, _ANY, ALL) for major in _PTS),
)
"""What every host has in its /dev."""


def number(path: str) -> tuple[str, int, int] | None:
    """`b` or `c`, major and minor number of a device file of the machine; None if it is not there or none."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return None
    kind = "b" if stat.S_ISBLK(status.st_mode) else "c" if stat.S_ISCHR(status.st_mode) else ""
    return (kind, os.major(status.st_rdev), os.minor(status.st_rdev)) if kind else None


def block_number(path: str) -> str | None:
    """`8:0` of a block device; None if there is none at `path`."""
    found = number(path)
    return f"{found[1]}:{found[2]}" if found and found[0] == "b" else None


def rules(spec: Cgroup) -> tuple[Rule, ...]:
    """Those that differ from the default, the named devices first; a device that is gone needs none."""
    named = [Rule(*found, access.access) for access in spec.device_access if (found := number(access.device))]
    return (*named, *(OWN if spec.devices == "deny" else ()))


# Version 1


def v1_writes(spec: Cgroup) -> Iterator[tuple[str, str]]:
    """Files and texts that make the list of `spec` out of any other."""
    if spec.devices == "deny":
        yield "devices.deny", "a"
        for rule in reversed(rules(spec)):  # a named device that is one of a host's own comes last
            if rule.access:
                yield "devices.allow", rule.line(rule.access)
            if rule.denied and any(own.line(ALL) == rule.line(ALL) for own in OWN):
                yield "devices.deny", rule.line(rule.denied)
    else:
        yield "devices.allow", "a"
        for rule in rules(spec):
            if rule.denied:
                yield "devices.deny", rule.line(rule.denied)


def v1_holds(spec: Cgroup, text: str) -> bool:
    """Whether a devices.list is that of `spec`. What is denied where the default is to allow, it does not tell."""
    lines = set(text.splitlines())
    if spec.devices != "deny":
        return lines == {"a *:* rwm"}
    wanted: dict[str, str] = {}
    for rule in reversed(rules(spec)):
        wanted[rule.line("")] = rule.access
    return lines == {f"{device}{access}" for device, access in wanted.items() if access}


# Version 2

_R, _W, _M = 2, 4, 1  # BPF_DEVCG_ACC_READ, _WRITE, _MKNOD (linux/bpf.h)
_BITS = {"r": _R, "w": _W, "m": _M}
_KINDS = {"b": 1, "c": 2}  # BPF_DEVCG_DEV_BLOCK, _CHAR


def program(spec: Cgroup) -> bytes:
    """An eBPF program (BPF_PROG_TYPE_CGROUP_DEVICE) that returns 1 for what `spec` allows, else 0.

    Its context is struct bpf_cgroup_dev_ctx: access and kind in one word, major, minor. The first rule
    with the device decides.
    """
    code = [
        _insn(0x61, dst=2, src=1, off=0),  # r2 = kind | access << 16
        _insn(0xBC, dst=3, src=2),
        _insn(0x74, dst=3, imm=16),  # r3 = access
        _insn(0x54, dst=2, imm=0xFFFF),  # r2 = kind
        _insn(0x61, dst=4, src=1, off=4),  # r4 = major
        _insn(0x61, dst=5, src=1, off=8),  # r5 = minor
    ]
    for rule in rules(spec):
        code += _rule(rule)
    return b"".join((*code, *_answer(spec.devices != "deny")))


def _rule(rule: Rule) -> list[bytes]:
    denied = sum(_BITS[letter] for letter in rule.denied)
    tests = [(2, _KINDS[rule.kind]), (4, rule.major)]
    if rule.minor != _ANY:
        tests.append((5, rule.minor))
    body = [
        _insn(0xBC, dst=1, src=3),
        _insn(0x54, dst=1, imm=denied),  # what is asked for and denied
        _insn(0x55, dst=1, imm=0, off=2),
        *_answer(True),
        *_answer(False),
    ]
    jumps = [
        _insn(0x55, dst=register, imm=value, off=len(tests) - at - 1 + len(body))
        for at, (register, value) in enumerate(tests)
    ]
    return [*jumps, *body]


def _answer(allowed: bool) -> Sequence[bytes]:
    return _insn(0xB7, dst=0, imm=int(allowed)), _insn(0x95)  # r0 = …; exit


def _insn(code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    """One struct bpf_insn (Documentation/bpf/standardization/instruction-set.rst)."""
    return struct.pack("=BBhi", code, dst | src << 4, off, imm)


def name(code: bytes) -> str:
    """The program's name in the kernel, of at most 15 bytes: our mark, and which program it is."""
    return f"vtopo_{sha256(code).hexdigest()[:9]}"


def v2_attach(group: int, spec: Cgroup) -> None:
    """Have the group of a descriptor use the devices of `spec`, and none of our programs besides; OSError."""
    before = [fd for _, fd in _ours(group)]
    try:
        if spec.devices is None and not spec.device_access:
            for fd in before:
                bpf.detach(group, fd)
            return
        code = program(spec)
        new = bpf.load(code, name(code))
        try:
            bpf.attach(group, new, before[0] if before else None)
        finally:
            os.close(new)
        for fd in before[1:]:
            bpf.detach(group, fd)
    finally:
        for fd in before:
            os.close(fd)


def v2_holds(group: int, spec: Cgroup) -> bool:
    """Whether just the program of `spec` is attached to the group, of those of ours."""
    found = _ours(group)
    for _, fd in found:
        os.close(fd)
    return [each for each, _ in found] == [name(program(spec))]


def _ours(group: int) -> list[tuple[str, int]]:
    """Our programs on a group: their names, and descriptors for the caller to close."""
    found = []
    for fd in bpf.attached(group):
        if (each := bpf.name_of(fd)).startswith("vtopo_"):
            found.append((each, fd))
        else:
            os.close(fd)
    return found
