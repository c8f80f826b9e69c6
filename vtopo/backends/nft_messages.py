"""nftables requests as bytes (linux/netfilter/nf_tables.h): tables, base chains, rules and the few expressions used."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Sequence
from typing import Literal, TypeAlias

from vtopo.backends.messages import (
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    attribute,
    message,
)

NEWTABLE, GETTABLE, DELTABLE, NEWCHAIN, GETCHAIN, NEWRULE, GETRULE = 0, 1, 2, 3, 4, 6, 7
NFPROTO_UNSPEC, NFPROTO_INET, NFPROTO_IPV4, NFPROTO_IPV6 = 0, 1, 2, 10
_SUBSYSTEM = 10
BATCH_BEGIN, BATCH_END = 0x10, 0x11

TABLE_NAME, TABLE_FLAGS = 1, 2
_TABLE_OWNER = 2
CHAIN_TABLE, CHAIN_NAME, CHAIN_HOOK, CHAIN_POLICY, CHAIN_TYPE = 1, 3, 4, 5, 7
HOOK_NUMBER, HOOK_PRIORITY = 1, 2
RULE_TABLE, RULE_CHAIN, RULE_EXPRESSIONS = 1, 2, 4
COUNTER_PACKETS = 2
ELEMENT, EXPRESSION_NAME, EXPRESSION_DATA = 1, 1, 2

HOOKS = {"prerouting": 0, "input": 1, "forward": 2, "output": 3, "postrouting": 4}
_REG_VERDICT, _REG_1, _REG_2 = 0, 1, 2
_META_IIFNAME, _META_OIFNAME, _META_NFPROTO, _META_L4PROTO = 6, 7, 15, 16
_NETWORK, _TRANSPORT = 1, 2
_IFNAMSIZ = 16
_RTN_LOCAL = 2
_PROTOCOLS = {"tcp": 6, "udp": 17}

Expression: TypeAlias = tuple[str, tuple[tuple[int, bytes], ...]]
"""An expression of a rule: its name and its attributes, in the order in which the kernel tells them."""


def kind(number: int) -> int:
    """The type of a message of nftables."""
    return (_SUBSYSTEM << 8) | number


def _head(family: int, resource: int = 0) -> bytes:
    return struct.pack("!BBH", family, 0, resource)


def begin() -> bytes:
    """The head of a transaction."""
    return message(BATCH_BEGIN, NLM_F_REQUEST, _head(0, _SUBSYSTEM))


def end() -> bytes:
    """The end of a transaction, which carries it out, or nothing of it."""
    return message(BATCH_END, NLM_F_REQUEST, _head(0, _SUBSYSTEM))


def text(kind: int, value: str) -> bytes:
    """A string as an attribute."""
    return attribute(kind, value.encode() + b"\0")


def _u32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("!I", value & 0xFFFFFFFF))


def new_table(name: str, *, owned: bool = False) -> bytes:
    """A table of the family inet; one that is there already is fine. An `owned` one ends with the socket."""
    payload = _head(NFPROTO_INET) + text(TABLE_NAME, name)
    payload += _u32(TABLE_FLAGS, _TABLE_OWNER) if owned else b""
    return message(kind(NEWTABLE), NLM_F_REQUEST | NLM_F_CREATE, payload)


def delete_table(name: str) -> bytes:
    """Away with a table and all that is in it."""
    return message(kind(DELTABLE), NLM_F_REQUEST, _head(NFPROTO_INET) + text(TABLE_NAME, name))


def new_chain(table: str, name: str, chain_type: Literal["nat", "filter"], hook: str, priority: int) -> bytes:
    """A base chain, with the policy accept."""
    where = _u32(HOOK_NUMBER, HOOKS[hook]) + _u32(HOOK_PRIORITY, priority)
    payload = _head(NFPROTO_INET) + text(CHAIN_TABLE, table) + text(CHAIN_NAME, name)
    payload += attribute(CHAIN_HOOK, where) + text(CHAIN_TYPE, chain_type)
    return message(kind(NEWCHAIN), NLM_F_REQUEST | NLM_F_CREATE, payload)


def new_rule(table: str, chain: str, expressions: Sequence[Expression]) -> bytes:
    """A rule behind those that the chain has."""
    listed = b""
    for name, attributes in expressions:
        data = b"".join(attribute(kind, value) for kind, value in attributes)
        listed += attribute(ELEMENT, text(EXPRESSION_NAME, name) + attribute(EXPRESSION_DATA, data))
    payload = _head(NFPROTO_INET) + text(RULE_TABLE, table) + text(RULE_CHAIN, chain)
    flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_APPEND
    return message(kind(NEWRULE), flags, payload + attribute(RULE_EXPRESSIONS, listed))


def dump(number: int, family: int = NFPROTO_INET) -> bytes:
    """A request for all tables, chains or rules of a family, or of all."""
    return message(kind(number), NLM_F_REQUEST | NLM_F_DUMP, _head(family))


# Expressions


def _be(value: int) -> bytes:
    return struct.pack("!I", value)


def _value(raw: bytes) -> bytes:
    return attribute(1, raw)


def _meta(key: int) -> Expression:
    return "meta", ((2, _be(key)), (1, _be(_REG_1)))


def _equals(raw: bytes, *, negated: bool = False) -> Expression:
    return "cmp", ((1, _be(_REG_1)), (2, _be(int(negated))), (3, _value(raw)))


def _payload(base: int, offset: int, length: int) -> Expression:
    return "payload", ((1, _be(_REG_1)), (2, _be(base)), (3, _be(offset)), (4, _be(length)))


def _immediate(register: int, raw: bytes) -> Expression:
    return "immediate", ((1, _be(register)), (2, _value(raw)))


def _name(interface: str) -> bytes:
    return interface.encode().ljust(_IFNAMSIZ, b"\0")


def comes_in_by(interface: str) -> tuple[Expression, ...]:
    """`iifname INTERFACE`."""
    return _meta(_META_IIFNAME), _equals(_name(interface))


def goes_out_by(interface: str) -> tuple[Expression, ...]:
    """`oifname INTERFACE`."""
    return _meta(_META_OIFNAME), _equals(_name(interface))


def is_of_family(version: int) -> tuple[Expression, ...]:
    """`meta nfproto ipv4` or ipv6."""
    return _meta(_META_NFPROTO), _equals(bytes((NFPROTO_IPV4 if version == 4 else NFPROTO_IPV6,)))


def comes_from(address: str) -> tuple[Expression, ...]:
    """`ip saddr ADDRESS`, or `ip6 saddr`."""
    raw = ipaddress.ip_address(address).packed
    offset = 12 if len(raw) == 4 else 8
    return (*is_of_family(4 if len(raw) == 4 else 6), _payload(_NETWORK, offset, len(raw)), _equals(raw))


def goes_to(address: str) -> tuple[Expression, ...]:
    """`ip daddr ADDRESS`, or `ip6 daddr`."""
    raw = ipaddress.ip_address(address).packed
    offset = 16 if len(raw) == 4 else 24
    return (*is_of_family(4 if len(raw) == 4 else 6), _payload(_NETWORK, offset, len(raw)), _equals(raw))


def goes_not_to(address: str) -> tuple[Expression, ...]:
    """`ip6 daddr != ADDRESS`, in a rule for IPv6."""
    raw = ipaddress.ip_address(address).packed
    return _payload(_NETWORK, 16 if len(raw) == 4 else 24, len(raw)), _equals(raw, negated=True)


def comes_from_loopback() -> tuple[Expression, ...]:
    """`ip saddr 127.0.0.0/8`."""
    return *is_of_family(4), _payload(_NETWORK, 12, 1), _equals(b"\x7f")


def goes_to_loopback() -> tuple[Expression, ...]:
    """`ip daddr 127.0.0.0/8`."""
    return *is_of_family(4), _payload(_NETWORK, 16, 1), _equals(b"\x7f")


def goes_to_this_machine() -> tuple[Expression, ...]:
    """`fib daddr type local`."""
    fib: Expression = ("fib", ((1, _be(_REG_1)), (2, _be(3)), (3, _be(2))))
    return fib, _equals(struct.pack("=I", _RTN_LOCAL))


def goes_to_port(protocol: str, port: int) -> tuple[Expression, ...]:
    """`tcp dport PORT`, or `udp dport`."""
    return (
        _meta(_META_L4PROTO),
        _equals(bytes((_PROTOCOLS[protocol],))),
        _payload(_TRANSPORT, 2, 2),
        _equals(struct.pack("!H", port)),
    )


def masquerade() -> tuple[Expression, ...]:
    """`masquerade`."""
    return (("masq", ()),)


def dnat(address: str, port: int) -> tuple[Expression, ...]:
    """`dnat to ADDRESS:PORT`."""
    raw = ipaddress.ip_address(address).packed
    family = NFPROTO_IPV4 if len(raw) == 4 else NFPROTO_IPV6
    nat: Expression = (
        "nat",
        (
            *((1, _be(1)), (2, _be(family))),
            *((3, _be(_REG_1)), (4, _be(_REG_1)), (5, _be(_REG_2)), (6, _be(_REG_2))),
        ),
    )
    return _immediate(_REG_1, raw), _immediate(_REG_2, struct.pack("!H", port)), nat


def count() -> tuple[Expression, ...]:
    """`counter`."""
    return (("counter", ()),)


def drop() -> tuple[Expression, ...]:
    """`drop`."""
    verdict = attribute(2, _u32(1, 0))
    return (("immediate", ((1, _be(_REG_VERDICT)), (2, verdict))),)
