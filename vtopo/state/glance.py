"""One host looked up in the records, by little code: for who expects it to be there, and that all is well.

Whatever is not as it should be is None here, and an error with its reason in `Store`.
"""

# Plain functions of os, no pathlib: this is for commands that take no longer than to start Python.
# ruff: noqa: PTH118, PTH208

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence
else:
    import _sqlite3 as sqlite3  # without the converters of dates, which take as long to load as all else here

APPLICATION, FORMAT = 0x7674706F, 1
"""Of the database, as SQLite's PRAGMA application_id ("vtpo") and user_version."""


class Found:
    """A host that is recorded: pid, start time and network namespace of its init, and the node's environment."""

    def __init__(self, handle: tuple[int | None, int | None, int | None], env: Mapping[str, str]) -> None:
        self.handle = handle
        self.env = env


def host(node: str, kinds: Sequence[str], lab: str | None) -> Found | None:
    """The host `node` of `lab`, or of the only lab that has a node of that name and one of these kinds."""
    top = os.environ.get("VTOPO_STATE_DIR") or "/var/lib/vtopo"
    labs = os.path.join(os.path.abspath(top), "labs")  # noqa: PTH100
    try:
        names = [lab] if lab is not None else os.listdir(labs)
        found = [row for name in names for row in _rows(labs, name, [f"{node}/{kind}" for kind in kinds])]
    except (OSError, sqlite3.Error):
        return None
    if len(found) != 1 or found[0][0] != f"{node}/host":
        return None
    _, status, spec, *handle = found[0]
    if status != "done" or handle[0] is None:
        return None
    return Found((handle[0], handle[1], handle[2]), environment(spec))


def environment(spec: str) -> Mapping[str, str]:
    """What the lab gives to what runs in a host with this record."""
    if '"env"' not in spec:
        return {}
    import json  # late: most hosts do without

    pairs = json.loads(spec).get("env", [])
    return dict(pair.partition("=")[::2] for pair in pairs)


def _rows(
    labs: str, lab: str, ids: Sequence[str]
) -> list[tuple[str, str, str, int | None, int | None, int | None]]:
    for folder in (os.path.dirname(labs), labs, f"{labs}/{lab}"):  # noqa: PTH120
        status = os.lstat(folder)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
            raise OSError
    path = f"{labs}/{lab}/state.db"
    if not os.path.exists(path):  # noqa: PTH110
        return []
    connection = sqlite3.connect(path, isolation_level=None, timeout=5)
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        boot = connection.execute("SELECT value FROM meta WHERE key = 'boot'").fetchone()
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as f:  # noqa: PTH123
            if (application, version) != (APPLICATION, FORMAT):
                raise OSError
            if boot != (f.read().strip(),):
                return []
        query = "SELECT id, status, spec, pid, start, inode FROM resource WHERE id = ?"
        return [row for id_ in ids for row in connection.execute(query, (id_,))]
    finally:
        connection.close()
