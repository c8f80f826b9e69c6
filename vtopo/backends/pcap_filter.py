"""Capture filters such as `icmp and host 10.0.0.1` (pcap-filter(7)), compiled by libpcap for the kernel."""

from __future__ import annotations

import ctypes
import re
from dataclasses import field

from vtopo.backends.base import BackendError
from vtopo.values import dataclass

_NAMES = ("libpcap.so.1", "libpcap.so.0.8", "libpcap.so")
_OPTIMIZE, _UNKNOWN_NETMASK = 1, 0xFFFFFFFF

ABSENT = (
    "a filter needs libpcap, which comes with tcpdump and Wireshark (Debian: apt-get install libpcap0.8); "
    "without a filter, nothing more is needed"
)


class _Program(ctypes.Structure):
    """struct bpf_program; its instructions are as SO_ATTACH_FILTER takes them (struct sock_filter)."""

    _fields_ = (("length", ctypes.c_uint), ("instructions", ctypes.c_void_p))


class _Header(ctypes.Structure):
    """struct pcap_pkthdr."""

    _fields_ = (
        ("seconds", ctypes.c_long),
        ("microseconds", ctypes.c_long),
        ("captured", ctypes.c_uint32),
        ("length", ctypes.c_uint32),
    )


@dataclass(frozen=True, slots=True)
class Filter:
    """A compiled filter: `instructions` are struct sock_filter, 8 bytes each."""

    text: str
    instructions: bytes
    _library: ctypes.CDLL = field(repr=False, compare=False)

    @property
    def in_kernel(self) -> bool:
        """Whether the kernel can apply it: its sockets see frames whose VLAN tag was taken off and stands apart."""
        return re.search(r"\bvlan\b", self.text) is None

    def takes(self, frame: bytes) -> bool:
        """Whether a whole frame passes."""
        buffer = ctypes.create_string_buffer(self.instructions, len(self.instructions))
        program = _Program(len(self.instructions) // 8, ctypes.addressof(buffer))
        header = _Header(0, 0, len(frame), len(frame))
        return bool(self._library.pcap_offline_filter(ctypes.byref(program), ctypes.byref(header), frame))


def compiled(text: str, link_type: int, longest: int) -> Filter:
    """BackendError, with libpcap's own words, for what is no filter, and where there is no libpcap."""
    library = _library()
    handle = library.pcap_open_dead(link_type, longest)
    program = _Program()
    try:
        done = library.pcap_compile(
            handle, ctypes.byref(program), text.encode(), _OPTIMIZE, ctypes.c_uint32(_UNKNOWN_NETMASK)
        )
        if done != 0:
            raise BackendError(f"`{text}` is no capture filter: {library.pcap_geterr(handle).decode()}")
        found = ctypes.string_at(program.instructions or 0, program.length * 8)
        library.pcap_freecode(ctypes.byref(program))
        return Filter(text, found, library)
    finally:
        library.pcap_close(handle)


def _library() -> ctypes.CDLL:
    for name in _NAMES:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        library.pcap_open_dead.restype = ctypes.c_void_p
        library.pcap_geterr.restype = ctypes.c_char_p
        library.pcap_geterr.argtypes = library.pcap_close.argtypes = [ctypes.c_void_p]
        library.pcap_compile.argtypes = [
            *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint32),
        ]
        return library
    raise BackendError(ABSENT)
