"""Waits until guests are ready: a port answers, the console says so, the agent does, or a command there succeeds."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Mapping

from vtopo.backends import guest_commands, guest_ports
from vtopo.backends.agent import Agent, AgentRefusedError, AgentSilentError
from vtopo.backends.base import Done, Failed, Handle, Outcome
from vtopo.backends.console_log import ConsoleLog
from vtopo.backends.hypervisor import Hypervisor, library
from vtopo.backends.places import Places
from vtopo.backends.threads import apart
from vtopo.compile.resources import GuestReady
from vtopo.compile.resources.domains import Door

_EVERY = 0.1  # seconds between two looks
_LINES = 10  # of the console in the message of a failure


class GuestWaiting:
    """Waits for the guests of one lab; `stop` is set when the run is to end."""

    def __init__(self, lab: str, hypervisor: Hypervisor, stop: threading.Event) -> None:
        self._lab = lab
        self._hypervisor = hypervisor
        self._stop = stop

    def outcome(self, r: GuestReady, log: ConsoleLog, handles: Mapping[str, Handle]) -> Outcome:
        """Done as soon as the guest is ready; Failed says what is missing after its time."""
        end = time.monotonic() + r.milliseconds / 1000

        def go_on() -> bool:
            return time.monotonic() < end and not self._stop.is_set()

        look = self._look(r, log, handles, go_on)
        missing = "its time was up at once"
        while go_on():
            found = look()
            if found is None:
                return Done(r.id)
            missing = found
            if not _runs(self._hypervisor, r.name):
                return Failed(r.id, f"the guest of {r.node} has ended{_tail(log)}", errno.ESRCH)
            self._stop.wait(_EVERY)
        if self._stop.is_set():
            return Failed(r.id, "given up, as the run stops", errno.ECANCELED)
        seconds = f"{r.milliseconds / 1000:g} s"
        return Failed(r.id, f"{r.node} is not ready after {seconds}: {missing}{_tail(log)}", errno.ETIMEDOUT)

    def _look(
        self, r: GuestReady, log: ConsoleLog, handles: Mapping[str, Handle], go_on: Callable[[], bool]
    ) -> Callable[[], str | None]:
        """What looks once, and says what is missing; None if nothing is."""
        match r.condition:
            case "log":
                return lambda: None if log.contains(r.text or "") else f"its console does not say {r.text!r}"
            case "tcp":
                return lambda: self._port(r, handles, go_on)
            case "agent":
                return lambda: self._agent(r)
            case "command":
                return lambda: self._command(r, go_on)

    def _port(self, r: GuestReady, handles: Mapping[str, Handle], go_on: Callable[[], bool]) -> str | None:
        assert r.port is not None
        port = r.port
        for door in r.doors:
            if apart(lambda door=door: self._in_place(door, port, handles, go_on)):  # type: ignore[misc]
                return None
        addresses = " or ".join(door.address for door in r.doors)
        return f"nothing accepts connections on TCP port {port} at {addresses}"

    def _in_place(
        self, door: Door, port: int, handles: Mapping[str, Handle], go_on: Callable[[], bool]
    ) -> bool:
        places = Places(self._lab)
        places.renew(handles)
        try:
            places.enter(door.netns)
            return guest_ports.accepts(door, port, go_on)
        except OSError:
            return False
        finally:
            places.close()

    def _agent(self, r: GuestReady) -> str | None:
        try:
            self._agent_of(r).ping()
        except (AgentSilentError, library().libvirtError) as e:
            return f"its agent does not answer ({e})"
        return None

    def _command(self, r: GuestReady, go_on: Callable[[], bool]) -> str | None:
        said: list[bytes] = []
        try:
            status = guest_commands.run(
                self._agent_of(r), r.command, env=r.env, write=lambda _, data: said.append(data), go_on=go_on
            )
        except (AgentSilentError, library().libvirtError) as e:
            return f"its agent does not answer ({e})"
        except AgentRefusedError as e:
            return f"its agent does not run the command: {e}"
        except guest_commands.GivenUpError:
            return "its command does not end"
        words = " ".join(b"".join(said[-4:]).decode(errors="replace").split())[-200:]
        return None if status == 0 else f"its command ends with status {status}: {words or 'no output'}"

    def _agent_of(self, r: GuestReady) -> Agent:
        return Agent(self._hypervisor.connection().lookupByName(r.name))


def _runs(hypervisor: Hypervisor, name: str) -> bool:
    """Whether the domain is there; a libvirt that does not say so now may say so later."""
    libvirt = library()
    try:
        hypervisor.connection().lookupByName(name)
    except libvirt.libvirtError as e:
        return bool(e.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN)
    return True


def _tail(log: ConsoleLog) -> str:
    """The end of a message: what the console said last."""
    lines = log.last(_LINES)
    said = "\n".join(f"    {line}" for line in lines)
    return f"; its console said last\n{said}" if lines else "; its console has said nothing"
