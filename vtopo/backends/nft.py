"""Tables of nftables as a whole: put in place at once or not at all, read back, taken away."""

from __future__ import annotations

import contextlib
import errno
import sys
from collections.abc import Iterator, Sequence
from typing import Literal

from vtopo.backends import nft_messages as m
from vtopo.backends.attributes import attributes
from vtopo.backends.netlink_socket import Answer, NetlinkSocket
from vtopo.backends.nft_messages import Expression
from vtopo.values import dataclass

_NETFILTER = 12  # NETLINK_NETFILTER
_NFT_HEAD = 4
_NAT_FLAGS = 7  # NFTA_NAT_FLAGS, which kernels fill in differently

_NO_NFT = (errno.EPROTONOSUPPORT, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM)
"""What a kernel without nftables says, or one to a user who may not ask."""

PRIORITIES = {"raw": -300, "dstnat": -100, "srcnat": 100}


@dataclass(frozen=True, slots=True)
class Chain:
    """A base chain with the policy accept, and its rules."""

    name: str
    type: Literal["nat", "filter"]
    hook: str
    priority: int
    rules: tuple[tuple[Expression, ...], ...]


@dataclass(frozen=True, slots=True)
class BaseChain:
    """A base chain that somebody has, as the kernel tells it."""

    family: int
    table: str
    name: str
    hook: int
    drops: bool


@contextlib.contextmanager
def opened() -> Iterator[NetlinkSocket]:
    """A socket to nftables in the namespace of the calling thread."""
    socket = NetlinkSocket(_NETFILTER)
    try:
        yield socket
    finally:
        socket.close()


def put(socket: NetlinkSocket, table: str, chains: Sequence[Chain], *, owned: bool = False) -> Answer:
    """Have a table with just these chains, whatever it had before; no packet meets a half of it."""
    new = m.new_table(table, owned=owned)
    messages = [m.begin(), new, m.delete_table(table), new]
    for chain in chains:
        messages.append(m.new_chain(table, chain.name, chain.type, chain.hook, chain.priority))
        messages += [m.new_rule(table, chain.name, rule) for rule in chain.rules]
    return socket.transaction([*messages, m.end()])


def remove(socket: NetlinkSocket, table: str) -> Answer:
    """Away with a table; the kernel says ENOENT if there is none."""
    return socket.transaction([m.begin(), m.delete_table(table), m.end()])


def tables(socket: NetlinkSocket) -> list[str]:
    """The names of all tables of the family inet."""
    found = []
    for data, at, end in socket.dump(m.dump(m.GETTABLE)):
        found.append(_text(attributes(data, at + _NFT_HEAD, end)[m.TABLE_NAME]))
    return found


def ours() -> list[str]:
    """The tables of labs in the namespace of the calling thread, by their names; none if nobody may have any."""
    try:
        with opened() as socket:
            found = tables(socket)
    except OSError as e:
        if e.errno in _NO_NFT:
            return []
        raise
    return [table for table in found if table.startswith("vtopo.") and table.count(".") > 1]


def has(socket: NetlinkSocket, table: str, chains: Sequence[Chain]) -> bool:
    """Whether a table has just these chains and rules."""
    there: dict[str, tuple[str, int, int, list[tuple[Expression, ...]]]] = {}
    for data, at, end in socket.dump(m.dump(m.GETCHAIN)):
        a = attributes(data, at + _NFT_HEAD, end)
        if _text(a[m.CHAIN_TABLE]) == table:
            hook, priority = _hook(a.get(m.CHAIN_HOOK, b""))
            there[_text(a[m.CHAIN_NAME])] = (_text(a.get(m.CHAIN_TYPE, b"")), hook, priority, [])
    for name, rule in rules(socket, table):
        there[name][3].append(rule)
    wanted = {c.name: (c.type, m.HOOKS[c.hook], c.priority, [told(r) for r in c.rules]) for c in chains}
    return there == wanted


def rules(socket: NetlinkSocket, table: str) -> Iterator[tuple[str, tuple[Expression, ...]]]:
    """The rules of a table, each with its chain's name."""
    for data, at, end in socket.dump(m.dump(m.GETRULE)):
        a = attributes(data, at + _NFT_HEAD, end)
        if _text(a[m.RULE_TABLE]) == table:
            yield _text(a[m.RULE_CHAIN]), tuple(_expressions(a.get(m.RULE_EXPRESSIONS, b"")))


def chains_of_all(socket: NetlinkSocket) -> list[tuple[int, str, str]]:
    """The chains of all tables: family, table, name."""
    found = []
    for data, at, end in socket.dump(m.dump(m.GETCHAIN, m.NFPROTO_UNSPEC)):
        a = attributes(data, at + _NFT_HEAD, end)
        found.append((data[at], _text(a[m.CHAIN_TABLE]), _text(a[m.CHAIN_NAME])))
    return found


def base_chains(socket: NetlinkSocket) -> list[BaseChain]:
    """The base chains of all families, whoever made them."""
    found = []
    for data, at, end in socket.dump(m.dump(m.GETCHAIN, m.NFPROTO_UNSPEC)):
        a = attributes(data, at + _NFT_HEAD, end)
        if m.CHAIN_HOOK in a:
            table, name, policy = (_text(a[m.CHAIN_TABLE]), _text(a[m.CHAIN_NAME]), a.get(m.CHAIN_POLICY))
            drops = policy is not None and int.from_bytes(policy, "big") == 0
            found.append(BaseChain(data[at], table, name, _hook(a[m.CHAIN_HOOK])[0], drops))
    return found


def _hook(raw: bytes) -> tuple[int, int]:
    a = attributes(raw, 0, len(raw))
    number, priority = (a.get(kind, b"") for kind in (m.HOOK_NUMBER, m.HOOK_PRIORITY))
    return int.from_bytes(number, "big"), int.from_bytes(priority, "big", signed=True)


def told(rule: Sequence[Expression]) -> tuple[Expression, ...]:
    """A rule as `rules` reads it."""
    return tuple((name, tuple(sorted(found))) for name, found in rule)


def _expressions(listed: bytes) -> Iterator[Expression]:
    at = 0
    while at + 4 <= len(listed):
        size = int.from_bytes(listed[at : at + 2], sys.byteorder)
        a = attributes(listed, at + 4, at + size)
        name = _text(a[m.EXPRESSION_NAME])
        data = a.get(m.EXPRESSION_DATA, b"")
        found = attributes(data, 0, len(data))
        if name == "nat":
            found.pop(_NAT_FLAGS, None)
        yield name, tuple(sorted(found.items()))
        at += (size + 3) & ~3


def _text(raw: bytes) -> str:
    return raw.rstrip(b"\0").decode(errors="replace")
