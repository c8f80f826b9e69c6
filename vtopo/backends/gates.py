"""Gates: the veth pairs between labs' uplinks and the machine's own namespace, and their tables of nftables there."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import ipaddress
import os
from collections.abc import Iterator, Mapping, Sequence

from vtopo.backends import dump, messages, nft, probe
from vtopo.backends import nft_messages as m
from vtopo.backends.base import Done, Outcome
from vtopo.backends.dump import Contents, Link
from vtopo.backends.links import is_ours, is_pair
from vtopo.backends.netlink_socket import Answer, NetlinkSocket
from vtopo.backends.nft import PRIORITIES, Chain
from vtopo.backends.outcomes import failed
from vtopo.backends.places import Places, empty_namespace
from vtopo.backends.settings import read_sysctl, write_sysctl
from vtopo.backends.syscalls import CLONE_NEWNET, setns
from vtopo.compile.resources import Gate, PortForward


class Machine:
    """The machine's own namespace, as the thread finds it that makes this: sockets to it, and the way back."""

    def __init__(self) -> None:
        self.netns = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.socket = NetlinkSocket()

    def enter(self) -> None:
        """Move the calling thread there."""
        setns(self.netns, CLONE_NEWNET)

    @contextlib.contextmanager
    def nft(self) -> Iterator[NetlinkSocket]:
        """A socket to the machine's nftables; the calling thread is in the machine's namespace afterwards."""
        self.enter()
        with nft.opened() as socket:
            yield socket

    def close(self) -> None:
        """Let go of it."""
        self.socket.close()
        os.close(self.netns)


@contextlib.contextmanager
def opened() -> Iterator[Machine]:
    """The machine's own namespace, in a thread that has not entered another one yet."""
    there = Machine()
    try:
        yield there
    finally:
        there.close()


def ends(r: Gate) -> Iterator[tuple[str, str]]:
    """For each of a gate's subnets, the machine's address and the lab's, with their lengths."""
    for subnet in map(ipaddress.ip_network, r.subnets):
        yield f"{subnet[0]}/{subnet.prefixlen}", f"{subnet[1]}/{subnet.prefixlen}"


def _addresses(r: Gate) -> Iterator[tuple[str, str]]:
    """All addresses of both ends: a router of IPv6 asks for its neighbours from a link-local address."""
    yield from ends(r)
    if any(":" in subnet for subnet in r.subnets):
        yield "fe80::1/64", "fe80::2/64"


def bare(address: str) -> str:
    """An address without its length."""
    return address.partition("/")[0]


def chains(r: Gate) -> tuple[Chain, ...]:
    """What a gate's table has.

    What the lab sends takes the machine's address; so does what the machine itself sends to a published port of its
    own, if its address means nothing in the lab. No packet of the lab's is for the machine's loopback addresses.
    """
    inner = [(*m.comes_from(bare(lab)), *m.masquerade()) for _, lab in ends(r)]
    if not r.forwards:
        return (Chain("postrouting", "nat", "postrouting", PRIORITIES["srcnat"], tuple(inner)),)
    inner.append((*m.goes_out_by(r.device), *m.comes_from_loopback(), *m.masquerade()))
    guard = (*m.comes_in_by(r.device), *m.goes_to_loopback(), *m.drop())
    come, sent = ([_forward(f, own) for f in r.forwards] for own in (False, True))
    return (
        Chain("postrouting", "nat", "postrouting", PRIORITIES["srcnat"], tuple(inner)),
        Chain("prerouting", "nat", "prerouting", PRIORITIES["dstnat"], tuple(come)),
        Chain("output", "nat", "output", PRIORITIES["dstnat"], tuple(sent)),
        Chain("guard", "filter", "prerouting", PRIORITIES["raw"], (guard,)),
    )


def _forward(f: PortForward, is_own: bool) -> tuple[m.Expression, ...]:
    family = m.is_of_family(6 if ":" in f.address else 4)
    # From ::1 nothing can be sent on: whoever asks there is refused at once, and tries 127.0.0.1.
    but = m.goes_not_to("::1") if is_own and ":" in f.address else ()
    port = m.goes_to_port(f.protocol, f.port)
    return (*family, *but, *m.goes_to_this_machine(), *port, *m.dnat(f.address, f.to_port))


def create(places: Places, there: Machine, r: Gate) -> Outcome:
    """Make a gate, in place of what an earlier run may have left of it, and try whether packets pass."""
    try:
        link = dump.links(there.socket).get(r.device)
        if link is not None and not is_ours(link):
            text = f"the machine has an interface {r.device} that is not vtopo's"
            return failed(r, Answer(errno.EEXIST, text))
        take_away(there, r.device, r.table)
        try:
            _make(places, there, r)
        except OSError:
            with contextlib.suppress(OSError):
                take_away(there, r.device, r.table)
            raise
    except OSError as e:
        return failed(r, e)
    return Done(r.id)


def _make(places: Places, there: Machine, r: Gate) -> None:

    netns = places[r.netns].fd
    near = messages.Birth(there.netns, 0, r.device, r.machine_mac, r.mtu, is_up=False)
    far = messages.Birth(netns, 0, r.device, r.mac, r.mtu)
    request = messages.veth(near, far)
    with empty_namespace() as socket:
        places.tell_of(
            r, f"RTM_NEWLINK veth {r.device} in the machine's namespace, peer {r.device} in {r.netns}"
        )
        _must(socket, [request])
    outer, inner = _index(dump.links(there.socket), r), _index(places.links(r.netns), r)
    there.enter()
    _set_sysctls(r)
    _must(there.socket, [messages.up(outer), *(messages.address(outer, own) for own, _ in _addresses(r))])
    requests = [messages.up(inner), *(messages.address(inner, lab) for _, lab in _addresses(r))]
    requests += [messages.route(_default(own), bare(own)) for own, _ in ends(r)]
    for answer in places.ask(r.netns, [(r, request) for request in requests]):
        raise_if_refused(answer)
    _put_table(places, there, r)
    probe.must_pass(places, there, r)


