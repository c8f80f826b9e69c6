"""What takes long to build is kept outside of the repository, under a name that says what it was built from."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("VTOPO_TESTS_CACHE", "/var/cache/vtopo-tests"))
"""QEMU's own user reads kernels from here, so it is not in anyone's home."""

_WEEK = 7 * 86400


def kept(name: str, made_from: list[bytes], build: Callable[[Path, Path], None]) -> Path:
    """The folder CACHE/name-HASH, filled by `build(work, ready)` if there is none; what that raises is raised.

    `work` is for what is needed on the way. Two that build at once do not meet: the later one's work is dropped.
    What was built under that name of something else goes when nobody used it for a week.
    """
    built = CACHE / f"{name}-{hashlib.sha256(b''.join(made_from)).hexdigest()[:12]}"
    if built.exists():
        os.utime(built)
        return built
    print(f"building {built}, once", file=sys.stderr, flush=True)
    CACHE.mkdir(mode=0o755, parents=True, exist_ok=True)
    for old in CACHE.glob(f"{name}-*"):
        if old.stat().st_mtime < time.time() - _WEEK:
            shutil.rmtree(old)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        work = Path(folder)
        work.chmod(0o755)
        ready = work / "ready"
        ready.mkdir(mode=0o755)
        build(work, ready)
        try:
            ready.rename(built)
        except OSError:  # another test run was quicker
            if not built.exists():
                raise
    return built


def run(argv: list[str], cwd: Path, seconds: float, env: dict[str, str] | None = None) -> str:
    """What a command prints; RuntimeError with its last words if it fails or takes longer than `seconds`."""
    try:
        done = subprocess.run(
            argv,
            cwd=cwd,
            env=os.environ | (env or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{argv[0]} did not end within {seconds:.0f} s") from None
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)} failed: {(done.stdout + done.stderr)[-2000:]}")
    return done.stdout
