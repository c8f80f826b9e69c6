"""A guest's agent (qemu-ga), by way of libvirt: asked in its own protocol, its refusals told from its silence."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vtopo.backends.base import BackendError
from vtopo.backends.hypervisor import library, words

if TYPE_CHECKING:
    import libvirt

PATIENCE = 10
"""Seconds that the agent may take to answer; it answers in milliseconds, and emulated in tens of them."""

_READ = 1 << 18
"""Bytes of a file in one answer: libvirt gives an agent up whose answers are larger than some MiB."""

_WRITTEN = 1 << 14
"""Bytes of a file in one request, which the agent takes apart a letter at a time."""


class AgentSilentError(BackendError):
    """No agent answers: none is installed, it does not run yet, or the guest is held."""


class AgentRefusedError(BackendError):
    """The agent answers, and does not do what it was asked; the text is its own."""


class Agent:
    """The agent of one domain. Commands and files are the guest's (docs/interop/qemu-ga-ref.rst of QEMU)."""

    def __init__(self, domain: libvirt.virDomain) -> None:
        self._domain = domain

    def ping(self) -> None:
        """AgentSilentError unless it answers."""
        self.ask("guest-ping")

    def ask(self, command: str, arguments: Mapping[str, object] | None = None) -> Any:
        """What the agent returns."""
        libvirt = library()
        import libvirt_qemu

        message = json.dumps({"execute": command, "arguments": dict(arguments or {})})
        try:
            answer = libvirt_qemu.qemuAgentCommand(self._domain, message, PATIENCE, 0)
        except libvirt.libvirtError as e:
            silent = (
                libvirt.VIR_ERR_AGENT_UNRESPONSIVE,
                libvirt.VIR_ERR_AGENT_UNSYNCED,
                libvirt.VIR_ERR_OPERATION_INVALID,
                libvirt.VIR_ERR_NO_DOMAIN,
                libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED,
            )
            if e.get_error_code() in silent:
                raise AgentSilentError(words(e).removeprefix("Guest agent is not responding: ")) from e
            raise AgentRefusedError(_own_words(words(e))) from e
        return json.loads(answer)["return"]

    # Commands

    def start(self, path: str, arguments: tuple[str, ...], capture: bool = False) -> int:
        """Start a program; its pid in the guest."""
        said = self.ask("guest-exec", {"path": path, "arg": list(arguments), "capture-output": capture})
        return int(said["pid"])

    def status(self, pid: int) -> Mapping[str, Any]:
        """What there is to say of a program that was started here: `exited`, `exitcode` or `signal`, its output."""
        said: Mapping[str, Any] = self.ask("guest-exec-status", {"pid": pid})
        return said

    # Files

    def open(self, path: str, mode: str) -> int:
        """A handle of a file; `mode` as in fopen(3)."""
        return int(self.ask("guest-file-open", {"path": path, "mode": mode}))

    def read(self, handle: int) -> bytes:
        """What comes next; empty at the end of now."""
        said = self.ask("guest-file-read", {"handle": handle, "count": _READ})
        return base64.b64decode(said["buf-b64"])

    def write(self, handle: int, data: bytes) -> None:
        """Write all of it."""
        for at in range(0, len(data), _WRITTEN):
            part = base64.b64encode(data[at : at + _WRITTEN]).decode()
            self.ask("guest-file-write", {"handle": handle, "buf-b64": part})

    def close(self, handle: int) -> None:
        """Let go of a file, written."""
        self.ask("guest-file-close", {"handle": handle})


def _own_words(text: str) -> str:
    """The agent's words in what libvirt says of them."""
    _, quoted, rest = text.partition("error was '")
    return rest.removesuffix("'") if quoted else text.rpartition("QEMU agent command ")[2]
