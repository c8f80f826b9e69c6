"""Builds the small test guest: Debian's cloud kernel and an initramfs of busybox that boots under TCG in seconds.

`make guest` prints the folder with `vmlinuz` and `initrd`. It is built once, outside of the
repository, from Debian's own packages; nothing of it is installed on the machine.

What the guest does is told by its kernel's command line:
`address=eth0:10.0.0.2/24` (any number of times), `gateway=10.0.0.1`, `forward`, `web` (an HTTP server on port 80
that answers with the guest's host name), `agent` (QEMU's guest agent, of Debian's package), `ssh=TYPE:KEY` (Dropbear
on port 22, which lets root in with that public key), `name=fw`. It says
`guest NAME is up` on its serial console when all that is done, and then reads commands there. Interfaces are
numbered as PCI finds them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import partial
from pathlib import Path

from guest.cache import CACHE, HERE, kept, run

PACKAGE = "linux-image-cloud-amd64"
AGENT = "qemu-guest-agent"
SSH = ("dropbear-bin", "libtomcrypt1", "libtommath1")
MODULES = (
    *("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci"),
    *("failover", "net_failover", "virtio_net", "virtio_blk", "virtio_balloon", "virtio_console"),
    *("scsi_common", "scsi_mod", "virtio_scsi", "sd_mod", "libata", "ata_piix", "cdrom", "sr_mod", "isofs"),
    *("pvpanic", "pvpanic_mmio"),
)
"""Each after those that it needs."""

_APPLETS = (
    "sh mount insmod ip cat echo hostname httpd setsid cttyhack ls grep sleep poweroff nc ping head dd "
    "env id kill rm true false mkdir chmod tr tty"
)


def folder() -> Path:
    """The guest's folder, built if it is not there; RuntimeError if a step fails."""
    release = _release()
    made_from = [Path(__file__).read_bytes(), (HERE / "small-init.sh").read_bytes()]
    return _known(kept(f"small-{release}", made_from, partial(_build, release)))


def _build(release: str, work: Path, ready: Path) -> None:
    package = f"linux-image-{release}"
    # apt's sandbox user cannot write here; its warning about that says nothing of the package.
    run(["apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", package], work, 300)
    (deb,) = work.glob(f"{package}_*.deb")
    run(["dpkg", "-x", deb.name, "root"], work, 120)
    shutil.copy(work / "root/boot" / f"vmlinuz-{release}", ready / "vmlinuz")
    for wanted in (AGENT, *SSH):
        run(["apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", wanted], work, 300)
        (deb,) = work.glob(f"{wanted}_*.deb")
        run(["dpkg", "-x", deb.name, "programs"], work, 120)
    _initramfs(work, work / "root/lib/modules" / release, ready / "initrd")
    for file in ready.iterdir():
        file.chmod(0o644)


def _known(built: Path) -> Path:
    """The labs in labs/ look for it under a name without a version."""
    link = CACHE / "small"
    if not link.exists() or link.resolve() != built:
        draft = CACHE / f".small.{os.getpid()}"
        draft.symlink_to(built.name)
        draft.replace(link)
    return built


def _release() -> str:
    """The kernel that the package depends on, such as 6.1.0-56-cloud-amd64."""
    out = run(["apt-cache", "depends", "--no-recommends", PACKAGE], Path("/"), 60)
    found = re.search(r"Depends: linux-image-(\S+)", out)
    assert found, f"apt knows no {PACKAGE}: {out}"
    return found[1]


def _initramfs(work: Path, modules: Path, target: Path) -> None:
    root = work / "initramfs"
    for name in ("bin", "etc", "proc", "sys", "dev", "mnt", "www", "tmp", "run", "var/run", "lib/modules"):
        (root / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    for applet in _APPLETS.split():
        (root / "bin" / applet).symlink_to("busybox")
    shutil.copy(HERE / "small-init.sh", root / "init")
    (root / "init").chmod(0o755)
    libraries = work / "programs/usr/lib/x86_64-linux-gnu"
    for program in ("qemu-ga", "dropbear"):
        _with_libraries(work / "programs/usr/sbin" / program, libraries, root)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "sbin").mkdir()
    (root / "sbin/shutdown").write_text("#!/bin/sh\nexec poweroff -f\n")  # what the agent starts for that
    (root / "sbin/shutdown").chmod(0o755)
    order = []
    for name in MODULES:
        files = list(modules.rglob(f"{name.replace('_', '[-_]')}.ko"))
        if files:  # what is not a module is in the kernel
            shutil.copy(files[0], root / "lib/modules" / f"{name}.ko")
            order.append(name)
    (root / "lib/modules/order").write_text("".join(f"{name}\n" for name in order))
    names = "\n".join(sorted(str(p.relative_to(root)) for p in root.rglob("*")))
    with target.open("wb") as out:
        command = ["cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0"]
        subprocess.run(command, cwd=root, input=names.encode(), stdout=out, check=True)


def _with_libraries(program: Path, own: Path, root: Path) -> None:
    """Copy a program with what it is linked to: `own` libraries, and what this machine's QEMU is linked to as well."""
    shutil.copy(program, root / "bin")
    linked = run(["ldd", str(program)], Path("/"), 60, {"LD_LIBRARY_PATH": str(own)})
    for path in re.findall(r"(/\S+) \(0x", linked):
        target = root / path.replace(str(own), "/lib/x86_64-linux-gnu").lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)


if __name__ == "__main__":
    print(folder())
