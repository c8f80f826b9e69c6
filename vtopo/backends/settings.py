"""What is set on interfaces and namespaces: addresses, routes, forwarding entries, sysctls."""

from __future__ import annotations

import contextlib
import errno
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from vtopo.backends import dump, messages, rare_messages, switching
from vtopo.backends.base import Done, Outcome
from vtopo.backends.netlink_socket import Answer
from vtopo.backends.outcomes import failed, outcome
from vtopo.backends.places import Places, place_name
from vtopo.backends.syscalls import CLONE_NEWNET, unshare
from vtopo.compile.resources import Address, Flood, Forward, Neighbour, Route, StaticMac, Sysctl

Setting: TypeAlias = Address | Route | Flood | Forward | Neighbour | StaticMac

ALREADY_GONE = (errno.EADDRNOTAVAIL, errno.ESRCH, errno.ENOENT, errno.ENODEV)


def create(places: Places, batch: Sequence[Setting]) -> list[Outcome]:
    """Add addresses, routes or forwarding entries, a namespace at a time."""
    outcomes: list[Outcome] = []
    for netns, there in _by_netns(batch).items():
        outcomes += _create_in(places, netns, there)
    return outcomes


def _by_netns(batch: Sequence[Setting]) -> dict[str, list[Setting]]:
    by_netns: dict[str, list[Setting]] = defaultdict(list)
    for r in batch:
        by_netns[r.netns].append(r)
    return by_netns


def _create_in(places: Places, netns: str, batch: Sequence[Setting], retry: bool = True) -> Iterator[Outcome]:
    requests: list[tuple[Setting, bytes]] = []
    for r in batch:
        try:
            requests += ((r, request) for request in _add(places, r))
        except OSError as e:
            yield failed(r, e)
    if not requests:
        return
    sent = list(dict.fromkeys(r for r, _ in requests))
    try:
        answers = _worst(sent, requests, places.ask(netns, requests))
        if retry and any(a.errno == errno.ENODEV for a in answers):  # an interface was made anew meanwhile
            places.links(netns)
            again = [r for r, a in zip(sent, answers, strict=True) if a.errno == errno.ENODEV]
            yield from _create_in(places, netns, again, retry=False)
        else:
            again = []
        for r, answer in zip(sent, answers, strict=True):
            if r not in again:
                taken = answer.errno == errno.EEXIST and not _is_there(places, r)
                if taken:
                    answer = Answer(answer.errno, answer.text or "there is one that is not vtopo's")
                yield outcome(r, answer if taken or answer.errno != errno.EEXIST else Answer(0))
    except OSError as e:
        for r in sent:
            yield failed(r, e)


def _worst(
    sent: Sequence[Setting], requests: Sequence[tuple[Setting, bytes]], answers: Sequence[Answer]
) -> list[Answer]:
    """One answer to each: the first refusal of any of its requests."""
    found: dict[str, Answer] = {}
    for (r, _), answer in zip(requests, answers, strict=True):
        if r.id not in found or not found[r.id].errno:
            found[r.id] = answer
    return [found[r.id] for r in sent]


def _add(places: Places, r: Setting) -> list[bytes]:
    if isinstance(r, Route):
        return [messages.route(r.destination, r.via, table=r.table)]
    index = places.index(r.netns, r.device)
    beside = _beside(index, r) if isinstance(r, Address) else []
    return [*_on(index, r, messages.RTM_NEWADDR, messages.RTM_NEWNEIGH), *beside]


def _on(
    index: int, r: Address | Flood | Forward | Neighbour | StaticMac, of_address: int, of_entry: int
) -> list[bytes]:
    """The requests that add something to an interface, or take it away."""
    match r:
        case Address():
            return [messages.address(index, r.address, of_address)]
        case Flood():
            return [rare_messages.flood(index, r.remote, of_entry)]
        case Forward():
            return rare_messages.forward(index, r.mac, r.remote, of_entry)
        case Neighbour():
            return [rare_messages.neighbour(index, r.address, r.mac, of_entry)]
        case StaticMac():
            return [switching.static_mac(index, r.mac, r.vlan, of_entry)]


def update(places: Places, r: Forward | Neighbour) -> list[Outcome]:
    """Another value of what there is: to add it takes the old one's place."""
    return list(_create_in(places, r.netns, [r]))


def change_address(places: Places, old: Address, new: Address) -> list[Outcome]:
    """Take away what somebody has added beside an address and set it, if it is gone; or, to undo that, the reverse."""
    try:
        index = places.index(new.netns, new.device)
        gone = [
            rare_messages.unmarked_address(index, other, messages.RTM_DELADDR)
            for other in old.others
            if other not in new.others
        ]
        if (old.state, new.state) == ("set", "gone"):
            gone.append(messages.address(index, new.address, messages.RTM_DELADDR))
        made = [messages.address(index, new.address)] if (old.state, new.state) == ("gone", "set") else []
        made += _beside(index, new, old.others)
        answers = places.ask(new.netns, [(new, request) for request in (*gone, *made)])
        refused = [a for a in answers[: len(gone)] if a.errno not in (0, *ALREADY_GONE)]
        refused += [a for a in answers[len(gone) :] if a.errno not in (0, errno.EEXIST)]
        return [outcome(new, refused[0] if refused else Answer(0))]
    except OSError as e:
        return [failed(new, e)]


def _beside(index: int, r: Address, there: Sequence[str] = ()) -> list[bytes]:
    """The requests that put back what somebody had added beside an address."""
    return [rare_messages.unmarked_address(index, other) for other in r.others if other not in there]


