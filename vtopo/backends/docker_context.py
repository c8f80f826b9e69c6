"""Folders that images are built from: their content as a hash, so that another content is another image."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from vtopo.backends.docker_marks import BUILT
from vtopo.compile.resources import Build, Container, Resource

_MOST = 1 << 30  # bytes that are read of a folder


def sealed(resources: Sequence[Resource], lab: str) -> tuple[Resource, ...]:
    """The resources with the containers' images that are to be built named by what they are built from.

    OSError if a folder cannot be read.
    """
    digests: dict[str, str] = {}

    def seal(r: Resource) -> Resource:
        if not isinstance(r, Container) or r.build is None:
            return r
        context = os.path.realpath(r.build.context)
        if context not in digests:
            digests[context] = _digest(Path(context))
        digest = digests[context]
        tag = hashlib.sha256(f"{lab}\0{digest}".encode()).hexdigest()[:24]
        return dataclasses.replace(
            r, image=f"{BUILT}:{tag}", build=Build(context=context, digest=digest[:16])
        )

    return tuple(map(seal, resources))


def _digest(folder: Path) -> str:
    """A hash over the names, kinds, permissions and contents of all in a folder; links are not followed."""
    if not folder.is_dir():
        raise NotADirectoryError(20, "it is no folder", str(folder))
    total = hashlib.sha256()
    read = 0
    for parent, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted((*files, *folders)):
            path = Path(parent, name)
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                content = os.fsencode(path.readlink())
            elif stat.S_ISREG(status.st_mode):
                read += status.st_size
                if read > _MOST:
                    raise OSError(27, f"more than {_MOST >> 30} GiB to build from", str(folder))
                content = path.read_bytes()
            else:
                content = b""
            entry = f"{path.relative_to(folder)}\0{status.st_mode:o}\0{len(content)}\0".encode(
                errors="surrogateescape"
            )
            total.update(entry + content)
    return total.hexdigest()
