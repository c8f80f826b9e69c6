"""Which user and group ids an ordinary user's world has, and why the kernel may refuse them one."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path

_MOST = 65535  # besides root's: enough for every id of a Debian


def write(pid: int) -> str:
    """Map ids into the user namespace of the process: root is this user, and the others are the range that
    subuid(5) gives them, where newuidmap(1) is there to write it. What went wrong, in words; empty if nothing.
    """
    uid, gid = os.geteuid(), os.getegid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = ""
    ranges = [_range(Path(f"/etc/sub{kind}"), name, uid) for kind in ("uid", "gid")]
    if all(ranges) and shutil.which("newuidmap") and shutil.which("newgidmap"):
        for kind, own, found in (("uid", uid, ranges[0]), ("gid", gid, ranges[1])):
            assert found is not None
            numbers = [0, own, 1, 1, found[0], min(found[1], _MOST)]
            argv = [f"new{kind}map", str(pid), *map(str, numbers)]
            if subprocess.run(argv, capture_output=True, check=False).returncode != 0:
                break
        else:
            return ""
    # One id alone takes no one's leave (user_namespaces(7)); what newuidmap has written stays.
    folder = Path(f"/proc/{pid}")
    try:
        if not (folder / "uid_map").read_text():
            (folder / "uid_map").write_text(f"0 {uid} 1")
        if not (folder / "gid_map").read_text():
            (folder / "setgroups").write_text("deny")
            (folder / "gid_map").write_text(f"0 {gid} 1")
    except OSError as e:
        return f"{e.filename}: {e.strerror}"
    return ""


def _range(path: Path, name: str, uid: int) -> tuple[int, int] | None:
    """The first range of subordinate ids of a user (subuid(5))."""
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        fields = line.split(":")
        if len(fields) == 3 and fields[0] in (name, str(uid)) and fields[1].isdigit() and fields[2].isdigit():
            return int(fields[1]), int(fields[2])
    return None


_SWITCHES = (
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
    ("/proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces=15000"),
    ("/proc/sys/user/max_net_namespaces", "0", "user.max_net_namespaces=15000"),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "kernel.apparmor_restrict_unprivileged_userns=0",
    ),
)


def why(problem: str) -> str:
    """Why there is no world, and what an administrator would do."""
    for path, forbids, setting in _SWITCHES:
        try:
            forbidden = Path(path).read_text().strip() == forbids
        except OSError:
            continue
        if forbidden:
            return (
                "this machine does not let an ordinary user have namespaces "
                f"({path} is {forbids}: {problem}); an administrator allows it with "
                f"`sysctl -w {setting}`, or run vtopo with sudo"
            )
    return (
        f"no namespaces of your own can be made ({problem}); `vtopo doctor` says more, or run vtopo with sudo"
    )
