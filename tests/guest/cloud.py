"""Builds the cloud guest: a stock Debian 12 with Debian's cloud-init, netplan and OpenSSH, and nothing set up.

It is what Debian's own cloud images are made of, without their boot loader: the kernel is booted directly, as it takes
an emulated machine half of the time. What it is called, who may log in, its addresses and files are cloud-init's to do.
"""

from __future__ import annotations

from pathlib import Path

from guest import debootstrap

PACKAGES = (
    *("linux-image-cloud-amd64", "systemd-sysv", "udev", "dbus", "kmod", "cloud-init", "netplan.io"),
    *("openssh-server", "iproute2", "iputils-ping", "procps"),
    # It is what provides a virtual package that cloud-init comes to need, and debootstrap looks for real ones only.
    "python3-cffi-backend",
)
CMDLINE = "root=/dev/vda rw console=ttyS0 quiet loglevel=3 no_timer_check"
"""The check of the timer fails on a busy machine that emulates it, and the kernel would panic."""


def cloud() -> debootstrap.Guest:
    """The guest, built if it is not there (some minutes); RuntimeError if a step fails."""
    return debootstrap.guest("cloud", Path(__file__), _build)


def _build(work: Path, ready: Path) -> None:
    root = debootstrap.root(work, PACKAGES, ("virtio_pci", "virtio_blk", "ext4"))
    (root / "etc/fstab").write_text("/dev/vda / ext4 rw 0 1\n")
    for key in (root / "etc/ssh").glob("ssh_host_*"):  # each guest has its own, as of any cloud image
        key.unlink()
    (root / "etc/machine-id").write_text("")
    debootstrap.into(ready, root, 2 << 10)
    for file in ready.iterdir():
        file.chmod(0o644)
