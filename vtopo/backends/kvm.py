"""Whether KVM really runs guests here: found out once per boot by a probe with a deadline."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

from vtopo.backends import folders
from vtopo.values import dataclass

DEADLINE = 2.0
"""Seconds that the probe may take; where KVM works it takes 0.05."""

_CACHE = Path("/run/vtopo-kvm")
"""A folder of root's on a file system that ends with the boot; the probe's result for each user is in it."""


@dataclass(frozen=True, slots=True)
class Kvm:
    """`works`, or why not."""

    works: bool
    reason: str = ""


def kvm(device: Path = Path("/dev/kvm")) -> Kvm:
    """What the probe found, now or earlier in this boot."""
    try:
        there = device.stat()
    except OSError:
        return Kvm(
            False,
            f"there is no {device}: the CPU or its firmware has no virtualization, or kvm is not loaded",
        )
    if not os.access(device, os.R_OK | os.W_OK):
        return Kvm(False, f"no right to use {device}: join its group, kvm")
    key = f"{there.st_rdev}-{there.st_ctime_ns}-{os.geteuid()}"
    if (known := _recall(key)) is not None:
        return known
    found = probe()
    _remember(key, found)
    return found


def probe() -> Kvm:
    """Run some millions of instructions in a guest, in a process of its own that is killed at the deadline."""
    script = Path(__file__).with_name("kvm_probe.py")
    command = [sys.executable, "-I", "-S", str(script)]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as child:
        try:
            out, _ = child.communicate(timeout=DEADLINE)
        except subprocess.TimeoutExpired:
            child.kill()
            return Kvm(
                False,
                f"/dev/kvm opens, but a guest of a few million instructions did not get done in {DEADLINE:.0f} s",
            )
        except BaseException:
            child.kill()
            raise
    said = out.decode(errors="replace").strip()
    if said == "runs":
        return Kvm(True)
    return Kvm(False, f"/dev/kvm opens, but {said.splitlines()[-1] if said else 'the probe died'}")


def _recall(key: str) -> Kvm | None:
    try:
        fd = os.open(_CACHE / key, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(fd, encoding="utf-8") as file:
            if os.fstat(fd).st_uid not in (0, os.geteuid()):
                return None
            works, reason = json.load(file)
            return Kvm(bool(works), str(reason))
    except (OSError, ValueError):
        return None


def _remember(key: str, found: Kvm) -> None:
    """What cannot be remembered is found out again."""
    with contextlib.suppress(OSError):
        folder = folders.make(_CACHE)
        try:
            draft = f".{key}.{os.getpid()}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            with os.fdopen(os.open(draft, flags, 0o644, dir_fd=folder), "w", encoding="utf-8") as file:
                json.dump([found.works, found.reason], file)
            os.rename(draft, key, src_dir_fd=folder, dst_dir_fd=folder)
        finally:
            os.close(folder)
