"""Eight small VMs: `vtopo up` against a bare loop over libvirt that starts the same domains in parallel, in one run.

`python -m bench.vms` prints medians and their ratio; the number to reach is 1.3. It needs a libvirt that answers, and
the small guest (`make guest`).
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

COUNT = 8
RUNS = 3
LAB = "benchvms"
GUEST = "/var/cache/vtopo-tests/small"
TEXT = f"""\
lab {LAB}
bridge lan {{ subnet 10.0.0.0/24 }}
vm m[1..{COUNT}] {{
  kernel "{GUEST}/vmlinuz"
  initrd "{GUEST}/initrd"
  cmdline "console=ttyS0 quiet"
  memory 96MiB
}}
link m[1..{COUNT}] -- lan
"""


def main() -> None:
    """Print what was measured."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lab = folder / f"{LAB}.vlab"
        lab.write_text(TEXT)
        vtopo(folder, "compile", lab, "-o", folder / "out")
        bare_xml = [bare(path.read_text()) for path in sorted((folder / "out/libvirt").iterdir())]
        start(bare_xml)  # libvirt learns what QEMU can do
        times: dict[str, list[float]] = {"bare": [], "up": []}
        for _ in range(RUNS):
            times["bare"].append(start(bare_xml))
            began = time.perf_counter()
            vtopo(folder, "up", "-q", lab)
            times["up"].append(time.perf_counter() - began)
            vtopo(folder, "down", "-q", LAB)
    bare_time, up_time = (statistics.median(times[key]) for key in ("bare", "up"))
    print(f"{COUNT} VMs of 96 MiB, medians of {RUNS}")
    print(f"bare loop over libvirt  {bare_time:6.2f} s")
    print(f"vtopo up                {up_time:6.2f} s")
    print(f"ratio                   {up_time / bare_time:6.2f}   (to reach: 1.3)")


def vtopo(folder: Path, *words: object) -> None:
    """Run it to its end."""
    env = {**os.environ, "VTOPO_STATE_DIR": str(folder / "state")}
    command = [sys.executable, "-m", "vtopo", *map(str, words)]
    subprocess.run(command, check=True, env=env, stdout=subprocess.DEVNULL)


def bare(xml: str) -> str:
    """The same domain as somebody's own script would start it: by another name, its taps where libvirt puts them."""
    xml = xml.replace(f"vtopo.{LAB}.", "bare.").replace("<domain type='kvm'>", "<domain type='qemu'>")
    xml = xml.replace("<cpu mode='host-passthrough'", "<cpu mode='maximum'")
    xml = re.sub(r"\s*<log file=[^>]*>", "", xml)
    return re.sub(r"<uuid>.*?</uuid>", "", xml)


def start(domains: Sequence[str]) -> float:
    """Start them all at once, and end them again; how long the start took, the connection included."""
    import libvirt

    began = time.perf_counter()
    connection = libvirt.open("qemu:///system")
    with ThreadPoolExecutor(COUNT) as pool:
        made = list(pool.map(connection.createXML, domains))
    seconds = time.perf_counter() - began
    for domain in made:
        domain.destroy()
    connection.close()
    return seconds


if __name__ == "__main__":
    main()
