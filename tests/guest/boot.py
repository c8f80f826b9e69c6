"""Boots the Debian guest with this working tree, runs a script in it, and brings back how that ended."""

from __future__ import annotations

import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from guest.cache import HERE
from guest.debian import debian
from guest.debootstrap import Guest, unable
from guest.disk import disk, taken
from guest.wheels import wheels
from vtopo.backends.kvm import kvm

TREE = HERE.parents[1]
BOOT_SECONDS = 480
"""A guest that has not reached its script by then never will; emulated, it takes 30 s on a machine that is not busy."""
_AROUND = 100
"""What booting and powering off take of a guest's seconds, on a busy machine: a script that ends itself in what is left
brings back how far it came."""
_KERNEL = "root=/dev/vda rw console=ttyS0 quiet loglevel=3 systemd.show_status=0 panic=-1 no_timer_check"
"""A kernel that panics ends the machine. On a busy one, an emulated timer fails the check of it, which would be one."""


@dataclass(frozen=True)
class Ended:
    """How a script ended."""

    status: int | None
    """None if the guest never got that far."""
    console: str
    junit: str | None
    """What pytest wrote of its tests, if it did."""
    seconds: float


def boot(script: str, seconds: float, words: str = "", compiled: bool = False) -> Ended:
    """Runs tests/guest/SCRIPT as root in a guest of its own; `seconds` bound it all, from power on to power off.

    It starts in /work on a disk of its own, with this tree in /work/tree, Python's packages in /opt, `words` in
    /work/words, and in /work/seconds the time that it may take. What the console says is passed on to stdout.
    If the tree is `compiled` here, an emulated Python of the same version need not do that.
    RuntimeError if the guest could not be built.
    """
    guest, packages = debian(), wheels()
    with tempfile.TemporaryDirectory(prefix="vtopo-guest-", dir="/var/tmp") as name:
        image = Path(name) / "work.ext4"
        told = {"words": words, "seconds": f"{seconds - _AROUND:.0f}"}
        _work(Path(name) / "work", script, told, image, compiled)
        began = time.monotonic()
        console = _watch(_command(guest, packages, image), seconds)
        status = taken(image, "/status")
        return Ended(
            int(status) if status and status.strip().isdigit() else None,
            console,
            taken(image, "/junit.xml"),
            time.monotonic() - began,
        )


def succeeds(script: str, seconds: float, words: str = "", compiled: bool = False) -> Ended:
    """How it ended, if with status 0; else an AssertionError with its last lines. Skips where no guest can be had."""
    if reason := unable():
        pytest.skip(reason)
    ended = boot(script, seconds, words, compiled)
    # The times of the tests come last, after what failed.
    last = "\n".join(ended.console.splitlines()[-300:])
    assert ended.status == 0, f"{script} ended with {ended.status} after {ended.seconds:.0f} s:\n{last}"
    return ended


def _work(folder: Path, script: str, told: dict[str, str], image: Path, compiled: bool) -> None:
    tree = folder / "tree"
    argv = ["git", "-c", f"safe.directory={TREE}", "ls-files", "-coz", "--exclude-standard"]
    listed = subprocess.run(argv, cwd=TREE, check=True, capture_output=True, text=True).stdout
    for file in filter(None, listed.split("\0")):
        if (TREE / file).is_file():  # and not removed since
            (tree / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(TREE / file, tree / file)
    if compiled:
        _compile(tree)
    shutil.copy(HERE / script, folder / "run")
    for file, text in told.items():
        (folder / file).write_text(text)
    disk(folder, image, 2 << 10)
    shutil.rmtree(folder)


def _compile(tree: Path) -> None:
    """Python's bytecode and the grammar's tables, beside the sources; their times are kept on the disk."""
    own = {**os.environ, "PYTHONPATH": str(tree)}
    own.pop("PYTHONDONTWRITEBYTECODE", None)
    lab = tree / "labs/quickstart.vlab"
    for words in (["compileall", "-q", "vtopo", "tests"], ["vtopo", "check", "-q", str(lab)]):
        subprocess.run([sys.executable, "-m", *words], cwd=tree, env=own, check=True)


def _command(guest: Guest, packages: Path, image: Path) -> list[str]:
    accelerator = "kvm" if kvm().works else "tcg,thread=multi"
    disks = ((guest.disk, "on"), (packages, "on"), (image, "off"))
    drives = [f"file={path},if=virtio,format=raw,cache=unsafe,snapshot={dropped}" for path, dropped in disks]
    return [
        # It takes what tests beside it leave of the CPUs, and ends with this process, however that ends.
        *(("nice", "-n", "5") if "PYTEST_XDIST_WORKER" in os.environ else ()),
        *("setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64"),
        *("-M", "q35", "-cpu", "max", "-accel", accelerator, "-smp", str(os.cpu_count()), "-m", "2048"),
        *("-nodefaults", "-nographic", "-serial", "stdio", "-nic", "none", "-no-reboot"),
        *("-kernel", str(guest.kernel), "-initrd", str(guest.initrd)),
        *("-append", _KERNEL),
        *(word for drive in drives for word in ("-drive", drive)),
    ]


def _watch(argv: list[str], seconds: float) -> str:
    """What the console says until the machine is off, killed if it is not in time; passed on as it comes."""
    began = time.monotonic()
    said = bytearray()
    qemu = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        assert qemu.stdout is not None
        with selectors.DefaultSelector() as ready:
            ready.register(qemu.stdout, selectors.EVENT_READ)
            while True:
                limit = seconds if b"guest: up" in said else min(seconds, BOOT_SECONDS)
                left = began + limit - time.monotonic()
                if left <= 0:
                    said += f"\nno end within {limit:.0f} s: killed\n".encode()
                    break
                if not ready.select(left):
                    continue
                chunk = os.read(qemu.stdout.fileno(), 1 << 16)
                if not chunk:
                    break
                text = chunk.replace(b"\r", b"")
                said += text
                sys.stdout.write(text.decode(errors="replace"))
                sys.stdout.flush()
    finally:
        qemu.kill()
        qemu.wait()
    return said.decode(errors="replace")
