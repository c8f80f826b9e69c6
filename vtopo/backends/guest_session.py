"""Runs a command in a guest with this process' standard input and output, as far as an agent can carry them."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Mapping, Sequence

from vtopo.backends import guest_commands
from vtopo.backends.agent import Agent, AgentRefusedError, AgentSilentError
from vtopo.backends.base import BackendError
from vtopo.backends.guest_access import no_agent
from vtopo.backends.hypervisor import Hypervisor, library, words

_PATIENCE = 2.0  # seconds after which it is said what is waited for


def run_in_guest(
    hypervisor: Hypervisor, name: str, node: str, argv: Sequence[str], env: Mapping[str, str] | None = None
) -> int:
    """Run a command in the guest of the domain `name`; its exit status as a shell tells it.

    BackendError says what to do where there is no agent. The agent has no terminal to give: input is read to its
    end first, and none is read from a terminal.
    """
    libvirt = library()
    try:
        agent = Agent(hypervisor.connection().lookupByName(name))
        agent.ping()  # before somebody's input is read for nothing
        return guest_commands.run(
            agent,
            argv,
            env=[f"{key}={value}" for key, value in (env or {}).items()],
            stdin=_input(),
            write=lambda stream, data: _write(stream, data),
        )
    except libvirt.libvirtError as e:
        raise BackendError(f"the VM is not running: {words(e)}; `vtopo up` starts it again") from e
    except AgentSilentError as e:
        if "not running" in str(e):
            raise BackendError(
                f"`{node}` does not run: `vtopo status` tells why; `vtopo node {node} resume` lets a paused one go on"
            ) from e
        raise BackendError(no_agent(node, str(e))) from e
    except AgentRefusedError as e:
        raise BackendError(f"`{node}`: its guest agent does not run commands: {e}") from e


def _input() -> bytes:
    """Standard input up to its end; nothing of a terminal's, whose keys have nowhere to go."""
    try:
        if sys.stdin is None or os.isatty(0):
            return b""
        if not select.select([0], [], [], _PATIENCE)[0]:
            print("vtopo: waiting for the end of standard input; `< /dev/null` gives none", file=sys.stderr)
        parts = []
        while part := os.read(0, 1 << 16):
            parts.append(part)
        return b"".join(parts)
    except OSError:  # it is closed
        return b""


def _write(stream: int, data: bytes) -> None:
    while data:
        data = data[os.write(stream, data) :]
