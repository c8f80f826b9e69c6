"""The backend of cgroup and member: the limits of hosts as control groups, on cgroup v1, v2, or both."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

from vtopo.backends import cgroup_devices, cgroup_files, cgroup_paths, cgroup_processes, cgroup_tree
from vtopo.backends.base import BackendError, Done, Failed, Handle, Outcome, Present, Weigh
from vtopo.backends.cgroup_checks import Checks
from vtopo.backends.cgroup_paths import Hierarchy
from vtopo.backends.cgroup_scope import Scope
from vtopo.backends.cgroup_tree import HOST, Tree, inherit_cpuset, is_systemds, read, write
from vtopo.backends.outcomes import failed
from vtopo.compile.resources import Cgroup, Member, Resource

DYING = 5.0  # seconds that what is left in a group may take to die
_Work: TypeAlias = "Callable[[Mapping[Hierarchy, int], Cgroup], None]"
_ROUNDS = 20  # of looking for a host's processes that appeared while others were moved


class CgroupBackend:
    """The control groups of one lab, `vtopo/LAB.lab/NODE.host` in each hierarchy that its limits need.

    A group's name is its mark. Other groups, and what the topmost one has switched on, are never changed. On a
    machine whose v2 tree is systemd's, the lab's part of it is a scope: `system.slice/vtopo-LAB.scope`.
    """

    kinds = frozenset({"cgroup", "member"})
    slow: Mapping[str, Weigh] = MappingProxyType({})

    def __init__(self, lab: str) -> None:
        self.lab = lab
        self._tree: Tree | None = None
        self._scope: Scope | None = None

    @property
    def tree(self) -> Tree:
        """Where the groups are."""
        if self._tree is None:
            self._tree = Tree(self.lab)
        return self._tree

    def close(self) -> None:
        """Let go of the scope."""
        if self._scope:
            self._scope.close()

    # What is there

    def observe(self, recorded: Sequence[Resource], handles: Mapping[str, Handle]) -> Mapping[str, Present]:
        """The groups that exist, with their limits as the kernel has them, and the hosts that are in theirs."""
        there = {h: self.tree.groups(h) for h in self.tree.all}
        found: dict[str, Present] = {}
        with self._bases(self.tree.all, make=False) as bases:
            for r in recorded:
                if isinstance(r, Cgroup) and any(r.node in there[h] for h in self._places(r)):
                    found[r.id] = Present(self._found(bases, r))
                elif isinstance(r, Member) and self._is_in(r, handles.get(r.host), there):
                    found[r.id] = Present(r)
        return found

    def _found(self, bases: Mapping[Hierarchy, int], r: Cgroup) -> Cgroup:
        def get(controller: str, file: str) -> str | None:
            h = self.tree.of(controller)
            return read(f"{r.node}{HOST}/{file}", bases[h]) if h is not None and h in bases else None

        found = cgroup_files.found(self.tree.version, r, get)
        if r.devices is None and not r.device_access:
            return found
        return found if self._devices_hold(bases, r) else _other_devices(found)

    def _devices_hold(self, bases: Mapping[Hierarchy, int], r: Cgroup) -> bool:
        h = self.tree.of("devices")
        if h is None or h not in bases:
            return False
        if h.version == 1:
            return cgroup_devices.v1_holds(r, read(f"{r.node}{HOST}/devices.list", bases[h]) or "")
        try:
            with _opened(f"{r.node}{HOST}", bases[h]) as group:
                return cgroup_devices.v2_holds(group, r)
        except OSError:
            return False

    def _is_in(self, r: Member, handle: Handle | None, there: Mapping[Hierarchy, frozenset[str]]) -> bool:
        """Whether a host's init is in each of the groups that the host has."""
        places = [h for h in self.tree.all if r.node in there[h]]
        if handle is None or handle.pid is None or not places:
            return False
        actual = [(names, path) for names, path in cgroup_paths.groups_of(handle.pid) if path.endswith(HOST)]
        return all(
            any(
                cgroup_paths.matching(h, names)
                and cgroup_paths.folder_of(h, path) == f"{self.tree.base(h)}/{r.node}{HOST}"
                for names, path in actual
            )
            for h in places
        )

    def unable(self, batch: Sequence[Resource]) -> Iterator[Failed]:
        """Each limit that this machine cannot keep, with the reason."""
        if any(isinstance(r, Member) for r in batch):
            self._keep_scope()
        checks = Checks(self.tree)
        for r in batch:
            if isinstance(r, Cgroup):
                for reason in checks.reasons(r):
                    yield Failed(r.id, reason, errno.EOPNOTSUPP)

    # Changes

    def create(self, batch: Sequence[Resource], handles: Mapping[str, Handle]) -> Iterator[Outcome]:
        """Make groups with their limits, or put hosts into theirs."""
        groups = [r for r in batch if isinstance(r, Cgroup)]
        hosts = [r for r in batch if isinstance(r, Member)]
        if groups:
            yield from self._each(groups, self._create)
        if hosts:
            yield from self._put_in(hosts, handles)

    def update(
        self, batch: Sequence[tuple[Resource, Resource]], handles: Mapping[str, Handle]
    ) -> Iterator[Outcome]:
        """Change limits in place."""
        olds = {new.id: old for old, new in batch if isinstance(old, Cgroup)}

        def change(bases: Mapping[Hierarchy, int], new: Cgroup) -> None:
            self._change(bases, olds[new.id], new)

        news = [new for _, new in batch if isinstance(new, Cgroup)]
        yield from self._each(news, change, list(olds.values()))
        for _, new in batch:
            if not isinstance(new, Cgroup):
                yield Failed(new.id, f"a {new.kind} cannot be changed in place", errno.EOPNOTSUPP)

    def delete(self, batch: Sequence[Resource], handles: Mapping[str, Handle]) -> Iterator[Outcome]:
        """Take hosts that stay out of their groups; remove groups, killing what is left in them."""
        there = {h: self.tree.groups(h) for h in self.tree.all}
        for r in batch:
            try:
                for h in self.tree.all:
                    if r.node in there[h]:  # type: ignore[attr-defined]
                        self._leave(h, r)
            except OSError as e:
                yield failed(r, e)
            else:
                yield Done(r.id)
        self._tidy()

    def traces(self) -> Sequence[str]:
        """The lab's groups."""
        return cgroup_tree.traces(self.tree)

    def sweep(self) -> Sequence[str]:
        """Remove every group of the lab, and kill what is in it."""
        found = self.traces()
        stuck = []
        for h in self.tree.all:
            for node in self.tree.groups(h):
                try:
                    cgroup_processes.remove(f"{self.tree.base(h)}/{node}{HOST}", DYING)
                except OSError as e:
                    stuck.append(f"{e.filename}: {e.strerror}")
        self._tidy()
        if stuck:
            raise BackendError(f"lab {self.lab}: these control groups will not go: {', '.join(stuck)}")
        return found

    # Places

    def _places(self, r: Cgroup) -> list[Hierarchy]:
        """The hierarchies in which a host with these limits has a group: CPU time is counted in any case."""
        names = [*sorted(cgroup_files.controllers(r)), "cpuacct"]
        return list(dict.fromkeys(h for name in names if (h := self.tree.of(name))))

    def _scope_of(self, h: Hierarchy) -> Scope:
        if self._scope is None:
            self._scope = Scope(self.lab, self.tree.base(h))
        return self._scope

    def _keep_scope(self) -> None:
        """Hosts may all be made anew, and a scope ends with the last process in it: it is to last until we do."""
        for h in self.tree.all:
            if h.version == 2 and is_systemds():
                with contextlib.suppress(OSError):
                    self._scope_of(h).keep()

    @contextlib.contextmanager
    def _bases(
        self, wanted: Iterable[Hierarchy], make: bool, controllers: Iterable[str] = ()
    ) -> Iterator[Mapping[Hierarchy, int]]:
        """Descriptors of the lab's folders, made if they are to be."""
        opened: dict[Hierarchy, int] = {}
        try:
            for h in dict.fromkeys(wanted):
                if not make:
                    fd = self.tree.open_base(h)
                    if fd is None:
                        continue
                else:
                    if h.version == 2 and is_systemds():
                        self._scope_of(h).make()
                    fd = self.tree.make_base(h, [c for c in controllers if c in h.controllers])
                opened[h] = fd
            yield opened
        finally:
            for fd in opened.values():
                os.close(fd)

    def _tidy(self) -> None:
        """Remove the lab's folders, if no group is left."""
        self.tree.tidy()
        if self._scope and not any(self.tree.groups(h) for h in self.tree.all):
            self._scope.end()

    # One group

    def _each(self, batch: Sequence[Cgroup], work: _Work, before: Sequence[Cgroup] = ()) -> Iterator[Outcome]:
        """Work on each group, with the folders open that these and those `before` have groups in."""
        wanted = [h for r in (*batch, *before) for h in self._places(r)]
        controllers = frozenset(c for r in batch for c in cgroup_files.controllers(r))
        with contextlib.ExitStack() as stack:
            try:
                bases = stack.enter_context(self._bases(wanted, True, controllers))
            except OSError as e:
                yield from (failed(r, e) for r in batch)
                return
            for r in batch:
                try:
                    work(bases, r)
                except OSError as e:
                    stack.callback(self._tidy)
                    yield failed(r, e)
                else:
                    yield Done(r.id)

    def _create(self, bases: Mapping[Hierarchy, int], r: Cgroup) -> None:
        made: list[Hierarchy] = []
        try:
            for h in self._places(r):
                made.append(h)
                self._make_group(bases, h, r)
            self._apply(bases, r, None)
        except OSError:
            for h in made:
                with contextlib.suppress(OSError):
                    os.rmdir(f"{r.node}{HOST}", dir_fd=bases[h])
            raise

    def _make_group(self, bases: Mapping[Hierarchy, int], h: Hierarchy, r: Cgroup) -> None:
        """A fresh group; one of that name is ours, and empty, or somebody runs in it."""
        name = f"{r.node}{HOST}"
        try:
            os.mkdir(name, 0o755, dir_fd=bases[h])
        except FileExistsError:
            os.rmdir(name, dir_fd=bases[h])
            os.mkdir(name, 0o755, dir_fd=bases[h])
        if h.version == 1 and "cpuset" in h.controllers:
            inherit_cpuset(self.tree.base(h), f"{self.tree.base(h)}/{name}")

    def _change(self, bases: Mapping[Hierarchy, int], old: Cgroup, new: Cgroup) -> None:
        """Other limits; if they take groups that there are none of yet, the processes are moved there, too."""
        name = f"{new.node}{HOST}"
        before = [h for h in self.tree.all if os.path.isdir(f"{self.tree.base(h)}/{name}")]  # noqa: PTH112
        added = [h for h in self._places(new) if h not in before]
        for h in added:
            self._make_group(bases, h, new)
        self._apply(bases, new, old)
        for h in added if before else ():
            self._follow(f"{self.tree.base(before[0])}/{name}", f"{self.tree.base(h)}/{name}")

    def _follow(self, leader: str, folder: str) -> None:
        """Have the processes of one group in that of another hierarchy, too."""
        fd = os.open(f"{folder}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
        try:
            for _ in range(_ROUNDS):
                missing = set(cgroup_processes.members(leader)) - set(cgroup_processes.members(folder))
                if not missing:
                    return
                for pid in missing:
                    cgroup_processes.move(pid, fd)
        finally:
            os.close(fd)

    def _apply(self, bases: Mapping[Hierarchy, int], new: Cgroup, old: Cgroup | None) -> None:
        name = f"{new.node}{HOST}"
        for each in cgroup_files.writes(self.tree.version, new, old):
            h = self.tree.of(each.controller)
            if h is None:
                continue
            try:
                if each.file == "cpuset.cpus" and not each.text and h.version == 1:
                    write(f"{name}/{each.file}", read(each.file, bases[h]) or "", bases[h])
                else:
                    write(f"{name}/{each.file}", each.text, bases[h])
            except FileNotFoundError:
                if not each.optional:
                    raise
            except OSError as e:
                # Some kernels let no cpuset with processes be empty on v2 either: all CPUs, then.
                if e.errno != errno.ENOSPC or each.file != "cpuset.cpus" or each.text.strip():
                    raise
                write(f"{name}/{each.file}", read("cpuset.cpus.effective", bases[h]) or "", bases[h])
        was = (old.devices, old.device_access) if old else (None, ())
        if was != (new.devices, new.device_access):
            self._apply_devices(bases, new)

    def _apply_devices(self, bases: Mapping[Hierarchy, int], r: Cgroup) -> None:
        h = self.tree.of("devices")
        if h is None:
            return
        if h.version == 1:
            for file, text in cgroup_devices.v1_writes(r):
                write(f"{r.node}{HOST}/{file}", text, bases[h])
            return
        with _opened(f"{r.node}{HOST}", bases[h]) as group:
            cgroup_devices.v2_attach(group, r)

    # Who is in it

    def _put_in(self, batch: Sequence[Member], handles: Mapping[str, Handle]) -> Iterator[Outcome]:
        """Every process of the hosts, in rounds, until one finds nobody new."""
        inits = {pid: r for r in batch if r.host in handles and (pid := handles[r.host].pid)}
        errors: dict[str, OSError] = {}
        moved: set[int] = set()
        nodes = {pid: r.node for pid, r in inits.items()}
        spaces = cgroup_processes.spaces_of(nodes)
        for _ in range(_ROUNDS):
            found = cgroup_processes.of_hosts(nodes, spaces)
            if not any(pids - moved for pids in found.values()):
                break
            self._move_round(found, moved, errors)
        running = {r.node for pid, r in inits.items() if pid in moved}
        for r in batch:
            if r.node in errors:
                yield failed(r, errors[r.node])
            elif r.node not in running:
                yield Failed(r.id, "the host is not running", errno.ESRCH)
            else:
                yield Done(r.id)

    def _move_round(self, found: Mapping[str, set[int]], moved: set[int], errors: dict[str, OSError]) -> None:
        with self._bases(self.tree.all, make=False) as bases:
            there = {h: self.tree.groups(h) for h in bases}
            for node, pids in found.items():
                try:
                    self._move_in(bases, [h for h in bases if node in there[h]], node, pids - moved)
                except OSError as e:
                    errors[node] = e
                moved |= pids

    def _move_in(
        self, bases: Mapping[Hierarchy, int], places: Sequence[Hierarchy], node: str, pids: Iterable[int]
    ) -> None:
        if not places:
            raise OSError(errno.ENOENT, f"it has no control group; there is none of the name {node}{HOST}")
        for h in places:
            procs = os.open(f"{node}{HOST}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC, dir_fd=bases[h])
            try:
                for pid in pids:
                    cgroup_processes.move(pid, procs)
            finally:
                os.close(procs)

    def _leave(self, h: Hierarchy, r: Resource) -> None:
        """End a group; or take a host that stays out of it, to where its maker is: there a host is without one."""
        folder = f"{self.tree.base(h)}/{r.node}{HOST}"  # type: ignore[attr-defined]
        if isinstance(r, Cgroup):
            cgroup_processes.remove(folder, DYING)
            return
        for names, path in cgroup_paths.groups_of("self"):
            if cgroup_paths.matching(h, names):
                cgroup_processes.move_all(folder, cgroup_paths.folder_of(h, path))


@contextlib.contextmanager
def _opened(group: str, base: int) -> Iterator[int]:
    fd = os.open(group, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=base)
    try:
        yield fd
    finally:
        os.close(fd)


def _other_devices(found: Cgroup) -> Cgroup:
    return dataclasses.replace(found, devices="others", device_access=())
