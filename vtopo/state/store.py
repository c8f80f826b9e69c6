"""The records of one lab: what exists or may exist, written to SQLite before the world is changed."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from vtopo.backends import rootless
from vtopo.backends.base import Handle
from vtopo.compile.resources import KINDS, Resource
from vtopo.state.folder import (
    SWEEP_HINT,
    StateDamaged,
    StateDir,
    StateError,
    make_file,
    state_error,
)
from vtopo.state.glance import APPLICATION, FORMAT
from vtopo.state.spec import from_text, to_text
from vtopo.values import dataclass

_LEAST_ROOM = 1 << 16  # bytes that a write-ahead log and its index need at least
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE resource (
  id TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  spec TEXT NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('intent', 'done', 'leaving')),
  pid INTEGER, start INTEGER, inode INTEGER,
  run INTEGER NOT NULL
) WITHOUT ROWID;
"""
NOTHING = "nothing"
"""The stamp of no records."""
_SELECT = "SELECT id, kind, spec, status, pid, start, inode FROM resource ORDER BY id"


@dataclass(frozen=True, slots=True)
class Meta:
    """About the lab itself: `created` is in seconds since the epoch, `boot` the kernel's boot id.

    `libvirt` is the URI of the libvirt that has its VMs.
    """

    lab: str
    source: str
    created: int
    boot: str
    libvirt: str = ""


@dataclass(frozen=True, slots=True)
class Records:
    """What is recorded: resources by id, the handles of those that have one, and which are `unfinished`.

    Unfinished ones were being made or removed when a run was killed: they may exist, whole or in part.
    """

    resources: Mapping[str, Resource] = field(default_factory=dict)
    handles: Mapping[str, Handle] = field(default_factory=dict)
    unfinished: frozenset[str] = frozenset()


