"""Finds the nodes of running labs for the commands that enter them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING

from vtopo.cli.errors import Failure
from vtopo.cli.words import natural
from vtopo.cli.world import choose_lab, recorded_labs, running_labs, state_dir
from vtopo.lang.suggest import did_you_mean
from vtopo.model.kinds import ENTERED
from vtopo.state.glance import environment
from vtopo.state.store import Store
from vtopo.values import dataclass

if TYPE_CHECKING:
    from vtopo.backends.base import Handle
    from vtopo.backends.guest_ssh import Ssh
    from vtopo.compile.resources import Domain


@dataclass(frozen=True, slots=True)
class RunningNode:
    """A host, container or VM that runs: which lab's, and how it is found."""

    lab: str
    node: str
    handle: Handle
    kind: str = "host"
    env: Mapping[str, str] = field(default_factory=dict)

    def run(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> int:
        """Run a command in it with this process' terminal; the command's exit status. BackendError if it is down."""
        if self.kind == "container":
            from vtopo.backends.docker_exec import run_in_container
            from vtopo.backends.docker_marks import container_name

            return run_in_container(container_name(self.lab, self.node), argv, env)
        if self.kind == "domain":
            return self._run_in_guest(argv, env)
        from vtopo.backends.enter import run_in_host

        return run_in_host(self.handle, argv, {**self.env, **(env or {})})

    def _run_in_guest(self, argv: Sequence[str], env: Mapping[str, str] | None) -> int:
        """By ssh if the lab says how, else by the guest's agent."""
        from vtopo.backends.guest_session import run_in_guest
        from vtopo.cli.world import hypervisor_of
        from vtopo.compile.domain_names import domain_name

        if (ssh := self.ssh()) is not None:
            return ssh.session(argv, [f"{key}={value}" for key, value in (env or {}).items()])
        hypervisor = hypervisor_of(self.lab)
        return run_in_guest(hypervisor, domain_name(self.lab, self.node), self.node, argv, env)

    def ssh(self) -> Ssh | None:
        """The way into a VM whose lab says how one logs in there; BackendError if it does not run."""
        from vtopo.cli.world import access_of

        with Store.open(state_dir(), self.lab) as store:
            records = store.load()
        return access_of(self.lab, records).ssh(self.node)

    def shell(self) -> str:
        """The shell that a user is given: their own, if the host has it, else bash or sh."""
        if self.kind == "host":
            from vtopo.backends.inside import programs

            for path in programs(self.handle, (os.environ.get("SHELL", ""), "/bin/bash", "/usr/bin/bash")):
                return path
        return "/bin/sh"


def find_node(node: str, lab: str | None) -> RunningNode:
    """The running host, container or VM `node`, of `lab` or of the only lab that has it."""
    state = state_dir()
    if lab is not None:
        chosen = choose_lab(state, lab)
        labs = [chosen] if chosen is not None else []
    else:
        labs = running_labs(state)
    found: list[RunningNode] = []
    for name in labs:
        try:
            with Store.open(state, name) as store:
                handles = {kind: _handle_of(store, f"{node}/{kind}") for kind in ENTERED}
                env = environment(store.spec_of(f"{node}/host"))
        except FileNotFoundError:
            continue
        found += [RunningNode(name, node, h, kind, env) for kind, h in handles.items() if h is not None]
    if len(found) == 1:
        return found[0]
    if found:
        raise Failure(f"several labs have `{node}`; say which with --lab {'|'.join(r.lab for r in found)}")
    raise Failure(_not_found(node, labs))


def _handle_of(store: Store, id_: str) -> Handle | None:
    """A handle, empty for a VM, which is found by its name; None if it is not recorded."""
    from vtopo.backends.base import Handle

    return Handle() if id_.endswith("/domain") and store.has(id_) else store.handle_of(id_)


def running_vm(node: str, lab: str | None) -> tuple[Domain, str]:
    """The VM `node` of `lab`, or of the only lab that has it, and that lab's name."""
    from vtopo.compile.resources import Domain

    state = state_dir()
    chosen = choose_lab(state, lab) if lab is not None else None
    found: list[tuple[Domain, str]] = []
    names: list[str] = []
    for name in [chosen] if chosen is not None else recorded_labs(state):
        with contextlib.suppress(FileNotFoundError), Store.open(state, name) as store:
            domains = [r for r in store.load().resources.values() if isinstance(r, Domain)]
            names += [domain.node for domain in domains]
            found += [(domain, name) for domain in domains if domain.node == node]
    if len(found) == 1:
        return found[0]
    if found:
        raise Failure(f"several labs have `{node}`; say which with --lab {'|'.join(of for _, of in found)}")
    otherwise = some(names) if names else "no VM is running"
    raise Failure(f"no VM `{node}`; {did_you_mean(node, names, otherwise)}")


def running_nodes(lab: str | None) -> list[tuple[str, str]]:
    """The hosts, containers and VMs that run, each behind its lab: of `lab`, or of all that are recorded."""
    state = state_dir()
    found: list[tuple[str, str]] = []
    for name in [lab] if lab is not None else recorded_labs(state):
        with contextlib.suppress(FileNotFoundError), Store.open(state, name) as store:
            found += [(name, node) for node in _nodes(store.load().resources)]
    return found


def _not_found(node: str, labs: Sequence[str]) -> str:
    if not labs:
        return "no lab is running; `vtopo up FILE` starts one"
    from vtopo.compile.resources import Veth

    state = state_dir()
    nodes: list[str] = []
    recorded = False
    for name in labs:
        try:
            with Store.open(state, name) as store:
                ids = store.load().resources
        except FileNotFoundError:
            continue
        recorded = True
        cables = {r.stands_for for r in ids.values() if isinstance(r, Veth)}
        if f"{node}/bridge" in ids or node in cables:
            return f"`{node}` is a bridge; only hosts, containers and VMs run commands"
        nodes += _nodes(ids)
    if not recorded:
        return f"{labs[0]} has no records here, only its marks; `vtopo down --orphans` takes it away"
    where = f"lab `{labs[0]}`" if len(labs) == 1 else f"{', '.join(labs)}"
    return f"no node `{node}` in {where}; {did_you_mean(node, nodes, some(nodes))}"


def _nodes(ids: Iterable[str]) -> list[str]:
    parts = (id_.rpartition("/") for id_ in ids)
    return [node for node, _, kind in parts if kind in ENTERED]


def some(nodes: Collection[str]) -> str:
    """The first of a lab's nodes, in words."""
    shown = ", ".join(sorted(nodes, key=natural)[:6])
    return f"it has {shown}{' …' if len(nodes) > 6 else ''}"
