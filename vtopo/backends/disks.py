"""The backend of disk and seed: copy-on-write images over bases that are never written, and cloud-init's images."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from vtopo.backends import diskfolder, images
from vtopo.backends.base import BackendError, Done, Failed, Handle, Outcome, Present, Weigh, Weight
from vtopo.backends.diskfolder import DiskFolder
from vtopo.backends.hypervisor import Hypervisor
from vtopo.backends.images import Image, ImageError
from vtopo.compile.resources import Disk, Resource, Seed


class DiskBackend:
    """The files of one lab's VMs."""

    kinds = frozenset({"disk", "seed"})
    slow: Mapping[str, Weigh] = MappingProxyType({"disk": lambda r: Weight(0.5)})

    def __init__(self, lab: str, hypervisor: Hypervisor, folder: Path | None = None) -> None:
        self.lab = lab
        self.folder = DiskFolder(lab, folder)
        self._hypervisor = hypervisor
        self._images: dict[str, Image] = {}

    def observe(self, recorded: Sequence[Resource], handles: Mapping[str, Handle]) -> Mapping[str, Present]:
        """A disk or seed is there if its file is."""
        found: dict[str, Present] = {}
        for r in recorded:
            if isinstance(r, Seed) and self.folder.file(r.file).is_file():
                found[r.id] = Present(r)
            elif isinstance(r, Disk) and (path := self.folder.file(r.file)).is_file():
                keep = diskfolder.kept(path)
                found[r.id] = Present(r if keep == r.keep else dataclasses.replace(r, keep=keep))
        return found

    def unable(self, batch: Sequence[Resource]) -> Iterator[Failed]:
        """Disks whose base is missing, written to by somebody, or out of QEMU's reach."""
        for r in batch:
            try:
                if isinstance(r, Disk) and r.base is not None:
                    image = self._look(r.base)
                    if reason := images.unreadable(r.base, self._hypervisor.owner()):
                        raise ImageError(reason)
                    if r.size is not None and r.size < image.size:
                        raise ImageError(f"{r.base} holds a disk of {image.size} bytes, more than {r.size}")
                elif isinstance(r, Seed):
                    _pycdlib()
            except (ImageError, BackendError) as e:
                yield Failed(r.id, str(e))

    def _look(self, base: str) -> Image:
        if base not in self._images:
            self._images[base] = images.look(base)
        return self._images[base]

    def create(self, batch: Sequence[Resource], handles: Mapping[str, Handle]) -> Iterator[Outcome]:
        """Write the files."""
        yield from _each(batch, self._create)

    def _create(self, r: Resource) -> None:
        self.folder.make()
        if isinstance(r, Seed):
            self._write_seed(r)
        elif isinstance(r, Disk):
            self._create_disk(r)

    def _create_disk(self, r: Disk) -> None:
        path = self.folder.file(r.file)
        if path.is_file() and diskfolder.kept(path):
            if (base := images.base_of(str(path))) != r.base:
                raise ImageError(
                    f"{path}, kept from an earlier lab, stands over {base}: remove it, or use that image"
                )
        else:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            format = self._look(r.base).format if r.base else ""
            images.make(str(path), r.base, format, r.size)
            self._give(path)
        diskfolder.keep(path, r.keep)

    def _write_seed(self, r: Seed) -> None:
        path = self.folder.file(r.file)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            file.write(seed_image(r))
        self._give(path)

    def _give(self, path: Path) -> None:
        """To the user that QEMU runs as, and nobody else."""
        path.chmod(0o600)
        if owner := self._hypervisor.owner():
            uid, gid = (int(part) for part in owner.replace("+", "").split(":"))
            os.chown(path, uid, gid, follow_symlinks=False)

    def update(
        self, batch: Sequence[tuple[Resource, Resource]], handles: Mapping[str, Handle]
    ) -> Iterator[Outcome]:
        """Whether a disk is kept."""
        yield from _each([new for _, new in batch], self._update)

    def _update(self, r: Resource) -> None:
        if not isinstance(r, Disk):
            raise OSError(errno.EOPNOTSUPP, f"a {r.kind} cannot be changed in place")
        diskfolder.keep(self.folder.file(r.file), r.keep)

    def delete(self, batch: Sequence[Resource], handles: Mapping[str, Handle]) -> Iterator[Outcome]:
        """Remove the files; a disk that is kept stays."""
        yield from _each(batch, self._delete)

    def _delete(self, r: Resource) -> None:
        if isinstance(r, Disk | Seed):
            self.folder.remove(r.file)

    def traces(self) -> Sequence[str]:
        """The files that are not kept."""
        return self.folder.traces()

    def sweep(self) -> Sequence[str]:
        """Remove the files that are not kept, in a folder that vtopo made."""
        return [f"file {self.folder.file(name)}" for name in self.folder.names() if self.folder.remove(name)]


def _each(batch: Sequence[Resource], work: Callable[[Resource], None]) -> Iterator[Outcome]:
    """The outcome of `work` on each resource."""
    return (_outcome(work, r) for r in batch)


def _outcome(work: Callable[[Resource], None], r: Resource) -> Outcome:
    try:
        work(r)
    except (ImageError, BackendError) as e:
        return Failed(r.id, str(e))
    except OSError as e:
        where = f" ({e.filename})" if e.filename else ""
        return Failed(r.id, f"{e.strerror}{where}", e.errno or 0)
    return Done(r.id)


def _pycdlib() -> type:
    try:
        from pycdlib import PyCdlib
    except ImportError as e:
        raise BackendError(
            "a VM with a `cloud-init` block needs the Python package pycdlib: pip install 'vtopo[libvirt]'"
        ) from e
    found: type = PyCdlib
    return found


def seed_image(r: Seed) -> bytes:
    """An ISO 9660 image that cloud-init takes for its NoCloud source (label `cidata`; long names by Rock Ridge)."""
    iso = _pycdlib()()
    iso.new(interchange_level=3, vol_ident="cidata", joliet=3, rock_ridge="1.09")
    texts = {"user-data": r.user_data, "meta-data": r.meta_data, "network-config": r.network_config}
    for number, (name, text) in enumerate(sorted(texts.items())):
        raw = text.encode()
        iso.add_fp(io.BytesIO(raw), len(raw), f"/FILE{number}.;1", rr_name=name, joliet_path=f"/{name}")
    out = io.BytesIO()
    iso.write_fp(out)
    iso.close()
    return out.getvalue()
