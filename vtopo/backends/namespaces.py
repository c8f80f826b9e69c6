"""The backend of scratch, netns and host: namespaces made by clone, found by name and by mark, gone at once."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import time
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from types import MappingProxyType

from vtopo.backends import cgroup_processes, folders, host_checks, marks, membership, names, processes
from vtopo.backends.base import BackendError, Call, Done, Failed, Handle, Outcome, Present, Watch, Weigh
from vtopo.backends.loopback import loopback_up
from vtopo.backends.marks import Marked, Role, labs_by_marks
from vtopo.backends.scratch import DEFAULT_RUN_DIR, Scratch, of_lab
from vtopo.backends.syscalls import CLONE_NEWNET, raise_fd_limit, umount, unshare
from vtopo.backends.threads import apart
from vtopo.backends.zygotes import Born, Order, Stillborn, Zygotes
from vtopo.compile import resources
from vtopo.compile.resources import Host, Netns, Resource

__all__ = ["NamespaceBackend", "labs_by_marks"]

DYING = 10.0  # seconds that hosts may take to die


class NamespaceBackend:
    """Hosts and the fabric of one lab. Without `zygotes`, a batch of hosts starts its own.

    In one that is `ending`, what hosts have written is left to the tmpfs, which goes next: to throw a thousand layers
    away one by one, while the kernel takes the hosts apart, would take a quarter of a second.
    """

    kinds = frozenset({"scratch", "netns", "host"})
    slow: Mapping[str, Weigh] = MappingProxyType({})

    def __init__(
        self,
        lab: str,
        run_dir: Path = DEFAULT_RUN_DIR,
        zygotes: Zygotes | None = None,
        watch: Watch | None = None,
        ending: bool = False,
    ) -> None:
        self.lab = lab
        self._ending = ending
        self._calls = watch.calls if watch else None
        self.scratch = Scratch(lab, run_dir)
        self.zygotes = zygotes
        raise_fd_limit()

    def observe(self, recorded: Sequence[Resource], handles: Mapping[str, Handle]) -> Mapping[str, Present]:
        """What is there: a scratch by its mount, a netns by its name, a host by its init.

        A host or netns without a handle (its maker was killed) is found by its marks. A host whose name
        is unbound shows as one with another name.
        """
        found: dict[str, Present] = {}
        lost: list[Host] = []
        for r in recorded:
            handle = handles.get(r.id)
            if isinstance(r, resources.Scratch) and self.scratch.is_mounted():
                whose = self.scratch.resolvers(r.resolvers)
                found[r.id] = Present(dataclasses.replace(r, names=self.scratch.names(), resolvers=whose))
            elif isinstance(r, Netns):
                inode = names.inode(r.name)
                if inode is not None and (handle is None or handle.inode in (None, inode)):
                    found[r.id] = Present(r, Handle(inode=inode))
            elif isinstance(r, Host):
                if handle is None or handle.pid is None:
                    lost.append(r)
                elif (state := processes.state(handle)) is not None:
                    found[r.id] = _seen(r, handle, state)
        if lost:
            hosts = self._by_marks()
            for r in lost:
                if r.node in hosts and (state := processes.state(init := hosts[r.node][0])) is not None:
                    found[r.id] = _seen(r, init, state)
        return found

    def _tell(self, id: str, text: str, error: str = "") -> None:
        """Let whoever watches know of what is done for a step."""
        if self._calls is not None:
            self._calls.put(Call(id, text, error))

    def _by_marks(self) -> dict[str, list[Handle]]:
        hosts: dict[str, list[Handle]] = {}
        for p in marks.processes():
            if p.lab == self.lab and p.role is Role.HOST:
                hosts.setdefault(p.node, []).append(p.handle)
        return hosts

    def unable(self, batch: Sequence[Resource]) -> Iterator[Failed]:
        """Hosts with namespaces, ids or a root that this machine does not have."""
        return host_checks.unable(batch)

    def create(self, batch: Sequence[Resource], handles: Mapping[str, Handle]) -> Iterator[Outcome]:
        """Make each resource of one kind."""
        hosts = [r for r in batch if isinstance(r, Host)]
        netns = [r for r in batch if isinstance(r, Netns)]
        for r in batch:
            if isinstance(r, resources.Scratch):
                self._tell(r.id, f"mount -t tmpfs {self.scratch.mark} {self.scratch.path}")
                yield self._make_scratch(r)
        if netns:
            yield from self._create_netns(netns)
        if hosts:
            yield from self._create_hosts(hosts)

    def _make_scratch(self, r: resources.Scratch) -> Outcome:
        try:
            self.scratch.create()
            self.scratch.tell_names(r.names)
            self.scratch.tell_resolvers(r.resolvers)
        except OSError as e:
            return Failed(r.id, f"create of the scratch {self.scratch.path}: {_words(e)}", e.errno or 0)
        return Done(r.id)

    def _create_netns(self, batch: Sequence[Netns]) -> Iterator[Outcome]:
        opened: dict[str, int] = {}
        try:
            for r in batch:
                self._tell(r.id, "unshare(CLONE_NEWNET)")
                try:
                    opened[r.name] = apart(_new_netns)
                except OSError as e:
                    yield Failed(r.id, _words(e), e.errno or 0)
                self._tell(r.id, f"mount --bind /proc/self/fd/{opened[r.name]} {names.path(r.name)}")
            failed = _bind({name: f"/proc/self/fd/{fd}" for name, fd in opened.items()})
            inodes = {name: os.fstat(fd).st_ino for name, fd in opened.items()}
        finally:
            for fd in opened.values():
                os.close(fd)
        for r in batch:
            if r.name in failed:
                yield _unnamed(r.id, r.name, failed[r.name])
            elif r.name in inodes:
                yield Done(r.id, Handle(inode=inodes[r.name]))

    def _create_hosts(self, batch: Sequence[Host]) -> Iterator[Outcome]:
        if not self.scratch.is_mounted():
            for r in batch:
                yield Failed(r.id, f"there is no scratch at {self.scratch.path}", errno.ENOENT)
            return
        self.scratch.drop_layers(r.node for r in batch)
        by_id = {r.id: r for r in batch}
        born: dict[str, Handle] = {}
        stillborn: list[Stillborn] = []
        with contextlib.ExitStack() as stack:
            zygotes = self.zygotes or stack.enter_context(Zygotes(self.lab))
            groups = cgroup_processes.ways(self.lab)
            for outcome in zygotes.make(self.scratch.path, [_order(r) for r in batch], groups):
                cloned = f"unshare({_flags(by_id[outcome.id])})"
                if isinstance(outcome, Born):
                    born[outcome.id] = outcome.handle
                    self._tell(outcome.id, f"{cloned}, its init is {outcome.handle.pid}")
                else:
                    self._tell(outcome.id, cloned, outcome.reason)
                    stillborn.append(outcome)
        if stillborn:
            self._clear({by_id[outcome.id].node for outcome in stillborn})
            yield from (Failed(outcome.id, outcome.reason, outcome.errno) for outcome in stillborn)
        # One that had lost its name is made anew by an undo as it was.
        named = {i: handle for i, handle in born.items() if by_id[i].has_net and by_id[i].name}
        failed = _bind({by_id[i].name: f"/proc/{handle.pid}/ns/net" for i, handle in named.items()})
        yield from (Done(i, handle) for i, handle in born.items() if i not in named)
        for i, handle in named.items():
            name = by_id[i].name
            self._tell(i, f"mount --bind /proc/{handle.pid}/ns/net {names.path(name)}")
            if name in failed:
                list(self._kill([handle]))
                self.scratch.drop_layers({by_id[i].node})
                yield _unnamed(i, name, failed[name])
            else:
                yield Done(i, handle)

    def _clear(self, nodes: Set[str]) -> None:
        """End what a zygote that was lost had made of hosts."""
        hosts = self._by_marks()
        list(self._kill([handle for node in nodes for handle in hosts.get(node, ())]))
        self.scratch.drop_layers(nodes)

    def update(
        self, batch: Sequence[tuple[Resource, Resource]], handles: Mapping[str, Handle]
    ) -> Iterator[Outcome]:
        """Bind a host's network namespace to its name again, have one go on; a scratch gets other names."""
        hosts = {to.id: (old, to) for old, to in batch if isinstance(old, Host) and isinstance(to, Host)}
        renamed = {i: (old, to) for i, (old, to) in hosts.items() if old.name != to.name}
        for i, (was, host) in hosts.items():
            if was.paused != host.paused and i in handles:
                self._tell(i, f"kill -{'STOP' if host.paused else 'CONT'} all processes of {host.node}")
                membership.pause(handles[i], paused=host.paused)
            if i in handles and i not in renamed:
                yield Done(i, handles[i])
        names_ = [old.name for old, to in renamed.values() if old.name not in ("", to.name)]
        if names_:
            list(names.drop(names_))
        pids = {i: handles[i].pid for i in renamed if i in handles}
        failed = _bind(
            {to.name: f"/proc/{pids[i]}/ns/net" for i, (_, to) in renamed.items() if i in pids and to.name}
        )
        for i, (_, host) in renamed.items():
            if i in pids and host.name:
                self._tell(i, f"mount --bind /proc/{pids[i]}/ns/net {names.path(host.name)}")
            if i not in pids:
                yield Failed(i, "the host is not running", errno.ESRCH)
            elif host.name in failed:
                yield _unnamed(i, host.name, failed[host.name])
            else:
                yield Done(i, handles[i])
        for _, to in batch:
            if isinstance(to, resources.Scratch):
                yield self._make_scratch(to)
            elif to.id not in hosts:
                yield Failed(to.id, f"a {to.kind} cannot be changed in place", errno.EOPNOTSUPP)

    def delete(self, batch: Sequence[Resource], handles: Mapping[str, Handle]) -> Iterator[Outcome]:
        """Kill hosts, take names away, unmount the scratch; a host is done when its init has ended."""
        hosts = [r for r in batch if isinstance(r, Host)]
        netns = {r.name: r for r in batch if isinstance(r, Netns)}
        if hosts:
            yield from self._delete_hosts(hosts, handles)
        if netns:
            for name, error in names.drop(list(netns)):
                self._tell(netns[name].id, f"umount {names.path(name)}", _words(error) if error else "")
                yield _deleted(netns[name].id, error)
        for r in batch:
            if isinstance(r, resources.Scratch):
                self._tell(r.id, f"umount {self.scratch.path}")
                try:
                    self.scratch.delete()
                    yield Done(r.id)
                except OSError as e:
                    yield _deleted(r.id, e)

    def _delete_hosts(self, batch: Sequence[Host], handles: Mapping[str, Handle]) -> Iterator[Outcome]:
        known = {r.id: [handles[r.id]] for r in batch if r.id in handles and handles[r.id].pid is not None}
        if len(known) < len(batch):
            hosts = self._by_marks()
            known.update({r.id: hosts.get(r.node, []) for r in batch if r.id not in known})
        victims = [handle for i in known for handle in known[i]]
        for r in batch:
            if "pid" not in r.namespaces:  # nothing ends with its init
                victims += [one for init in known[r.id] for one in membership.processes(init.pid or 0)]
        # Names first: while the kernel takes a thousand namespaces apart, every umount takes five times as long.
        errors = _drop([r.name for r in batch if r.name])
        for i, handles_ in known.items():
            for handle in handles_:
                self._tell(i, f"kill -KILL {handle.pid}")
        waiting = processes.kill(victims)
        try:
            alive = set(waiting.values())
            for handle in processes.wait(waiting, DYING):
                alive.discard(handle)
        finally:
            processes.close_all(waiting)
        if not self._ending:
            self.scratch.drop_layers(r.node for r in batch)
        for r in batch:
            if r.name:
                self._tell(r.id, f"umount {names.path(r.name)}")
            if stuck := [handle for handle in known[r.id] if handle in alive]:
                reason = f"its init, pid {stuck[0].pid}, did not die of SIGKILL within {DYING:.0f} s"
                yield Failed(r.id, reason, errno.ETIMEDOUT)
            else:
                yield _deleted(r.id, errors.get(r.name))

    def _kill(self, handles: Sequence[Handle]) -> Iterator[Handle]:
        waiting = processes.kill(handles)
        try:
            yield from processes.wait(waiting, DYING)
        finally:
            processes.close_all(waiting)

    def traces(self) -> Sequence[str]:
        """The lab's hosts, names and mounts, by their marks."""
        hosts = [f"host {p.node}" for p in self._marked() if p.role is Role.HOST]
        named = [f"name {name}" for name in names.of_lab(self.lab) if names.inode(name) is not None]
        return [*hosts, *named, *(f"tmpfs {path}" for path in of_lab(self.lab))]

    def _marked(self) -> list[Marked]:
        own = self.zygotes.pids if self.zygotes else frozenset()
        mine = (p for p in marks.processes(self.lab) if p.role is not Role.SUPERVISOR)
        return [p for p in mine if p.handle.pid not in own]

    def sweep(self) -> Sequence[str]:
        """Remove every process, name and mount with this lab's marks until none is found; else a BackendError."""
        removed: list[str] = []
        end = time.monotonic() + 2 * DYING
        try:
            while found := self._sweep_once():
                removed += found
                if time.monotonic() > end:
                    raise BackendError(
                        f"lab {self.lab}: this keeps coming back or will not go: {', '.join(found)}"
                    )
            folders.remove(self.scratch.path)
            names.tidy()
        except OSError as e:
            raise BackendError(f"lab {self.lab}: {_words(e)}; `vtopo down {self.lab}` tries again") from e
        return removed

    def _sweep_once(self) -> list[str]:
        # Zygotes first: a dead one makes no more hosts.
        victims = sorted(self._marked(), key=lambda p: p.role is not Role.ZYGOTE)
        inits = [p.handle.pid or 0 for p in victims if p.role is Role.HOST]
        others = [one for pid in inits if not membership.is_first(pid) for one in membership.processes(pid)]
        list(self._kill([*(p.handle for p in victims), *others]))
        removed = [f"{p.role.value} {p.node or p.handle.pid}" for p in victims]
        for name, error in names.drop(names.of_lab(self.lab)):
            removed.append(f"name {name}" if error is None else f"name {name} ({_words(error)})")
        for path in of_lab(self.lab):
            with contextlib.suppress(OSError):
                umount(path)
            folders.remove(Path(path))
            removed.append(f"tmpfs {path}")
        return removed