def boot_id() -> str:
    """The kernel's name for this boot (random(4)), without root the keeper's, too: what an earlier one made is gone."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{keeper}" if (keeper := rootless.token()) else boot


class Store:
    """One lab's records. Writing needs the lab's lock; each method is one transaction.

    `intend` and `leaving` come before resources are made and removed, `changed` and `settle` after. A run
    that is killed in between leaves rows that say "may exist".
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, meta: Meta) -> None:
        self._db = connection
        self._texts: dict[str, tuple[Resource, str]] = {}
        self.path = path
        self.meta = meta
        self._run = 0

    @classmethod
    def open(cls, state: StateDir, lab: str, source: str | None = None) -> Store:
        """The lab's records; made with the lab file `source` if there are none.

        FileNotFoundError without records and `source`; StateDamaged if they make no sense.
        """
        path = state.folder(lab) / "state.db"
        create = source is not None
        try:
            with state.opened(lab, create=create) as folder:
                if not create:
                    path.stat()
                fresh = not path.exists()
                make_file(folder, path.name, path)
        except FileNotFoundError:
            raise
        except OSError as e:
            raise state_error(e, path) from e
        with _explained(path):
            connection = sqlite3.connect(path, isolation_level=None, timeout=5)
            try:
                if not _is_ours(connection, path):
                    if source is None:
                        raise FileNotFoundError(path)
                    _initialise(connection, Meta(lab, source, int(time.time()), boot_id()))
                # A power cut ends the boot and with it all that is recorded, so no write waits for the disk.
                connection.execute("PRAGMA synchronous = NORMAL")
                # The log is folded into the database when the run closes it, not in the middle.
                connection.execute("PRAGMA wal_autocheckpoint = 0")
                meta = dict(connection.execute("SELECT key, value FROM meta"))
                created, libvirt = int(meta["created"]), meta.get("libvirt", "")
                read = Meta(meta["lab"], meta["source"], created, meta["boot"], libvirt)
                return cls(connection, path, read)
            except (KeyError, ValueError) as e:
                connection.close()
                raise _damaged(path, f"its meta table lacks or garbles {e}") from e
            except BaseException:
                connection.close()
                if fresh:
                    for file in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
                        file.unlink(missing_ok=True)
                raise

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection."""
        self._db.close()

    def forsake(self) -> None:
        """Say that the file is removed next: closing it need not wait for the disk."""
        with _explained(self.path):
            self._db.execute("PRAGMA synchronous = OFF")

    def load(self, desired: Iterable[Resource] = ()) -> Records:
        """What is recorded; where a record equals a resource of `desired`, it is that very object.

        Of what an earlier boot recorded only what outlives one is still there, without its handles.
        """
        same_boot = self.meta.boot == boot_id()
        self._texts = {resource.id: (resource, to_text(resource)) for resource in desired}
        rows = self._rows()
        resources: dict[str, Resource] = {}
        handles: dict[str, Handle] = {}
        unfinished: set[str] = set()
        for id_, kind, spec, status, pid, start, inode in rows:
            resource = self._resource(id_, kind, spec)
            if not (same_boot or resource.outlives_boot):
                continue
            resources[id_] = resource
            if status != "done":
                unfinished.add(id_)
            if same_boot and (pid is not None or start is not None or inode is not None):
                handles[id_] = Handle(pid, start, inode)
        return Records(resources, handles, frozenset(unfinished))

    def _resource(self, id_: str, kind: str, spec: str) -> Resource:
        same, text = self._texts.get(id_, (None, ""))
        if same is not None and text == spec and same.kind == kind:
            return same
        try:
            return from_text(kind, spec)
        except (ValueError, TypeError) as e:
            raise _damaged(self.path, f"the record of {id_} cannot be read: {e}") from e

    def stamp(self) -> str:
        """What all that is recorded of this boot is known by: the same only while nobody writes anything."""
        if self.meta.boot != boot_id():
            return NOTHING
        with _explained(self.path):
            row = self._db.execute("SELECT value FROM meta WHERE key = 'stamp'").fetchone()
            # An older version writes none, but its runs and rows are counted, too.
            count, run = self._db.execute("SELECT count(*), max(run) FROM resource").fetchone()
        stamp = str(row[0]) if row else "unstamped"
        return NOTHING if (stamp, count) == (NOTHING, 0) else f"{stamp} {count} {run}"

    def _rows(self) -> Sequence[tuple[Any, ...]]:
        with _explained(self.path):
            return self._db.execute(_SELECT).fetchall()

    def handle_of(self, id_: str) -> Handle | None:
        """The handle of a resource that was made in this boot; None if it has none or is not recorded."""
        if self.meta.boot != boot_id():
            return None
        query = "SELECT pid, start, inode FROM resource WHERE id = ? AND status = 'done'"
        with _explained(self.path):
            row = self._db.execute(query, (id_,)).fetchone()
        handle = Handle(*row) if row else Handle()
        return handle if handle != Handle() else None

    def count(self, kind: str) -> int:
        """How many resources of a kind are recorded of this boot."""
        query = "SELECT count(*) FROM resource WHERE kind = ?"
        with _explained(self.path):
            return self._db.execute(query, (kind,)).fetchone()[0] if self.meta.boot == boot_id() else 0

    def has(self, id_: str) -> bool:
        """Whether a resource was made in this boot."""
        query = "SELECT 1 FROM resource WHERE id = ? AND status = 'done'"
        with _explained(self.path):
            return self.meta.boot == boot_id() and self._db.execute(query, (id_,)).fetchone() is not None

    def spec_of(self, id_: str) -> str:
        """The text of a resource's record, as `to_text` wrote it; empty if there is none."""
        with _explained(self.path):
            row = self._db.execute("SELECT spec FROM resource WHERE id = ?", (id_,)).fetchone()
        return str(row[0]) if row else ""

    def libvirt(self) -> str:
        """Where the lab's VMs are, by the URI of their libvirt; empty if it has none."""
        if not any(kind == "domain" for _, kind, *_ in self._rows()) or self.meta.boot != boot_id():
            return ""
        return self.meta.libvirt

    def made_of(self) -> str:
        """What `remember` was told last; empty if it never was."""
        with _explained(self.path):
            row = self._db.execute("SELECT value FROM meta WHERE key = 'made_of'").fetchone()
        return str(row[0]) if row else ""

    def remember(self, made_of: str) -> None:
        """Keep a text that says what the records were made of."""
        if made_of != self.made_of():
            with self._transaction(stamped=False):
                self._db.execute("INSERT OR REPLACE INTO meta VALUES ('made_of', ?)", (made_of,))

    def begin(self, source: str, libvirt: str = "") -> None:
        """Starts a run over the lab of the file `source`: forgets what an earlier boot made and ended.

        `libvirt` is where its VMs will be, if it is to have any.
        """
        boot = boot_id()
        with self._transaction():
            if self.meta.boot != boot:
                self._db.execute("UPDATE resource SET pid = NULL, start = NULL, inode = NULL")
                gone = [(kind,) for kind, cls in KINDS.items() if not cls.outlives_boot]
                self._db.executemany("DELETE FROM resource WHERE kind = ?", gone)
            rows = [("source", source), ("boot", boot)]
            self._db.executemany("UPDATE meta SET value = ?2 WHERE key = ?1", rows)
            if libvirt:
                self._db.execute("INSERT OR REPLACE INTO meta VALUES ('libvirt', ?)", (libvirt,))
            (run,) = self._db.execute("SELECT coalesce(max(run), 0) + 1 FROM resource").fetchone()
        self.meta = Meta(self.meta.lab, source, self.meta.created, boot, libvirt or self.meta.libvirt)
        self._run = int(run)

    def intend(self, resources: Iterable[Resource]) -> None:
        """From now on these may exist."""
        self._put("intent", resources)

    def lacking(self, resources: Iterable[Resource]) -> None:
        """These were made and are not there."""
        self._put("done", resources)

    def changed(
        self, resources: Iterable[Resource], handles: Mapping[str, Handle] = MappingProxyType({})
    ) -> None:
        """These exist and are now so; their handles stay, but for those that have new ones."""
        rows = [(self._text(r), self._run, r.id) for r in resources]
        found = [(h.pid, h.start, h.inode, id_) for id_, h in handles.items()]
        with self._transaction():
            self._db.executemany("UPDATE resource SET spec = ?, status = 'done', run = ? WHERE id = ?", rows)
            self._db.executemany("UPDATE resource SET pid = ?, start = ?, inode = ? WHERE id = ?", found)

    def leaving(self, ids: Iterable[str]) -> None:
        """From now on these may be gone."""
        with self._transaction():
            self._db.executemany("UPDATE resource SET status = 'leaving' WHERE id = ?", [(i,) for i in ids])

    def settle(self, made: Sequence[tuple[str, Handle]] = (), gone: Iterable[str] = ()) -> None:
        """The `made` ones exist, found again by their handles; the `gone` ones do not."""
        rows = [(h.pid, h.start, h.inode, id_) for id_, h in made]
        with self._transaction():
            self._db.executemany(
                "UPDATE resource SET status = 'done', pid = ?, start = ?, inode = ? WHERE id = ?", rows
            )
            self._db.executemany("DELETE FROM resource WHERE id = ?", [(id_,) for id_ in gone])

    def is_empty(self) -> bool:
        """Whether nothing is recorded."""
        with _explained(self.path):
            return self._db.execute("SELECT 1 FROM resource LIMIT 1").fetchone() is None

    def _put(self, status: str, resources: Iterable[Resource]) -> None:
        rows = [(r.id, r.kind, self._text(r), status, self._run) for r in resources]
        with self._transaction():
            self._db.executemany(
                "INSERT OR REPLACE INTO resource (id, kind, spec, status, run) VALUES (?, ?, ?, ?, ?)", rows
            )

    def _text(self, resource: Resource) -> str:
        known, text = self._texts.get(resource.id, (None, ""))
        return text if known is resource else to_text(resource)

    @contextlib.contextmanager
    def _transaction(self, stamped: bool = True) -> Iterator[None]:
        with _explained(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                if stamped:
                    self._db.execute("INSERT OR REPLACE INTO meta VALUES ('stamp', ?)", (_new_stamp(),))
                self._db.execute("COMMIT")
            except BaseException:
                # A full disk has rolled it back already.
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise


def _new_stamp() -> str:
    return os.urandom(12).hex()


def _is_ours(connection: sqlite3.Connection, path: Path) -> bool:
    """False for a new, empty database; StateDamaged for somebody else's or a newer version's."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if (application, version, tables) == (0, 0, 0):
        return False
    if application != APPLICATION:
        raise _damaged(path, "it is not a vtopo database")
    if version > FORMAT:
        raise StateError(
            f"{path} was written by a newer vtopo (format {version}, this one reads {FORMAT}); use that one"
        )
    return True


def _initialise(connection: sqlite3.Connection, meta: Meta) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")
    for statement in _SCHEMA.split(";"):
        connection.execute(statement)
    rows = {"lab": meta.lab, "source": meta.source, "created": str(meta.created), "boot": meta.boot}
    rows["stamp"] = NOTHING
    connection.executemany("INSERT INTO meta VALUES (?, ?)", rows.items())
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {FORMAT}")
    connection.execute("COMMIT")


def _damaged(path: Path, why: str) -> StateDamaged:
    return StateDamaged(f"{path} is damaged: {why}; remove {path.parent}, then {SWEEP_HINT}")


def _is_full(path: Path) -> bool:
    """Whether there is no room for the files beside the database, of which SQLite says `disk I/O error` then."""
    try:
        room = os.statvfs(path.parent)
    except OSError:
        return False
    return room.f_bavail * room.f_frsize < _LEAST_ROOM


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """SQLite's errors as StateErrors that say what to do."""
    try:
        yield
    except sqlite3.OperationalError as e:
        if e.sqlite_errorcode == sqlite3.SQLITE_FULL or _is_full(path):
            raise StateError(f"{path}: the disk is full; free some space and run the command again") from e
        if e.sqlite_errorcode == sqlite3.SQLITE_ERROR:
            raise _damaged(path, str(e)) from e
        raise StateError(f"{path}: {e}") from e
    except sqlite3.DatabaseError as e:
        raise _damaged(path, str(e)) from e


@dataclass(frozen=True, slots=True)
class Known:
    """A lab that has records: `meta` unless they are damaged, then the `problem`."""

    lab: str
    meta: Meta | None
    problem: str | None = None

    @property
    def this_boot(self) -> bool:
        """Whether what it records was made since the machine came up."""
        return self.meta is not None and self.meta.boot == boot_id()

    @property
    def ended_early(self) -> bool:
        """Whether it ended with its keeper, without root, while the machine went on (see vtopo.backends.keeper)."""
        now = boot_id().partition("/")[0]
        return self.meta is not None and not self.this_boot and self.meta.boot.partition("/")[0] == now


def labs(state: StateDir) -> tuple[Known, ...]:
    """Every lab that has records, by name."""
    return tuple(known for lab in state.names() if (known := _known(state, lab)) is not None)


def _known(state: StateDir, lab: str) -> Known | None:
    try:
        with Store.open(state, lab) as store:
            return Known(lab, store.meta)
    except FileNotFoundError:
        return None
    except StateError as e:
        return Known(lab, None, str(e))
