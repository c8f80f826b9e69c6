"""Forty containers: `vtopo up` and `down` against a bare parallel loop over the Docker API, in one run.

`python -m bench.containers` prints medians of their wall and CPU times and the ratios; the number to reach is 1.15. It
needs a Docker engine, and makes its image from /bin/busybox.
"""

from __future__ import annotations

import io
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

COUNT = 40
RUNS = 3
LAB = "benchcontainers"
IMAGE = "vtopo-bench/busybox:1"
TOGETHER = 16
"""Requests of the bare loop at once: with fewer or more it is slower."""
TEXT = f"""\
lab {LAB}
container c[1..{COUNT}] {{ image "{IMAGE}" }}
"""


def main() -> None:
    """Print what was measured."""
    import docker

    client = docker.APIClient(version="auto", timeout=300, max_pool_size=TOGETHER)
    repository, _, tag = IMAGE.partition(":")
    client.import_image_from_data(
        _root(), repository=repository, tag=tag, changes=['CMD ["sh"]', "ENV PATH=/bin"]
    )
    times: dict[str, list[float]] = {key: [] for key in ("bare up", "up", "bare down", "down")}
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            lab = folder / f"{LAB}.vlab"
            lab.write_text(TEXT)
            _bare(client)  # the engine has its own first time
            for _ in range(RUNS):
                made, gone = _bare(client)
                times["bare up"].append(made)
                times["bare down"].append(gone)
                times["up"].append(_vtopo(folder, "up", "-q", lab))
                times["down"].append(_vtopo(folder, "down", "-q", LAB))
    finally:
        client.remove_image(IMAGE)
    print(f"{COUNT} containers, medians of {RUNS}, in seconds (from the fastest to the slowest)")
    for what in ("up", "down"):
        bare, ours = times[f"bare {what}"], times[what]
        print(f"bare loop, {what:4}  {_shown(bare)}")
        print(f"vtopo {what:4}       {_shown(ours)}")
        print(f"ratio            {statistics.median(ours) / statistics.median(bare):6.2f}   (to reach: 1.15)")


def _shown(times: Sequence[float]) -> str:
    return f"{statistics.median(times):6.2f}  ({min(times):.2f}–{max(times):.2f})"


def _vtopo(folder: Path, *words: object) -> float:
    """Run it to its end; the seconds that it took."""
    env = {**os.environ, "VTOPO_STATE_DIR": str(folder / "state")}
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "vtopo", *map(str, words)], check=True, env=env, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - began


def _bare(client: Any) -> tuple[float, float]:
    """As somebody's own script would: create and start each, and remove each; the seconds that these took."""
    body = {"Image": IMAGE, "Tty": True, "OpenStdin": True, "HostConfig": {"NetworkMode": "none"}}

    def make(number: int) -> str:
        id_ = str(client.create_container_from_config(body, f"bare-{number}")["Id"])
        client.start(id_)
        return id_

    with ThreadPoolExecutor(TOGETHER) as pool:
        began = time.perf_counter()
        made = list(pool.map(make, range(COUNT)))
        up = time.perf_counter() - began
        began = time.perf_counter()
        list(pool.map(lambda id_: client.remove_container(id_, force=True, v=True), made))
        return up, time.perf_counter() - began


def _root() -> bytes:
    """A small system's files as a tar archive."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add("/bin/busybox", "bin/busybox")
        for name in ("sh", "sleep"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    return archive.getvalue()


if __name__ == "__main__":
    main()
