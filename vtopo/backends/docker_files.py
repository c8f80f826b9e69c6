"""Files in containers, by the archives that Docker's API takes and gives."""

from __future__ import annotations

import base64
import dataclasses
import io
import tarfile
from collections.abc import Iterable, Mapping
from typing import Any

from vtopo.backends import docker_etc
from vtopo.backends.base import Handle
from vtopo.backends.docker_client import Client
from vtopo.backends.docker_engine import Refused, words
from vtopo.compile.resources import FileIn

_MOST = 16 << 20  # bytes of a file that are compared; longer ones differ from what a lab says


class Files:
    """The files of one container, which need not run."""

    def __init__(self, client: Client, container: str) -> None:
        self._client = client
        self._container = container

    def put(self, files: Iterable[FileIn]) -> None:
        """Write files, with the folders that are missing."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for f in files:
                if docker_etc.is_dockers(f.path):  # a mount that is there only once it runs
                    continue
                data = _bytes(f)
                entry = tarfile.TarInfo(f.path.lstrip("/"))
                entry.size, entry.mode = len(data), f.mode
                entry.uid, entry.gid = self._ids(f.owner)
                tar.addfile(entry, io.BytesIO(data))
        with words():
            self._client.put_archive(self._container, "/", archive.getvalue())

    def put_dockers(self, files: Iterable[FileIn], told: Mapping[str, Any], handle: Handle) -> None:
        """Write those that Docker itself writes at each start of the container, of which it has `told`."""
        places = docker_etc.dockers(told)
        for f in files:
            if f.path in places:
                docker_etc.write(handle, f.path, _bytes(f), f.mode, self._ids(f.owner))

    def seen(self, files: Iterable[FileIn]) -> tuple[FileIn, ...]:
        """What stands in the places of files; where there is no regular file, nothing."""
        return tuple(there for f in files if (there := self._seen(f)) is not None)

    def _seen(self, f: FileIn) -> FileIn | None:
        found = self._get(f.path)
        if found is None:
            return None
        entry, data = found
        there = dataclasses.replace(f, mode=entry.mode & 0o7777)
        if (entry.uid, entry.gid) != self._ids(f.owner):
            there = dataclasses.replace(there, owner=f"{entry.uid}:{entry.gid}")
        if data == _bytes(f):
            return there
        try:
            return dataclasses.replace(there, content=data.decode(), binary=False)
        except UnicodeDecodeError:
            return dataclasses.replace(there, content=base64.b64encode(data).decode(), binary=True)

    def _get(self, path: str) -> tuple[tarfile.TarInfo, bytes] | None:
        """A regular file of the container, as far as it is compared."""
        archive = bytearray()
        try:
            with words():
                parts, _ = self._client.get_archive(self._container, path)
                for part in parts:
                    archive += part
                    if len(archive) > _MOST:
                        return None
        except Refused as e:
            if e.status == 404:
                return None
            raise
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            entry = tar.next()
            taken = tar.extractfile(entry) if entry is not None and entry.isreg() else None
            return (entry, taken.read()) if entry is not None and taken is not None else None

    def _ids(self, owner: str) -> tuple[int, int]:
        """The numbers of `user` or `user:group`; a user's own group if none is said."""
        user, _, group = owner.partition(":")
        uid, own = (int(user), 0) if user.isdecimal() else self._look_up("passwd", user)
        if not group:
            return uid, own
        return uid, int(group) if group.isdecimal() else self._look_up("group", group)[0]

    def _look_up(self, table: str, name: str) -> tuple[int, int]:
        if name == "root":
            return 0, 0
        found = self._get(f"/etc/{table}")
        for line in found[1].decode(errors="replace").splitlines() if found else ():
            fields = line.split(":")
            if fields[0] == name and len(fields) > 3:
                return int(fields[2]), int(fields[3]) if fields[3].isdecimal() else 0
        raise Refused(f"the container's /etc/{table} has no {name}", 0)


def _bytes(f: FileIn) -> bytes:
    return base64.b64decode(f.content) if f.binary else f.content.encode()
