"""A ring of 300 hosts: each is a machine of its own, and they come and go again and again."""

# ruff: noqa: PTH115

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cli import Vtopo, inits, marked
from machine import look, settle

HOSTS = 300
RING = f"host h[1..{HOSTS}]\nlink h[1..{HOSTS - 1}] -- h[2..{HOSTS}]\nlink h[{HOSTS}] -- h[1]\n"


@pytest.fixture
def ring(vtopo: Vtopo) -> Path:
    return vtopo.write(RING)


def test_every_host_has_namespaces_of_its_own(vtopo: Vtopo, ring: Path) -> None:
    before = look()
    vtopo("up", ring)
    pids = inits(vtopo.lab)
    assert len(pids) == HOSTS
    assert sorted(marked(vtopo.lab)) == sorted(pids), "nothing else of vtopo's goes on running"
    for kind in ("pid", "net", "mnt", "uts", "ipc"):
        own = {os.readlink(f"/proc/{pid}/ns/{kind}") for pid in pids}
        assert len(own) == HOSTS, kind
        assert os.readlink(f"/proc/self/ns/{kind}") not in own
    assert vtopo.names() == sorted(f"vtopo.{vtopo.lab}.h{i}" for i in range(1, HOSTS + 1))
    assert all(pss(pid) <= 2048 for pid in pids[::10])
    peers = [set(vtopo.node(h).links()) for h in ("h1", "h2", f"h{HOSTS}")]
    assert peers == [{"lo", "eth0", "eth1"}] * 3
    vtopo("down", vtopo.lab)
    assert marked(vtopo.lab) == [], "a returned down has killed them all"
    assert vtopo.names() == []
    assert settle(before) == []


def test_up_works_right_after_down_three_times(vtopo: Vtopo, ring: Path) -> None:
    before = look()
    for _ in range(3):
        vtopo("up", ring)
        assert len(inits(vtopo.lab)) == len(vtopo.names()) == HOSTS
        vtopo("down", ring)
        assert (marked(vtopo.lab), vtopo.names()) == ([], [])
    assert settle(before) == []


def pss(pid: int) -> int:
    """A process' proportional set size in KiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("Pss:"))
    return int(line.split()[1])
