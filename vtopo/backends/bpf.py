"""The bpf(2) system call for programs on control groups that decide about devices (BPF_PROG_TYPE_CGROUP_DEVICE)."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import resource
import struct

_NUMBERS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
# Commands and constants of linux/bpf.h.
_PROG_LOAD, _PROG_ATTACH, _PROG_DETACH, _PROG_GET_FD_BY_ID, _OBJ_GET_INFO_BY_FD, _PROG_QUERY = (
    5,
    8,
    9,
    13,
    15,
    16,
)
_TYPE_CGROUP_DEVICE, _CGROUP_DEVICE = 15, 6
_ALLOW_MULTI, _REPLACE = 2, 4
_MOST = 64  # programs on one group, as the kernel has it

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def _bpf(command: int, attributes: ctypes.Array[ctypes.c_char]) -> int:
    number = _NUMBERS.get(os.uname().machine)
    if number is None:
        raise OSError(errno.ENOSYS, f"vtopo does not know bpf(2) on {os.uname().machine}")
    result: int = _libc.syscall(number, command, attributes, len(attributes))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def _pack(layout: str, *values: object) -> ctypes.Array[ctypes.c_char]:
    raw = struct.pack(layout, *values)
    return ctypes.create_string_buffer(raw, len(raw))


def load(code: bytes, name: str) -> int:
    """A descriptor of a program, which the caller closes; OSError if the kernel refuses it."""
    with contextlib.suppress(OSError, ValueError):  # kernels before 5.11 count programs as locked memory
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    instructions = ctypes.create_string_buffer(code, len(code))
    licence = ctypes.create_string_buffer(b"Apache-2.0")
    return _bpf(
        _PROG_LOAD,
        _pack(
            "=IIQQIIQII16s",
            _TYPE_CGROUP_DEVICE,
            len(code) // 8,
            ctypes.addressof(instructions),
            ctypes.addressof(licence),
            0,
            0,
            0,
            0,
            0,
            name.encode(),
        ),
    )


def attach(group: int, program: int, instead_of: int | None = None) -> None:
    """Attach a program to the group of a descriptor, beside those that are there or in place of one."""
    flags = _ALLOW_MULTI | (_REPLACE if instead_of is not None else 0)
    _bpf(_PROG_ATTACH, _pack("=IIIII", group, program, _CGROUP_DEVICE, flags, instead_of or 0))


def detach(group: int, program: int) -> None:
    """Take a program away from a group."""
    _bpf(_PROG_DETACH, _pack("=IIIII", group, program, _CGROUP_DEVICE, 0, 0))


def attached(group: int) -> list[int]:
    """Descriptors, which the caller closes, of the programs that are attached to the group itself."""
    ids = (ctypes.c_uint32 * _MOST)()
    query = _pack("=IIIIQII", group, _CGROUP_DEVICE, 0, 0, ctypes.addressof(ids), _MOST, 0)
    _bpf(_PROG_QUERY, query)
    count = struct.unpack_from("=I", query, 24)[0]
    found = []
    for each in ids[:count]:
        with contextlib.suppress(FileNotFoundError):  # detached just now
            found.append(_bpf(_PROG_GET_FD_BY_ID, _pack("=III", each, 0, 0)))
    return found


def name_of(program: int) -> str:
    """The name of a program (struct bpf_prog_info)."""
    info = ctypes.create_string_buffer(80)
    _bpf(_OBJ_GET_INFO_BY_FD, _pack("=IIQ", program, len(info), ctypes.addressof(info)))
    return info.raw[64:80].rstrip(b"\0").decode()
