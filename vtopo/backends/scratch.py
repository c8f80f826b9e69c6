"""A lab's tmpfs: the skeleton layer below every host's root, and every host's own copy-on-write layer."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, TypeAlias

from vtopo.backends import folders, init, mounts, resolvers, rootless, trampoline
from vtopo.backends.shown import layers
from vtopo.backends.syscalls import MS_BIND, MS_NOSUID, mount, umount

# The program of a host's first process, and one that mounts nothing, as the zygote expects them.
INIT, STILL = "run/vtopo-init", "vtopo-init"
DEFAULT_RUN_DIR = Path("/run/vtopo")
_LAB = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")

# Devices of a host: name, major and minor number (Documentation/admin-guide/devices.txt).
DEVICES = (
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
    ("net/tun", 10, 200),
)
_LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
)
_FOLDERS = (
    ("", 0o755),
    ("etc", 0o755),
    ("proc", 0o555),
    ("sys", 0o555),
    ("dev", 0o755),
    ("dev/net", 0o755),
    ("dev/pts", 0o755),
    ("dev/shm", 0o1777),
    ("run", 0o755),
    ("run/lock", 0o1777),
    ("tmp", 0o1777),
)
# Folders of which a host sees only its own files (Documentation/filesystems/overlayfs.rst, "whiteouts and opaque").
_OPAQUE = ("dev", "run", "tmp")


Whose: TypeAlias = Literal["none", "the machine's", "outdated"]
"""Whose name servers there are."""

_LOCALHOST = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"


class Scratch:
    """The tmpfs of `lab` under `run_dir`; its source in mountinfo, `vtopo:LAB`, is its mark."""

    def __init__(self, lab: str, run_dir: Path) -> None:
        if not _LAB.fullmatch(lab):
            raise ValueError(f"not a lab's name: {lab!r}")
        self.lab = lab
        self.run_dir = run_dir.absolute()
        self.path = self.run_dir / lab
        self.mark = f"vtopo:{lab}"

    def is_mounted(self) -> bool:
        """Whether it is there."""
        there = mounts.at(self.path)
        return there is not None and there.source == self.mark and there.fstype == "tmpfs"

    def create(self) -> None:
        """Mount it and lay out what is the same for all hosts; OSError says what failed."""
        for attempt in range(5):
            try:
                self._create()
                return
            except FileNotFoundError:  # another lab's end removed the empty run directory just now
                if attempt == 4:
                    raise

    def _create(self) -> None:
        os.close(folders.make(self.run_dir))
        with folders.locked(self.run_dir):
            there = mounts.at(self.path)
            if there is not None and not self.is_mounted():
                raise OSError(
                    errno.EEXIST, f"a {there.fstype} that is not vtopo's is mounted there", str(self.path)
                )
            try:
                if there is None:
                    self._mount()
                self._lay_out()
            except OSError:
                if there is None:
                    self.delete()
                raise

    def _mount(self) -> None:
        fd = folders.make(self.path)
        try:
            mount(self.mark, f"/proc/self/fd/{fd}", "tmpfs", MS_NOSUID, "mode=0700,size=50%")
        finally:
            os.close(fd)

    def _lay_out(self) -> None:
        skeleton = self.path / "skeleton"
        if skeleton.exists():
            return
        draft = self.path / "skeleton.new"
        if draft.exists():
            _remove_tree(draft)
        for name, mode in _FOLDERS:
            (draft / name).mkdir()
            (draft / name).chmod(mode)
        if rootless.inside():
            self._lay_out_without_root(draft)
        else:
            for name, major, minor in DEVICES:
                os.mknod(draft / "dev" / name, 0o666 | stat.S_IFCHR, os.makedev(major, minor))
                (draft / "dev" / name).chmod(0o666)
        for name, target in _LINKS:
            (draft / "dev" / name).symlink_to(target)
        for name in _OPAQUE:
            _make_opaque(draft / name)
        machine = os.uname().machine
        for path, program in (
            (draft / INIT, init.program(machine)),
            (self.path / STILL, init.program(machine, mounts_proc=False)),
            (self.path / trampoline.PROGRAM, trampoline.program(machine)),
        ):
            if program is not None:
                path.write_bytes(program)
                path.chmod(0o755)
        (draft / "etc/hosts").write_text(_LOCALHOST)
        (draft / "etc/resolv.conf").write_text(resolvers.NONE)
        for name in ("hosts", "root", "seen/proc", "seen/sys"):
            (self.path / name).mkdir(parents=True, exist_ok=True)
        draft.rename(skeleton)

    def _lay_out_without_root(self, skeleton: Path) -> None:
        """The machine's own devices in the folder `devices`, for hosts to bind: an ordinary user makes none.

        The file `shown` lists them, and the folders of the machine that hosts see, for which there are places in
        `places`.
        """
        places = self.path / "places"
        places.mkdir(exist_ok=True)
        shown = list(layers((m.path for m in mounts.mounts()), places))
        for name, _, _ in DEVICES:
            if os.path.exists(f"/dev/{name}"):  # noqa: PTH110  tun is a module's
                device = self.path / "devices" / name
                device.parent.mkdir(parents=True, exist_ok=True)
                for path in (device, skeleton / "dev" / name):
                    path.touch()
                if not any(m.path == str(device) for m in mounts.mounts()):
                    mount(f"/dev/{name}", device, flags=MS_BIND)
                shown.append(name)
        text = "".join(f"{line}\n" for line in shown)
        (self.path / "shown").write_text(text, errors="surrogateescape")

    def names(self) -> str:
        """The names that hosts find in /etc/hosts besides localhost."""
        try:
            return (self.path / "skeleton/etc/hosts").read_text().removeprefix(_LOCALHOST)
        except OSError:
            return ""

    def tell_names(self, lines: str) -> None:
        """Give all hosts these lines in /etc/hosts, but for those that have written their own.

        One file serves all: in the layer below every root, written in place, since overlayfs reads what it has
        opened there.
        """
        path = self.path / "skeleton/etc/hosts"
        if path.exists():
            path.write_text(_LOCALHOST + lines)

    def resolvers(self, wanted: Whose) -> Whose:
        """Whose name servers hosts find in /etc/resolv.conf; where those are none, both names are right."""
        try:
            text = (self.path / "skeleton/etc/resolv.conf").read_text()
        except OSError:
            return "none"
        if text == (resolvers.NONE if wanted == "none" else resolvers.resolv_conf()):
            return wanted
        return "none" if text == resolvers.NONE else "outdated"

    def tell_resolvers(self, whose: str) -> None:
        """Give all hosts the machine's name servers in /etc/resolv.conf, or none."""
        path = self.path / "skeleton/etc/resolv.conf"
        if path.exists():
            path.write_text(resolvers.NONE if whose == "none" else resolvers.resolv_conf())

    def host(self, node: str) -> Path:
        """Where a host's copy-on-write layer is, and what else goes with it."""
        return self.path / "hosts" / node

    def drop_layers(self, nodes: Iterable[str]) -> None:
        """Throw away what hosts have written."""
        hosts = self.path / "hosts"
        try:
            there = set(os.listdir(hosts))  # noqa: PTH208
        except OSError:
            return
        for node in nodes:
            if node in there:
                _drop_layer(f"{hosts}/{node}")

    def delete(self) -> bool:
        """Unmount it and remove the folders that were made for it; whether there was anything."""
        found = False
        while self.is_mounted():
            umount(self.path)
            found = True
        if mounts.at(self.path) is None:
            folders.remove(self.path)
        return found


