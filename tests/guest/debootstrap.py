"""A root file system of Debian 12, from the machine's own mirror of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from guest.cache import kept, run
from guest.disk import disk

SUITE = "bookworm"
TOOLS = {
    "debootstrap": "debootstrap",
    "mke2fs": "e2fsprogs",
    "debugfs": "e2fsprogs",
    "qemu-system-x86_64": "qemu-system-x86",
}
"""Programs, and the packages that have them."""


@dataclass(frozen=True)
class Guest:
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


def guest(name: str, made_from: Path, build: Callable[[Path, Path], None]) -> Guest:
    """What `build` of the file `made_from` builds, with the folders of `kept`; RuntimeError if a step fails."""
    folder = kept(name, [made_from.read_bytes(), Path(__file__).read_bytes()], build)
    return Guest(folder / "vmlinuz", folder / "initrd", folder / "disk.ext4")


def root(work: Path, packages: tuple[str, ...], drivers: tuple[str, ...]) -> Path:
    """The folder work/root with these packages; its initramfs has these drivers and no others.

    An initramfs of all drivers takes an emulated machine longer to unpack than everything else until it is up.
    """
    made = work / "root"
    # What it mounts is mounted in a namespace of its own, and what it starts ends with it.
    apart = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
    options = ("--variant=minbase", "--arch=amd64", f"--include={','.join(packages)}")
    run([*apart, "debootstrap", *options, SUITE, str(made), _mirror()], work, 900, _proxies())
    shutil.rmtree(made / "var/cache/apt/archives")
    tools = made / "etc/initramfs-tools"
    (tools / "modules").write_text("".join(f"{driver}\n" for driver in drivers))
    (tools / "conf.d/few").write_text("MODULES=list\n")
    run(["chroot", str(made), "update-initramfs", "-u"], work, 300, {"PATH": "/usr/sbin:/usr/bin"})
    return made


def into(ready: Path, made: Path, mebibytes: int) -> None:
    """Puts `vmlinuz`, `initrd` and `disk.ext4` of such a folder into `ready`."""
    (kernel,) = (made / "boot").glob("vmlinuz-*")
    (initrd,) = (made / "boot").glob("initrd.img-*")
    shutil.copy(kernel, ready / "vmlinuz")
    shutil.copy(initrd, ready / "initrd")
    disk(made, ready / "disk.ext4", mebibytes)


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
