"""What goes on in nodes as resources: files and binds first, then commands and daemons as written, then readiness."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from vtopo.compile import resources as res
from vtopo.digests import sha256
from vtopo.model.lab import Command, Lab, Life, Ready

SUPERVISOR = "lab/supervisor"


def host_names(lab: Lab) -> str:
    """The lines of /etc/hosts that name the lab's nodes: each address with its node's full name and host name."""
    lines = []
    for link in lab.links:
        for end in (link.left, link.right):
            lines += [(end.node, str(address.ip)) for address in end.addresses]
    lines += [(device.node, str(address.ip)) for device in lab.devices for address in device.addresses]
    lines += [(bridge.name, str(address.ip)) for bridge in lab.bridges for address in bridge.addresses]
    nodes = [host.name for host in lab.hosts] + [bridge.name for bridge in lab.bridges]
    order = {name: at for at, name in enumerate(nodes)}
    lines.sort(key=lambda line: order[line[0]])
    return "".join(f"{address} {_names(node)}\n" for node, address in dict.fromkeys(lines))


def _names(node: str) -> str:
    return f"{node} {node.replace('.', '-')}" if "." in node else node


def environment(life: Life | None) -> tuple[str, ...]:
    """The variables of all that runs in a node, as `KEY=value`s."""
    return tuple(f"{key}={value}" for key, value in life.env) if life is not None else ()


class LifeCompiler:
    """The resources of what goes on in the hosts and containers of a lab; `root` is the folder of its relative paths.

    A container's files, binds and environment are its own, and it is itself the first daemon of its node: it is not
    made before what it waits for is over.
    """

    def __init__(self, lab: Lab, scratch: str, root: str | None) -> None:
        self._root = root or ""
        self._lives = {life.node: life for life in lab.lives}
        self._nodes = {host.name: host for host in lab.hosts if host.kind in ("host", "container")}
        self._vms = frozenset(vm.name for vm in lab.vms)
        self._scratch = scratch

    def resources(self, made: Sequence[res.Resource]) -> Iterator[res.Resource]:
        """All of them, in the nodes of a lab of which `made` is all else."""
        lives = [life for life in self._lives.values() if life.node in self._nodes]
        busy = [life.node for life in lives if life.commands or life.ready]
        plugged = [r.node for r in made if isinstance(r, res.Container) and r.netns is not None]
        if first_of_all := next(iter((*busy, *plugged)), None):
            origin = self._nodes[first_of_all].range
            yield res.Supervisor(id=SUPERVISOR, needs=(self._scratch,), origin=origin, watches=bool(plugged))
        before = self._before(made) if lives else {}
        for life in lives:
            files = [] if self._is_container(life.node) else list(self._files(life))
            yield from files
            first = (*before.get(life.node, ()), *(r.id for r in files), *self.awaited(life.node))
            yield from self._processes(life, first)

    def awaited(self, node: str) -> tuple[str, ...]:
        """What is to be over before a node that waits for others begins."""
        life = self._lives.get(node)
        return tuple(self._ends_of(life.after)) if life is not None else ()

    def _before(self, made: Sequence[res.Resource]) -> Mapping[str, Sequence[str]]:
        """The ids of what a node has before anything is started in it, by the node's name.

        A link to a container that waits for the node is not among them: it comes with that container.
        """
        nodes = {self._id(name): name for name in self._nodes}
        waiting = [name for name, life in self._lives.items() if life.after and self._is_container(name)]
        behind = {self._id(name): self._awaited_by(name) for name in waiting}
        later: dict[
            str, set[str]
        ] = {}  # of what comes with waiting containers: the nodes that these wait for
        before: dict[str, list[str]] = {}
        for r in made:
            if behind and (
                nodes_ := set().union(*(later.get(id_, behind.get(id_, ())) for id_ in (r.id, *r.needs)))
            ):
                later[r.id] = nodes_
            for node in dict.fromkeys(nodes[id_] for id_ in _places(r) if id_ in nodes):
                if node not in later.get(r.id, ()):
                    before.setdefault(node, []).append(r.id)
        return before

    def _is_container(self, node: str) -> bool:
        return node in self._nodes and self._nodes[node].kind == "container"

    def _awaited_by(self, node: str) -> set[str]:
        """The nodes that one waits for, and that these wait for."""
        found: set[str] = set()
        queue = [node]
        while queue:
            life = self._lives.get(queue.pop())
            new = set(life.after) - found if life is not None else set()
            found |= new
            queue += new
        return found

    def _id(self, node: str) -> str:
        return f"{node}/{self._nodes[node].kind}"

    def _files(self, life: Life) -> Iterator[res.Resource]:
        host = self._id(life.node)
        for bind in life.binds:
            yield res.Bind(
                id=f"{life.node}/bind{bind.target}",
                needs=(host,),
                within=(host,),
                origin=bind.range,
                host=host,
                node=life.node,
                source=posixpath.normpath(posixpath.join(self._root, bind.source)),
                path=bind.target,
                read_only=bind.read_only,
            )
        for file in life.files:
            yield res.File(
                id=f"{life.node}/file{file.path}",
                needs=(host,),
                within=(host,),
                origin=file.range,
                host=host,
                node=life.node,
                path=file.path,
                content=file.content,
                binary=file.binary,
                mode=file.mode,
                owner=file.owner,
            )

    def _processes(self, life: Life, first: tuple[str, ...]) -> Iterator[res.Resource]:
        host = self._id(life.node)
        env = environment(life) if not self._is_container(life.node) else ()
        for name, command in _named(life.commands):
            id_ = f"{life.node}/{'run' if command.kept else 'exec'}/{name}"
            common = {
                "id": id_,
                "needs": (host, SUPERVISOR),
                "follows": first,
                "within": (host, SUPERVISOR),
                "origin": command.range,
                "host": host,
                "node": life.node,
                "command": command.words,
                "env": env,
            }
            yield res.Run(name=name, **common) if command.kept else res.Exec(**common)  # type: ignore[arg-type]
            first = (id_,)
        for at, ready in enumerate(life.ready):
            yield res.Ready(
                id=ready_id(life.node, at),
                needs=(host, SUPERVISOR),
                follows=first,
                within=(host, SUPERVISOR),
                origin=ready.range,
                host=host,
                node=life.node,
                condition=_condition(ready),
                milliseconds=-(-ready.within // 1000),
                port=ready.port,
                command=ready.command,
                text=ready.text,
                env=env,
            )

    def _ends_of(self, nodes: Sequence[str]) -> Iterator[str]:
        """What is to be over before a node that waits for these begins."""
        for node in nodes:
            life = self._lives.get(node)
            if node in self._nodes:
                yield self._id(node)
            elif node in self._vms:
                yield power_id(node)
            else:
                continue
            if life is None:
                continue
            if life.ready:
                yield from (ready_id(node, at) for at in range(len(life.ready)))
            elif node in self._nodes:
                yield from self._last(life)

    def _last(self, life: Life) -> Iterator[str]:
        """The last command or daemon of a node; of one without, what the nodes do that it waits for."""
        names = [f"{life.node}/{'run' if c.kept else 'exec'}/{name}" for name, c in _named(life.commands)]
        if names:
            yield names[-1]
        else:
            yield from self._ends_of(life.after)


def _named(commands: Sequence[Command]) -> Iterator[tuple[str, Command]]:
    """Each with a name of its own: a daemon's is its program's, as of its log, a command's depends on all its words."""
    seen: dict[str, int] = {}
    for command in commands:
        name = _program(command.words)
        if not command.kept:
            name = f"{name}-{sha256(chr(0).join(command.words).encode()).hexdigest()[:6]}"
        seen[name] = seen.get(name, 0) + 1
        yield (f"{name}-{seen[name]}" if seen[name] > 1 else name), command


def _program(words: tuple[str, ...]) -> str:
    """The name of what a command runs: the first word, of a line for the shell where that is plain to see."""
    text = words[0]
    if words[:2] == ("/bin/sh", "-c") and len(words) == 3:
        parts = words[2].split()
        while parts and ("=" in parts[0] or parts[0] == "exec"):
            parts.pop(0)
        text = parts[0] if parts else "sh"
    name = text.rpartition("/")[2]
    return name if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,40}", name) else "sh"


def ready_id(node: str, at: int) -> str:
    """The id of a node's condition number `at`."""
    return f"{node}/ready" if at == 0 else f"{node}/ready-{at + 1}"


def power_id(node: str) -> str:
    """The id of what lets a VM's guest run."""
    return f"{node}/power"


def _condition(ready: Ready) -> Literal["tcp", "command", "log"]:
    return "tcp" if ready.port is not None else "log" if ready.text is not None else "command"


def _places(r: res.Resource) -> tuple[str, ...]:
    """What a resource is plugged into or set in."""
    return (*r.needs, getattr(r, "netns", None) or "")