def _make_opaque(folder: Path) -> None:
    """Hide what layers below have in a folder; without root and before Linux 6.6 a tmpfs has no mark for it."""
    if not rootless.inside():
        os.setxattr(folder, "trusted.overlay.opaque", b"y")
        return
    try:
        os.setxattr(folder, "user.overlay.opaque", b"y")
    except OSError as e:
        if e.errno != errno.EOPNOTSUPP:
            raise


def _drop_layer(layer: str) -> None:
    """A host's layer, quickly if it holds nothing but what every host has from its start."""
    try:
        os.unlink(f"{layer}/upper/etc/hostname")  # noqa: PTH108
        for name in ("upper/etc", "upper", "work/work", "work", ""):
            os.rmdir(f"{layer}/{name}")  # noqa: PTH106
    except OSError:
        _remove_tree(layer)


def of_lab(lab: str) -> list[str]:
    """Where tmpfs with the mark of `lab` are mounted, whatever their run directory."""
    return [m.path for m in mounts.mounts() if m.fstype == "tmpfs" and m.source == f"vtopo:{lab}"]


def labs() -> set[str]:
    """The labs that have one."""
    found = set()
    for m in mounts.mounts():
        prefix, _, lab = m.source.partition(":")
        if m.fstype == "tmpfs" and prefix == "vtopo" and _LAB.fullmatch(lab):
            found.add(lab)
    return found


def _remove_tree(folder: Path | str) -> None:
    import shutil  # late: it takes 6 ms with the compressors that it knows

    shutil.rmtree(folder, ignore_errors=True)