def _default(address: str) -> str:
    return "::/0" if ":" in address else "0.0.0.0/0"


def _must(socket: NetlinkSocket, requests: list[bytes]) -> None:
    for answer in socket.request(requests):
        raise_if_refused(answer)


def raise_if_refused(answer: Answer) -> None:
    """OSError with the kernel's words."""
    if answer.errno:
        raise OSError(answer.errno, str(answer))


def _sysctls(r: Gate) -> Iterator[tuple[str, str]]:
    """The settings of the machine's end; all are its own, and end with it."""
    yield f"net.ipv4.conf.{r.device}.forwarding", "1"
    # Its addresses are given: none is to be waited for, or to be had where nobody asked for IPv6.
    has_ipv6 = any(":" in subnet for subnet in r.subnets)
    yield f"net.ipv6.conf.{r.device}.{'addr_gen_mode' if has_ipv6 else 'disable_ipv6'}", "1"
    if r.forwards:  # what the machine sends to a published port of 127.0.0.1 goes out here
        yield f"net.ipv4.conf.{r.device}.route_localnet", "1"


def _set_sysctls(r: Gate) -> None:
    for key, value in _sysctls(r):
        with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
            if read_sysctl(key) != value:
                write_sysctl(key, value)


def _put_table(places: Places, there: Machine, r: Gate) -> None:
    words = "; ".join(["masquerade", *map(str, r.forwards)])
    places.tell_of(r, f"nft table inet {r.table} in the machine's namespace: {words}")
    with there.nft() as socket:
        raise_if_refused(nft.put(socket, r.table, chains(r)))


def update(places: Places, there: Machine, old: Gate, r: Gate) -> Outcome:
    """Change MTU and forwards, and put back rules that somebody has altered."""
    try:
        _set_sysctls(r)
        if r.mtu != old.mtu:
            outer, inner = _index(dump.links(there.socket), r), places.index(r.netns, r.device)
            _must(there.socket, [messages.set_link(outer, mtu=r.mtu)])
            raise_if_refused(places.ask(r.netns, [(r, messages.set_link(inner, mtu=r.mtu))])[0])
        _put_table(places, there, r)
    except OSError as e:
        return failed(r, e)
    return Done(r.id)


def _index(links: Mapping[str, Link], r: Gate) -> int:
    if r.device not in links:
        raise OSError(errno.ENODEV, f"the machine has no interface {r.device}")
    return links[r.device].index


def delete(there: Machine, r: Gate) -> Outcome:
    """Take a gate away."""
    try:
        take_away(there, r.device, r.table)
    except OSError as e:
        return failed(r, e)
    return Done(r.id)


def take_away(there: Machine, device: str, table: str) -> None:
    """Remove what there is of a gate in the machine's namespace, the table first: nothing passes half of it."""
    with there.nft() as socket:
        answer = nft.remove(socket, table)
    if answer.errno != errno.ENOENT:
        raise_if_refused(answer)
    link = dump.links(there.socket).get(device)
    if link is not None and is_ours(link):
        answer = there.socket.request([messages.delete_link(link.index)])[0]
        if answer.errno != errno.ENODEV:
            raise_if_refused(answer)


def observe(places: Places, there: Machine, batch: Sequence[Gate]) -> Iterator[Gate]:
    """Those that are there; one of which more than MTU and rules is amiss counts as gone."""
    outside = dump.read(there.socket, addresses=True) if batch else Contents()
    for r in batch:
        try:
            inside = dump.read(places.socket(r.netns), addresses=True, routes=True)
        except OSError:  # gone with its namespace
            continue
        there.enter()
        if not _stands(r, outside, inside):
            continue
        mtus = {outside.links[r.device].mtu, inside.links[r.device].mtu}
        with there.nft() as socket:
            is_same = nft.has(socket, r.table, chains(r))
        mtu = r.mtu if mtus == {r.mtu} else next(iter(mtus - {r.mtu}))
        yield dataclasses.replace(r, mtu=mtu, rules="as made" if is_same else "altered")


def _stands(r: Gate, outside: Contents, inside: Contents) -> bool:
    outer, inner = outside.links.get(r.device), inside.links.get(r.device)
    if outer is None or inner is None or not is_pair(outer, inner) or not (outer.is_up and inner.is_up):
        return False
    for own, lab in _addresses(r):
        if dump.address_key(outer.index, own) not in outside.addresses:
            return False
        if dump.address_key(inner.index, lab) not in inside.addresses:
            return False
    for own, _ in ends(r):
        way = (
            dump.canonical_network(_default(own)),
            dump.canonical_address(bare(own)),
            messages.RT_TABLE_MAIN,
        )
        if way not in inside.routes:
            return False
    return all(_is_set(key, value) for key, value in _sysctls(r))


def _is_set(key: str, value: str) -> bool:
    try:
        return read_sysctl(key) == value
    except OSError:  # a kernel without IPv6
        return ".ipv6." in key