def _is_there(places: Places, r: Setting) -> bool:
    """Whether just this exists already, with vtopo's mark: a killed run had got that far."""
    socket = places.socket(r.netns)
    if isinstance(r, Address):
        seen = dump.read(socket, addresses=True)
        return seen.addresses.get(dump.address_key(places.index(r.netns, r.device), r.address), False)
    if isinstance(r, Route):
        seen = dump.read(socket, routes=True)
        key = (dump.canonical_network(r.destination), dump.canonical_address(r.via), r.table)
        return seen.routes.get(key, False)
    if isinstance(r, Flood):
        seen = dump.read(socket, entries=True)
        return (places.index(r.netns, r.device), dump.canonical_address(r.remote)) in seen.floods
    return False  # to add one takes the place of what there is


def delete(places: Places, batch: Sequence[Setting]) -> list[Outcome]:
    """Take them away; one that is gone, alone or with its interface, is done."""
    outcomes: list[Outcome] = []
    for netns, there in _by_netns(batch).items():
        try:
            places.links(netns)
            requests = [(r, request) for r in there for request in _remove(places, r)]
            sent = list(dict.fromkeys(r for r, _ in requests))
            outcomes += [Done(r.id) for r in there if r not in sent]
            gone = [Answer(0) if a.errno in ALREADY_GONE else a for a in places.ask(netns, requests)]
            for r, answer in zip(sent, _worst(sent, requests, gone), strict=True):
                outcomes.append(outcome(r, answer))
        except OSError:  # gone with its namespace
            outcomes += [Done(r.id) for r in there]
    return outcomes


def _remove(places: Places, r: Setting) -> list[bytes]:
    if isinstance(r, Route):
        return [messages.route(r.destination, r.via, messages.RTM_DELROUTE, r.table)]
    index = places[r.netns].indexes.get(r.device)
    return [] if index is None else _on(index, r, messages.RTM_DELADDR, messages.RTM_DELNEIGH)


def sysctl_path(key: str) -> str:
    """The file of a dotted key; as with sysctl(8), a slash in it stands for a dot of an interface's name."""
    path = key.translate(str.maketrans("./", "/."))
    if not path.startswith("net/") or ".." in path.split("/"):
        raise OSError(errno.EINVAL, f"{key} is not a network sysctl")
    return f"/proc/sys/{path}"


def read_sysctl(key: str) -> str:
    """The value in the calling thread's namespace, fields parted by single spaces."""
    fd = os.open(sysctl_path(key), os.O_RDONLY | os.O_CLOEXEC)
    try:
        return " ".join(os.read(fd, 4096).decode().split())
    finally:
        os.close(fd)


def set_sysctls(places: Places, batch: Sequence[Sysctl], action: str) -> list[Outcome]:
    """Write each value in its namespace."""
    outcomes: list[Outcome] = []
    for r in batch:
        try:
            places.enter(r.netns)
            places.tell_of(r, f"write {r.value} to {sysctl_path(r.key)} in {place_name(r.netns)}")
            write_sysctl(r.key, r.value)
            outcomes.append(Done(r.id))
        except OSError as e:
            outcomes.append(failed(r, e))
    return outcomes


def reset_sysctls(places: Places, batch: Sequence[Sysctl]) -> list[Outcome]:
    """Give each the value that a new namespace has: a host does not forward, the rest is the kernel's default."""
    try:
        unshare(CLONE_NEWNET)
    except OSError as e:
        return [failed(r, e) for r in batch]
    defaults: dict[str, str | None] = {r.key: _default(r.key) for r in batch}
    outcomes: list[Outcome] = []
    for r in batch:
        value = defaults[r.key]
        try:
            places.enter(r.netns)
            if value is not None:
                places.tell_of(r, f"write {value} to {sysctl_path(r.key)} in {place_name(r.netns)}")
                write_sysctl(r.key, value)
        except OSError as e:
            if e.errno not in (errno.ESRCH, errno.ENOENT):  # gone with its namespace or interface
                outcomes.append(failed(r, e))
                continue
        outcomes.append(Done(r.id))
    return outcomes


def _default(key: str) -> str | None:
    if key == "net.ipv4.ip_forward":
        return "0"
    parts = key.split(".")
    if parts[2:3] in (["conf"], ["neigh"]) and len(parts) > 4:
        parts[3:-1] = ["default"]
    try:
        return read_sysctl(".".join(parts))
    except OSError:
        return None


def write_sysctl(key: str, value: str) -> None:
    """Set it in the calling thread's namespace."""
    fd = os.open(sysctl_path(key), os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode() + b"\n")
    finally:
        os.close(fd)


@contextlib.contextmanager
def announced(places: Places, netns: str, device: str) -> Iterator[None]:
    """Has an interface tell its neighbours of a new MAC by gratuitous ARP and unsolicited advertisements.

    These are `arp_notify` and `ndisc_notify` of ip-sysctl.rst, set for this moment only.
    """
    places.enter(netns)
    before: dict[str, str] = {}
    device_key = device.replace(".", "/")
    for key in (f"net.ipv4.conf.{device_key}.arp_notify", f"net.ipv6.conf.{device_key}.ndisc_notify"):
        with contextlib.suppress(OSError):  # a kernel without IPv6
            before[key] = read_sysctl(key)
            write_sysctl(key, "1")
    try:
        yield
    finally:
        places.enter(netns)
        for key, value in before.items():
            with contextlib.suppress(OSError):
                write_sysctl(key, value)
