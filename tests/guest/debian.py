"""Builds the Debian guest: a stock Debian 12 whose only service runs a script from its third disk and powers off.

It has what README.md asks of a fresh machine (git, make and Python) and what the tests ask the kernel with; packages
of Python come on a second disk (wheels.py). It is built once, from the machine's own mirror of Debian.
"""

from __future__ import annotations

from pathlib import Path

from guest import debootstrap

PACKAGES = (
    *("linux-image-amd64", "systemd-sysv", "udev", "dbus", "kmod", "python3", "python3-venv", "git", "make"),
    *("iproute2", "iputils-ping", "procps", "tcpdump", "nftables"),
)

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


def debian() -> debootstrap.Guest:
    """The guest, built if it is not there (some minutes); RuntimeError if a step fails."""
    return debootstrap.guest("debian", Path(__file__), _build)


def _build(work: Path, ready: Path) -> None:
    root = debootstrap.root(work, PACKAGES, ("virtio_pci", "virtio_blk", "ext4"))
    (root / "work").mkdir()
    (root / "etc/fstab").write_text(_FSTAB)
    (root / "etc/hostname").write_text("fresh\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost\n127.0.1.1 fresh\n")
    units = root / "etc/systemd/system"
    (units / "tests.service").write_text(_UNIT)
    (units / "serial-getty@ttyS0.service").symlink_to("/dev/null")
    (units / "multi-user.target.wants").mkdir(exist_ok=True)
    (units / "multi-user.target.wants/tests.service").symlink_to("../tests.service")
    debootstrap.into(ready, root, 3 << 10)
