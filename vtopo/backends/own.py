"""The interfaces that nodes make by themselves: made, found, changed; and put together to bonds and VRFs."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Literal

from vtopo.backends import messages, own_messages
from vtopo.backends.base import Done, Outcome
from vtopo.backends.dump import Contents, Link
from vtopo.backends.links import Refused, create_one, is_ours, must, ours
from vtopo.backends.netlink_socket import Answer
from vtopo.backends.observe import real_mac
from vtopo.backends.outcomes import failed, outcome
from vtopo.backends.places import Places
from vtopo.backends.settings import announced
from vtopo.compile.resources import Attached, Bond, Resource, Vlan, Vrf
from vtopo.compile.resources.devices import Own


def create(places: Places, batch: Sequence[Own]) -> list[Outcome]:
    """Each anew; what a killed run left of it is removed first."""
    return [create_one(places, r, partial(_requests, places, r), _never) for r in batch]


def _never(places: Places, r: Resource, link: Link) -> bool:
    return False


def _requests(places: Places, r: Own, index: int) -> list[bytes]:
    if isinstance(r, Vlan):
        return [own_messages.vlan(index, r, places.index(r.netns, r.below))]
    if isinstance(r, Bond):
        return [own_messages.bond(index, r)]
    return [own_messages.vrf(index, r) if isinstance(r, Vrf) else own_messages.dummy(index, r)]


def update(places: Places, old: Own, new: Own) -> Outcome:
    """Change MTU, MAC, state and how often a bond looks at carriers."""
    try:
        link = ours(places, new.netns, new.name)
        mac = mtu = None
        if not isinstance(new, Vrf) and not isinstance(old, Vrf):
            mac = new.mac if new.mac != old.mac else None
            mtu = new.mtu if new.mtu != old.mtu else None
        requests = [messages.set_link(link.index, mtu=mtu or 0, mac=mac or "", is_up=new.state == "up")]
        if isinstance(new, Bond):
            requests.append(own_messages.set_miimon(link.index, new.miimon))
        with announced(places, new.netns, new.name) if mac else contextlib.nullcontext():
            for answer in places.ask(new.netns, [(new, each) for each in requests]):
                must(answer)
    except Refused as e:
        return failed(new, e.answer)
    except OSError as e:
        return failed(new, e)
    return Done(new.id)


def found(r: Own, here: Contents) -> Resource | None:
    """One as the kernel has it; None if it is not there, or not vtopo's."""
    link = here.links.get(r.name)
    if link is None or link.kind != r.kind or link.group != messages.GROUP:
        return None
    state: Literal["up", "down"] = "up" if link.is_up else "down"
    if isinstance(r, Vrf):
        return dataclasses.replace(r, table=own_messages.vrf_table(link.data), state=state)
    mac = r.mac if real_mac(link, here) == r.mac.lower() else real_mac(link, here)
    seen = dataclasses.replace(r, mac=mac, mtu=link.mtu, state=state)
    if isinstance(seen, Vlan):
        below = here.name(link.link) or ""
        return dataclasses.replace(seen, vid=own_messages.vlan_id(link.data), below=below)
    if isinstance(seen, Bond):
        data = link.data
        return dataclasses.replace(
            seen, mode=own_messages.bond_mode(data), miimon=own_messages.bond_miimon(data)
        )
    return seen


# What is put together


def attach(places: Places, batch: Sequence[Attached]) -> list[Outcome]:
    """Make each a part of its bond or VRF; a bond takes none that is up, and brings it up."""
    return [_attach(places, r) for r in batch]


def _attach(places: Places, r: Attached) -> Outcome:
    try:
        links = places.links(r.netns)
        link, master = links.get(r.device), links.get(r.master)
        if link is None or master is None or not is_ours(link) or not is_ours(master):
            raise Refused(Answer(19, f"{r.netns} has no {r.device if link is None else r.master} of vtopo's"))
        if link.master != master.index:
            # Kernels of some ages look at the flags of a request before its master.
            down = [messages.set_link(link.index, is_up=False)] if master.kind == "bond" else []
            joined = messages.set_link(link.index, master=master.index, is_up=not down and link.is_up)
            requests = [*down, joined, messages.set_link(link.index, is_up=link.is_up)]
            for answer in places.ask(r.netns, [(r, each) for each in requests]):
                must(answer)
        if r.primary:
            set_primary(places, r)
    except Refused as e:
        return failed(r, e.answer)
    except OSError as e:
        return failed(r, e)
    return Done(r.id)


def set_primary(places: Places, r: Attached) -> None:
    """Have a bond use this part as long as it can, or whichever it likes."""
    master, part = places.index(r.netns, r.master), places.index(r.netns, r.device)
    must(places.ask(r.netns, [(r, own_messages.set_primary(master, part if r.primary else 0))])[0])


def update_attached(places: Places, r: Attached) -> Outcome:
    """Change which part a bond prefers."""
    try:
        set_primary(places, r)
    except Refused as e:
        return failed(r, e.answer)
    except OSError as e:
        return failed(r, e)
    return Done(r.id)


def detach(places: Places, batch: Sequence[Attached]) -> list[Outcome]:
    """Take each out again; a bond lets go of what is down then, so it is brought up as before."""
    outcomes: list[Outcome] = []
    for r in batch:
        try:
            links = places.links(r.netns)
            link, master = links.get(r.device), links.get(r.master)
            if link is None or master is None or link.master != master.index:
                outcomes.append(Done(r.id))
                continue
            requests = [messages.set_link(link.index, master=0, is_up=link.is_up)]
            requests.append(messages.set_link(link.index, is_up=link.is_up))
            answers = places.ask(r.netns, [(r, each) for each in requests])
            outcomes.append(outcome(r, next((a for a in answers if a.errno), answers[-1])))
        except OSError:  # gone with its namespace
            outcomes.append(Done(r.id))
    return outcomes


def found_attached(r: Attached, here: Contents) -> Resource | None:
    """Whether it is a part of what it is to be part of, and the preferred one."""
    link, master = here.links.get(r.device), here.links.get(r.master)
    if link is None or master is None or link.master != master.index:
        return None
    primary = master.kind == "bond" and own_messages.bond_primary(master.data) == link.index
    return r if primary == r.primary else dataclasses.replace(r, primary=primary)
