"""Builds the Debian guest: a stock Debian 12 whose only service runs a script from its third disk and powers off.

It has what README.md asks of a fresh machine (git, make and Python) and what the tests ask the kernel with; packages
of Python come on a second disk (wheels.py). It is built once, from the machine's own mirror of Debian.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from guest.cache import kept, run
from guest.disk import disk

SUITE = "bookworm"
PACKAGES = (
    *("linux-image-amd64", "systemd-sysv", "udev", "dbus", "kmod", "python3", "python3-venv", "git", "make"),
    *("iproute2", "iputils-ping", "procps", "tcpdump", "nftables"),
)
TOOLS = {
    "debootstrap": "debootstrap",
    "mke2fs": "e2fsprogs",
    "debugfs": "e2fsprogs",
    "qemu-system-x86_64": "qemu-system-x86",
}
"""Programs, and the packages that have them."""

_FSTAB = """\
/dev/vda / ext4 rw 0 1
/dev/vdb /opt ext4 rw 0 0
/dev/vdc /work ext4 rw 0 0
"""
_UNIT = """\
[Unit]
Description=What the tests run here
After=multi-user.target
RequiresMountsFor=/opt /work
[Service]
Type=oneshot
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
WorkingDirectory=/work
ExecStart=/bin/sh -c 'echo guest: up; bash /work/run; echo $? >/work/status; sync; echo guest: down'
ExecStopPost=/bin/sh -c 'cd /; umount /work; systemctl poweroff -ff'
[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True)
class Debian:
    """A kernel, its initramfs, and the disk with the root file system, which is never written."""

    kernel: Path
    initrd: Path
    disk: Path


def unable() -> str:
    """Why no guest can be built or run here, in a line; empty if it can."""
    if missing := sorted({package for program, package in TOOLS.items() if shutil.which(program) is None}):
        return f"the Debian guest needs {', '.join(missing)} (apt-get install)"
    if not _mirror():
        return f"the Debian guest needs Debian's mirror, and apt here knows no {SUITE} for amd64"
    return ""


def debian() -> Debian:
    """The guest, built if it is not there (some minutes); RuntimeError if a step fails."""
    folder = kept("debian", [Path(__file__).read_bytes()], _build)
    return Debian(folder / "vmlinuz", folder / "initrd", folder / "disk.ext4")


def _mirror() -> str:
    """Where this machine's apt has the suite from; empty if it has it from nowhere."""
    if shutil.which("apt-get") is None:
        return ""
    which = [f"Codename: {SUITE}", "Component: main", "Identifier: Packages", "Architecture: amd64"]
    found = run(["apt-get", "indextargets", "--format", "$(REPO_URI)", *which], Path("/"), 60)
    return next((uri for uri in found.split() if uri.startswith(("http:", "https:", "file:"))), "")


def _proxies() -> dict[str, str]:
    """apt's proxies, told to what debootstrap fetches with."""
    names = {"http_proxy": "Acquire::http::Proxy", "https_proxy": "Acquire::https::Proxy"}
    found = {
        variable: run(["apt-config", "dump", "--format", "%v", name], Path("/"), 60).strip()
        for variable, name in names.items()
    }
    return {variable: proxy for variable, proxy in found.items() if proxy and proxy != "DIRECT"}


def _build(work: Path, ready: Path) -> None:
    root = work / "root"
    # What it mounts is mounted in a namespace of its own, and what it starts ends with it.
    apart = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
    options = ("--variant=minbase", "--arch=amd64", f"--include={','.join(PACKAGES)}")
    run([*apart, "debootstrap", *options, SUITE, str(root), _mirror()], work, 900, _proxies())
    shutil.rmtree(root / "var/cache/apt/archives")
    # An initramfs of all drivers takes an emulated machine longer to unpack than everything else until it is up.
    tools = root / "etc/initramfs-tools"
    (tools / "modules").write_text("virtio_pci\nvirtio_blk\next4\n")
    (tools / "conf.d/few").write_text("MODULES=list\n")
    run(["chroot", str(root), "update-initramfs", "-u"], work, 300, {"PATH": "/usr/sbin:/usr/bin"})
    (root / "work").mkdir()
    (root / "etc/fstab").write_text(_FSTAB)
    (root / "etc/hostname").write_text("fresh\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost\n127.0.1.1 fresh\n")
    units = root / "etc/systemd/system"
    (units / "tests.service").write_text(_UNIT)
    (units / "serial-getty@ttyS0.service").symlink_to("/dev/null")
    (units / "multi-user.target.wants").mkdir(exist_ok=True)
    (units / "multi-user.target.wants/tests.service").symlink_to("../tests.service")
    (kernel,) = (root / "boot").glob("vmlinuz-*")
    (initrd,) = (root / "boot").glob("initrd.img-*")
    shutil.copy(kernel, ready / "vmlinuz")
    shutil.copy(initrd, ready / "initrd")
    disk(root, ready / "disk.ext4", 3 << 10)
