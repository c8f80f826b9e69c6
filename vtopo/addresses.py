"""Addresses with their prefix length, made in a fraction of the time that `ipaddress` takes.

That reads the text of an interface twice and makes four objects of it, and one more at each look at `ip`. A large lab
has ten thousand of them, whose subnets are shared by the two ends of a link or by a whole LAN.
"""

from __future__ import annotations

import functools
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface


class Address4(IPv4Address):
    """An IPv4Address that knows how it is written."""

    __slots__ = ("_text",)

    def __init__(self, number: int, text: str) -> None:
        super().__init__(number)
        self._text = text

    def __str__(self) -> str:
        return self._text

    def __add__(self, number: int) -> Address4:
        other = IPv4Address(int(self) + number)
        return Address4(int(other), str(other))

    def __sub__(self, number: int) -> Address4:
        return self + -number

    def __reduce__(self) -> tuple[type[IPv4Address], tuple[str]]:
        return IPv4Address, (self._text,)


class Interface4(IPv4Interface):
    """An IPv4Interface in all that can be asked of it, which knows its `ip`."""

    # The class' is a property, which the instance's could not stand before.
    ip: IPv4Address = None  # type: ignore[assignment]

    def __init__(self, ip: IPv4Address, length: int) -> None:
        number = int(ip)
        IPv4Address.__init__(self, number)
        self.ip = ip
        self.network = _network(number >> (32 - length) << (32 - length), length)
        self.netmask = self.network.netmask
        self._prefixlen = length

    def __str__(self) -> str:
        return f"{self.ip}/{self._prefixlen}"

    def __reduce__(self) -> tuple[type[IPv4Interface], tuple[str]]:
        return IPv4Interface, (str(self),)


def interface(ip: IPv4Address | IPv6Address, length: int) -> IPv4Interface | IPv6Interface:
    """`ip` with a prefix length that its family has."""
    return Interface4(ip, length) if isinstance(ip, IPv4Address) else IPv6Interface((ip, length))


def read_interface(text: str) -> IPv4Interface | IPv6Interface:
    """The address that a text is, with its length or, without one, that of all bits; ValueError if it is none."""
    if ":" in text:
        return IPv6Interface(text)
    host, slash, length = text.partition("/")
    ip = _plain(host) or IPv4Address(host)
    bits = int(length) if length.isdecimal() and len(length) < 3 else 33
    if slash and (bits > 32 or str(bits) != length):
        return IPv4Interface((int(ip), length))  # which says what is wrong with it
    return Interface4(ip, bits if slash else 32)


def _plain(host: str) -> IPv4Address | None:
    """The address that is written as it would be printed; None if a closer look is needed."""
    try:
        a, b, c, d = map(int, host.split("."))
    except ValueError:
        return None
    if f"{a}.{b}.{c}.{d}" != host or max(a, b, c, d) > 255 or min(a, b, c, d) < 0:
        return None
    return Address4(a << 24 | b << 16 | c << 8 | d, host)


@functools.lru_cache(maxsize=1 << 14)
def _network(first: int, length: int) -> IPv4Network:
    return IPv4Network((first, length))
