"""Runs the trials of a lab's expectations: echoes in bulk, all others side by side in threads."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from vtopo.backends.base import BackendError, Handle
from vtopo.backends.echo import Probe, echo
from vtopo.backends.enter import capture_in_host
from vtopo.backends.trials import pings, tcp
from vtopo.backends.trials.place import NOT_RUNNING
from vtopo.backends.trials.verdict import Seen, of_command, until
from vtopo.model.lab import Claim, Expectation, Lab, Measure, Output, Reach, Way, shown_bound
from vtopo.values import dataclass

if TYPE_CHECKING:
    from vtopo.backends.guest_access import Access

AT_ONCE = 16
"""Trials in threads at the same time."""
LOGINS = 3
"""Those of them in one guest: servers of ssh take few logins at a time."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of the expectation `number`, and what was seen."""

    number: int
    passed: bool
    seen: str


def try_all(
    lab: Lab, expectations: Sequence[Expectation], handles: Mapping[str, Handle], guests: Access | None
) -> Iterator[Verdict]:
    """One verdict for each expectation, as soon as it is known; `handles` are those of the running lab.

    `guests` has the ways into its VMs, if there are any.
    """
    trials = _Trials(lab, handles, guests)
    echoes: list[tuple[int, Probe]] = []
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE, "vtopo-trial") as pool:
        others: dict[concurrent.futures.Future[Seen], int] = {}
        for number, expectation in enumerate(expectations):
            claim = expectation.claim
            if isinstance(claim, Reach) and claim.tcp is None and claim.subject not in trials.vms:
                probe = Probe(trials.handle(claim.subject), claim.address, expectation.seconds)
                echoes.append((number, probe))
            else:
                others[pool.submit(trials.seen, expectation)] = number
        for answer in echo([probe for _, probe in echoes]):
            number, probe = echoes[answer.probe]
            answered = answer.rtt is not None
            what = f"{answer.rtt * 1000:.2f} ms" if answer.rtt is not None else answer.reason
            yield _verdict(number, expectations[number], Seen(answered, f"{probe.target}: {what}"))
        for future in concurrent.futures.as_completed(others):
            number = others[future]
            yield _verdict(number, expectations[number], future.result())


def _verdict(number: int, expectation: Expectation, seen: Seen) -> Verdict:
    return Verdict(number, seen.tried and seen.held != expectation.negated, seen.what)


class _Trials:
    """Tries the expectations that are no echoes, each in a thread of its own."""

    def __init__(self, lab: Lab, handles: Mapping[str, Handle], guests: Access | None) -> None:
        self._handles = handles
        self._guests = guests
        self.vms = frozenset(vm.name for vm in lab.vms)
        self._turns = {vm: threading.Semaphore(LOGINS) for vm in self.vms}
        self._kinds = {host.name: host.kind for host in lab.hosts}
        self._owners: dict[IPv4Address | IPv6Address, str] = {}
        for link in lab.links:
            for end in (link.left, link.right):
                self._owners.update((a.ip, end.node) for a in end.addresses)
        for device in lab.devices:
            self._owners.update((a.ip, device.node) for a in device.addresses)

    def handle(self, node: str) -> Handle:
        """How a node is found; an empty handle for one that does not run."""
        return self._handles.get(f"{node}/{self._kinds.get(node, 'host')}", Handle())

    def seen(self, expectation: Expectation) -> Seen:
        """What came of an expectation once it held or its time was up."""
        claim = expectation.claim
        if claim.subject in self.vms:
            with self._turns[claim.subject]:
                return until(lambda left: self._in_guest(claim, left), expectation.seconds)
        try:
            match claim:
                case Reach(tcp=int(port)):
                    return until(
                        lambda left: tcp.connects(self.handle(claim.subject), claim.address, port, left),
                        expectation.seconds,
                    )
                case Output():
                    return until(lambda left: self._output(claim, left), expectation.seconds)
                case Measure():
                    return until(lambda left: self._measure(claim, left), expectation.seconds)
                case Way():
                    return until(lambda left: self._way(claim), expectation.seconds)
        except BackendError as e:
            return Seen(False, str(e))
        raise AssertionError(claim)

    def _in_guest(self, claim: Claim, left: float) -> Seen:
        from vtopo.backends.trials.guest import Guest

        assert self._guests is not None
        guest = Guest(self._guests, claim.subject)
        try:
            match claim:
                case Reach(tcp=int(port)):
                    return guest.connects(claim.address, port, left)
                case Reach():
                    return guest.reaches(claim.address, left)
                case Output():
                    return guest.output(claim.command, claim.prints, left)
                case Measure():
                    row = guest.row(claim.address, left)
                    if isinstance(row, Seen):
                        return row
                    lost, delay = row
                    if claim.quantity == "loss":
                        return _compared(claim, lost * 1e6)
                    return (
                        _compared(claim, delay * 1e6) if delay else Seen(False, f"{claim.address}: no answer")
                    )
        except BackendError as e:
            return Seen(False, str(e), tried=False)
        raise AssertionError(claim)

    def _output(self, claim: Output, left: float) -> Seen:
        handle = self.handle(claim.subject)
        if handle.pid is None:
            return Seen(False, NOT_RUNNING)
        argv = ["/bin/sh", "-c", claim.command] if isinstance(claim.command, str) else list(claim.command)
        return of_command(*capture_in_host(handle, argv, left), claim.prints)

    def _measure(self, claim: Measure, left: float) -> Seen:
        subject = self.handle(claim.subject)
        if claim.quantity == "rate":
            rate = tcp.bits_per_second(
                subject, self.handle(self._owners.get(claim.address, "")), claim.address, left
            )
            return Seen(False, rate) if isinstance(rate, str) else _compared(claim, rate)
        found = pings.row(subject, claim.address)
        if claim.quantity == "loss":
            return _compared(claim, found.loss * 1e6) if found.sent else Seen(False, found.reason)
        if found.delay is None:
            return Seen(False, f"{claim.address}: {found.reason}")
        return _compared(claim, found.delay * 1e6)

    def _way(self, claim: Way) -> Seen:
        hops = pings.way(self.handle(claim.subject), claim.address)
        if isinstance(hops, str):
            return Seen(False, hops)
        nodes = [self._owners.get(hop, str(hop)) if hop is not None else "*" for hop in hops]
        left = iter(nodes)
        return Seen(all(node in left for node in claim.through), f"by {', '.join(nodes)}")


def _compared(claim: Measure, value: float) -> Seen:
    holds = {
        "<=": value <= claim.bound,
        ">=": value >= claim.bound,
        "<": value < claim.bound,
        ">": value > claim.bound,
    }[claim.comparison]
    return Seen(holds, shown_bound(claim.quantity, round(value)))
