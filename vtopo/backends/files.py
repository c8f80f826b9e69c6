"""The backend of hosts' files: text and bytes, and binds of the machine's folders."""

# ruff: noqa: PTH116, PTH119

from __future__ import annotations

import base64
import dataclasses
import errno
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from vtopo.backends import inside, rootless
from vtopo.backends.base import Done, Failed, Handle, Outcome, Present, Weigh
from vtopo.backends.binds import attach, change, detach
from vtopo.backends.covered import Notes, put
from vtopo.backends.inside import Root, root_of
from vtopo.backends.outcomes import failed
from vtopo.backends.scratch import DEFAULT_RUN_DIR, Scratch
from vtopo.backends.threads import apart
from vtopo.compile.resources import Bind, File, Resource

MOST = 16 << 20  # bytes of a file that are compared; longer ones differ from what a lab says


class FileBackend:
    """Files in the hosts of one lab."""

    kinds = frozenset({"file", "bind"})
    slow: Mapping[str, Weigh] = MappingProxyType({})

    def __init__(self, lab: str, run_dir: Path = DEFAULT_RUN_DIR) -> None:
        self.lab = lab
        self.scratch = Scratch(lab, run_dir)

    def observe(self, recorded: Sequence[Resource], handles: Mapping[str, Handle]) -> Mapping[str, Present]:
        """What stands in the places of the files and binds."""
        found: dict[str, Present] = {}
        for r in recorded:
            try:
                if isinstance(r, File | Bind):
                    with root_of(handles.get(r.host, Handle())) as root:
                        seen = _file(root, r) if isinstance(r, File) else _bind(root, r)
                    if seen is not None:
                        found[r.id] = Present(seen)
            except OSError:
                continue
        return found

    def unable(self, batch: Sequence[Resource]) -> Iterator[Failed]:
        """Binds of what the machine does not have or this user cannot read, and owners whom they cannot have."""
        yield from rootless.other_owners(batch)
        for r in batch:
            if isinstance(r, Bind):
                try:
                    os.stat(r.source)
                except OSError as e:
                    yield Failed(r.id, f"{r.source} on this machine: {e.strerror}", e.errno or 0)
                    continue
                if not os.access(r.source, os.R_OK):
                    yield Failed(r.id, f"{r.source} on this machine: you may not read it", errno.EACCES)

    def create(self, batch: Sequence[Resource], handles: Mapping[str, Handle]) -> Iterator[Outcome]:
        """Write each file, attach each bind."""
        return self._each(batch, handles, self._write, attach)

    def update(
        self, batch: Sequence[tuple[Resource, Resource]], handles: Mapping[str, Handle]
    ) -> Iterator[Outcome]:
        """Other content, mode or owner; a bind becomes read-only or ceases to be."""
        return self._each([to for _, to in batch], handles, self._write, change)

    def delete(self, batch: Sequence[Resource], handles: Mapping[str, Handle]) -> Iterator[Outcome]:
        """Put back what was there before; in a host that is gone nothing is left to do."""
        for outcome in self._each(batch, handles, self._restore, detach):
            gone = isinstance(outcome, Failed) and outcome.errno == errno.ESRCH
            yield Done(outcome.id) if gone else outcome

    def _each(
        self,
        batch: Sequence[Resource],
        handles: Mapping[str, Handle],
        on_file: Callable[[Root, File], None],
        on_bind: Callable[[Root, Bind, Notes], None],
    ) -> Iterator[Outcome]:
        def act(r: Resource) -> Outcome:
            try:
                assert isinstance(r, File | Bind)
                with root_of(handles.get(r.host, Handle())) as root:
                    if isinstance(r, File):
                        on_file(root, r)
                    else:
                        on_bind(root, r, self._notes(r.node))
            except OSError as e:
                return failed(r, e)
            return Done(r.id)

        if any(isinstance(r, Bind) for r in batch):
            yield from apart(lambda: [act(r) for r in batch])  # it enters the hosts' mount namespaces
        else:
            for r in batch:
                yield act(r)

    def _notes(self, node: str) -> Notes:
        return Notes(self.scratch.host(node) / "covered")

    def _write(self, root: Root, r: File) -> None:
        uid, gid = root.owner(r.owner)
        made: list[str] = []
        with root.parent(r.path, made) as parent:
            root.check_own(parent, r.path)
            self._notes(r.node).keep(r.path, parent, made)
            put(parent, os.path.basename(r.path), iter((_bytes(r),)), r.mode, uid, gid)

    def _restore(self, root: Root, r: File) -> None:
        self._notes(r.node).restore(root, r.path)

    def traces(self) -> Sequence[str]:
        """None of their own: files and binds are in hosts."""
        return ()

    def sweep(self) -> Sequence[str]:
        """Nothing: they go with their hosts."""
        return ()


def _bytes(r: File) -> bytes:
    return base64.b64decode(r.content) if r.binary else r.content.encode()


def _file(root: Root, r: File) -> File | None:
    """What stands in the place of a file; None if that is no regular file."""
    with root.parent(r.path) as parent:
        there = inside.read_regular(parent, os.path.basename(r.path), MOST)
    if there is None:
        return None
    data, status = there
    seen = dataclasses.replace(r, mode=stat.S_IMODE(status.st_mode))
    if data != _bytes(r):
        try:
            seen = dataclasses.replace(seen, content=data.decode(), binary=False)
        except UnicodeDecodeError:
            seen = dataclasses.replace(seen, content=base64.b64encode(data).decode(), binary=True)
    try:
        same = root.owner(r.owner) == (status.st_uid, status.st_gid)
    except OSError:
        same = False
    return seen if same else dataclasses.replace(seen, owner=f"{status.st_uid}:{status.st_gid}")


def _bind(root: Root, r: Bind) -> Bind | None:
    """The bind, if the machine's file or folder is what shows at its path."""
    fd = root.open(r.path, os.O_PATH)
    try:
        there, wanted = os.fstat(fd), os.stat(r.source)
        options = inside.options_of(root.pid, inside.mount_id(fd))
    finally:
        os.close(fd)
    if (there.st_dev, there.st_ino) != (wanted.st_dev, wanted.st_ino) or options is None:
        return None
    return dataclasses.replace(r, read_only="ro" in options)