def _new_netns() -> int:
    """A descriptor of a new network namespace; called in a thread that ends in it.

    New interfaces there get no IPv6 address by themselves: a switch's ports do not speak. Taking away an
    interface's first address leaves the others of its subnet.
    """
    unshare(CLONE_NEWNET)
    loopback_up()
    Path("/proc/sys/net/ipv4/conf/all/promote_secondaries").write_bytes(b"1")
    with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
        Path("/proc/sys/net/ipv6/conf/default/addr_gen_mode").write_bytes(b"1")  # IN6_ADDR_GEN_MODE_NONE
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _order(r: Host) -> Order:
    uids, gids = ("\n".join(map(str, maps)) for maps in (r.uids, r.gids))
    return Order(r.id, r.node, r.hostname, r.namespaces, uids, gids, r.rootfs or "")


def _flags(r: Host) -> str:
    """What is asked of unshare(2), in its words."""
    return "|".join(f"CLONE_NEW{ {'mnt': 'NS'}.get(kind, kind.upper()) }" for kind in r.namespaces)


def _bind(namespaces: Mapping[str, str]) -> dict[str, OSError]:
    try:
        return names.bind(namespaces)
    except OSError as e:
        return dict.fromkeys(namespaces, e)


def _drop(names_: Sequence[str]) -> dict[str, OSError | None]:
    try:
        return dict(names.drop(list(names_)))
    except OSError as e:
        return dict.fromkeys(names_, e)


def _seen(r: Host, handle: Handle, state: str) -> Present:
    """A host as it is; by its init's state (proc_pid_stat(5)) it is seen to be paused."""
    bound = not r.has_net or names.inode(r.name) == handle.inode
    paused = state == "T"
    if bound and paused == r.paused:
        return Present(r, handle)
    return Present(dataclasses.replace(r, name=r.name if bound else "", paused=paused), handle)


def _unnamed(id: str, name: str, error: OSError) -> Failed:
    return Failed(id, f"binding of {names.path(name)}: {_words(error)}", error.errno or 0)


def _deleted(id: str, error: OSError | None) -> Outcome:
    return Done(id) if error is None else Failed(id, _words(error), error.errno or 0)


def _words(error: OSError) -> str:
    where = f" ({error.filename})" if error.filename else ""
    return f"{error.strerror}{where}"
