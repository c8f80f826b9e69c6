"""The loopback interface of the calling thread's network namespace."""

from __future__ import annotations

import fcntl
import socket
import struct

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1


def loopback_up() -> None:
    """Bring `lo` up with an ioctl, netdevice(7)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as s:
        answer = fcntl.ioctl(s.fileno(), _SIOCGIFFLAGS, struct.pack("=16s24x", b"lo"))
        flags = struct.unpack_from("=h", answer, 16)[0]
        fcntl.ioctl(s.fileno(), _SIOCSIFFLAGS, struct.pack("=16sh22x", b"lo", flags | _IFF_UP))
