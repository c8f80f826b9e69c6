"""libvirtd killed while it starts machines: the run fails, all is undone, and the next one works."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from cli import Vtopo
from hypervisor_daemons import Daemons

from vtopo.backends import guests

RUN = Path("/run/libvirt/qemu")
TEXT = """\
host a
vm m[1..3] { kernel "KERNEL"; memory 64MiB; disk d { size 1MiB } }
bridge lan { subnet 10.0.0.0/24 }
link m[1..3] -- lan
link a -- lan
"""


def test_libvirtd_killed_in_the_middle_of_up(vtopo: Vtopo, hypervisor: Daemons, small_guest: Path) -> None:
    if not hypervisor.started:
        pytest.skip("the libvirtd that runs is not the tests' own to kill")
    lab = vtopo.write(TEXT.replace("KERNEL", str(small_guest / "vmlinuz")))
    with vtopo.start("up", lab) as process:
        end = time.monotonic() + 30
        while not any(name.name.startswith(f"vtopo.{vtopo.lab}.") for name in RUN.iterdir()):
            assert time.monotonic() < end
            time.sleep(0.02)
        hypervisor.kill()
        _, told = process.communicate(timeout=60)
    try:
        assert process.returncode == 1
        assert b"libvirt" in told
        assert b"undone: all is as it was before" in told
        assert b"Traceback" not in told
        for node in ("m1", "m2", "m3"):
            assert guests.orphans(vtopo.lab, node) == []
        assert vtopo.names() == []
        assert not Path("/var/lib/libvirt/vtopo", vtopo.lab).exists()
        # libvirt's own notes, which its next start would have read, and what it began to mount a guest's /dev on.
        for left in RUN.glob(f"*vtopo.{vtopo.lab}.*"):
            left.rmdir() if left.is_dir() else left.unlink()
    finally:
        hypervisor.start()
    vtopo("up", lab)
    vtopo("down", lab)
