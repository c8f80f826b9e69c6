"""Commands in the guests of a running lab, by the way that the lab has into each: ssh if it says so, else the agent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from vtopo.backends import guest_commands
from vtopo.backends.agent import Agent, AgentRefusedError, AgentSilentError
from vtopo.backends.base import BackendError, Handle
from vtopo.backends.guest_ssh import Ssh
from vtopo.backends.hypervisor import Hypervisor, library, words
from vtopo.compile.resources import Domain, Resource
from vtopo.values import dataclass


@dataclass(frozen=True, slots=True)
class Access:
    """The ways into the guests of one lab; `folder` has its disks, `resources` and `handles` are the running lab's."""

    lab: str
    hypervisor: Hypervisor
    folder: Path
    resources: Mapping[str, Resource]
    handles: Mapping[str, Handle]

    def ssh(self, node: str) -> Ssh | None:
        """The way by ssh, if the lab says how one logs in."""
        domain = self._domain(node)
        if domain is None or not domain.ssh.user:
            return None
        return Ssh(self.lab, domain, self.resources, self.handles, self.folder)

    def run(self, node: str, argv: Sequence[str], go_on: Callable[[], bool]) -> tuple[int, str]:
        """Run a command without input; its exit status, and what it printed.

        BackendError says why it cannot be run, GivenUpError that it did not end while `go_on` said yes.
        """
        domain = self._domain(node)
        if domain is None:
            raise BackendError(f"`{node}` is not running; `vtopo up` starts it")
        said: list[bytes] = []

        def write(_: int, data: bytes) -> None:
            said.append(data)

        if (ssh := self.ssh(node)) is not None:
            status = ssh.run(argv, write=write, go_on=go_on)
        else:
            status = self._by_agent(domain, argv, write, go_on)
        return status, b"".join(said).decode(errors="replace")

    def _by_agent(
        self, domain: Domain, argv: Sequence[str], write: guest_commands.Write, go_on: Callable[[], bool]
    ) -> int:
        try:
            agent = Agent(self.hypervisor.connection().lookupByName(domain.name))
            return guest_commands.run(agent, argv, write=write, go_on=go_on)
        except library().libvirtError as e:
            raise BackendError(f"`{domain.node}` is not running: {words(e)}") from e
        except AgentSilentError as e:
            raise BackendError(no_agent(domain.node, str(e))) from e
        except AgentRefusedError as e:
            raise BackendError(f"`{domain.node}`: its guest agent does not run commands: {e}") from e

    def _domain(self, node: str) -> Domain | None:
        found = self.resources.get(f"{node}/domain")
        return found if isinstance(found, Domain) else None


def no_agent(node: str, why: str) -> str:
    """The refusal where commands cannot be run."""
    return (
        f"`{node}` runs no commands, as no guest agent answers in it ({why}): install qemu-guest-agent there, "
        f'log in by `vtopo console {node}`, or say `ssh root key "id_ed25519"` in `vm {node}`'
    )
