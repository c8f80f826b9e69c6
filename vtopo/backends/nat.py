"""Address translation in nodes' own namespaces: the table `vtopo` of nftables there."""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Iterator, Sequence

from vtopo.backends import nft
from vtopo.backends import nft_messages as m
from vtopo.backends.base import Done, Outcome
from vtopo.backends.netlink_socket import Answer
from vtopo.backends.nft import PRIORITIES, Chain
from vtopo.backends.outcomes import failed, outcome
from vtopo.backends.places import Places, place_name
from vtopo.compile.resources import Nat, PortForward

TABLE = "vtopo"


def chains(r: Nat) -> tuple[Chain, ...]:
    """What the table has."""
    leaving = tuple((*m.goes_out_by(interface), *m.masquerade()) for interface in r.masquerade)
    leaving += tuple(
        (*m.comes_in_by(interface), *m.goes_to(address), *m.masquerade())
        for interface in r.masquerade
        for address in r.hidden
    )
    coming = tuple(
        (*m.comes_in_by(interface), *_forward(f)) for interface in r.masquerade for f in r.forwards
    )
    post = Chain("postrouting", "nat", "postrouting", PRIORITIES["srcnat"], leaving)
    pre = Chain("prerouting", "nat", "prerouting", PRIORITIES["dstnat"], coming)
    return (post, pre) if coming else (post,)


def _forward(f: PortForward) -> tuple[m.Expression, ...]:
    family = m.is_of_family(6 if ":" in f.address else 4)
    return (*family, *m.goes_to_port(f.protocol, f.port), *m.dnat(f.address, f.to_port))


def create(places: Places, batch: Sequence[Nat]) -> list[Outcome]:
    """Have each table as it is to be, whatever is left of an earlier one: its name is vtopo's own."""
    return [_put(places, r) for r in batch]


def _put(places: Places, r: Nat) -> Outcome:
    try:
        places.enter(r.netns)
        places.tell_of(r, f"nft table inet {TABLE} in {place_name(r.netns)}: {_words(r)}")
        with nft.opened() as socket:
            return outcome(r, nft.put(socket, TABLE, chains(r)))
    except OSError as e:
        return failed(r, e)


def _words(r: Nat) -> str:
    return "; ".join([*(f"masquerade {name}" for name in r.masquerade), *map(str, r.forwards)])


def delete(places: Places, batch: Sequence[Nat]) -> list[Outcome]:
    """Take the tables away; one that is gone, alone or with its namespace, is done."""
    outcomes: list[Outcome] = []
    for r in batch:
        try:
            places.enter(r.netns)
        except OSError:
            outcomes.append(Done(r.id))
            continue
        try:
            with nft.opened() as socket:
                answer = nft.remove(socket, TABLE)
            outcomes.append(outcome(r, Answer(0) if answer.errno == errno.ENOENT else answer))
        except OSError as e:
            outcomes.append(failed(r, e))
    return outcomes


def observe(places: Places, batch: Sequence[Nat]) -> Iterator[Nat]:
    """Those that are there."""
    for r in batch:
        try:
            places.enter(r.netns)
            with nft.opened() as socket:
                if TABLE not in nft.tables(socket):
                    continue
                same = nft.has(socket, TABLE, chains(r))
        except OSError:
            continue
        yield r if same else dataclasses.replace(r, rules="altered")
