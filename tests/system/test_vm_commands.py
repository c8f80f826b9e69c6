"""The commands on machines: the console and its log, what is refused in words, the kernel's side of their links."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from cli import Vtopo

pytestmark = pytest.mark.usefixtures("hypervisor")

TEXT = """\
host a
vm fw {
  kernel "GUEST/vmlinuz"
  initrd "GUEST/initrd"
  cmdline "console=ttyS0 quiet no_timer_check name=fw address=eth0:${fw.eth0.address}/24"
  memory 96MiB
}
link a 10.0.0.1/24 -- fw 10.0.0.2/24 { rate 2Mbit }
expect a reaches fw within 60s
"""


@pytest.fixture
def lab(vtopo: Vtopo, small_guest: Path) -> Path:
    path = vtopo.write(TEXT.replace("GUEST", str(small_guest)))
    vtopo("up", path)
    return path


def test_the_console_and_its_log(vtopo: Vtopo, lab: Path) -> None:
    end = time.monotonic() + 60
    while "guest fw is up" not in vtopo("console", "--lab", vtopo.lab, "--log", "fw").out:
        assert time.monotonic() < end
        time.sleep(0.3)
    said = vtopo("console", "--lab", vtopo.lab, "fw", stdin="hostname; echo $((6 * 7))\n").out
    assert "fw" in said
    assert "42" in said
    assert "it has fw" in vtopo("console", "--lab", vtopo.lab, "nobody", status=1).err


def test_a_machine_takes_part_in_what_a_link_does(vtopo: Vtopo, lab: Path) -> None:
    assert vtopo("plan", lab, "--exit-code").status == 0
    netns = f"vtopo.{vtopo.lab}.fw"
    out = subprocess.run(
        ["tc", "-n", netns, "qdisc", "show", "dev", "eth0"], capture_output=True, text=True, check=True
    )
    assert "rate 2Mbit" in out.stdout
    assert "0 failed" in vtopo("test", lab).out


def test_what_a_machine_cannot_be_asked(vtopo: Vtopo, lab: Path) -> None:
    assert "`vtopo console fw`" in vtopo("exec", "--lab", vtopo.lab, "fw", "--", "ls", status=1).err
    text = lab.read_text()
    lab.write_text(text + "expect not fw reaches 10.0.0.9\n")
    untried = vtopo("test", lab, status=1).out
    assert "FAIL  not fw reaches 10.0.0.9  (`fw` runs no commands, as no guest agent answers" in untried
    lab.write_text(text + "expect rate a -> fw >= 1Mbit\n")
    assert "a rate is measured between hosts and containers" in vtopo("test", lab, status=1).err
    lab.write_text(text + "expect path fw -> a through fw\n")
    assert "`fw` is a VM; expect it from the other end" in vtopo("test", lab, status=1).err


def test_an_edit_of_its_memory_starts_it_anew_and_says_so(vtopo: Vtopo, lab: Path) -> None:
    lab.write_text(lab.read_text().replace("memory 96MiB", "memory 100MiB"))
    planned = vtopo("plan", lab).out
    assert "memory.size 98304 → 102400; the guest is switched off and boots again" in planned
    vtopo("up", lab)
    assert "0 failed" in vtopo("test", lab).out
    assert vtopo("plan", lab, "--exit-code").status == 0


def test_a_machine_that_has_gone_is_drift_and_comes_back(vtopo: Vtopo, lab: Path) -> None:
    subprocess.run(
        ["virsh", "-c", "qemu:///system", "destroy", f"vtopo.{vtopo.lab}.fw"], check=True, capture_output=True
    )
    assert "gone" in vtopo("status", vtopo.lab).out
    vtopo("up", lab)
    assert "0 failed" in vtopo("test", lab).out


def test_the_libvirt_of_a_lab_is_remembered(vtopo: Vtopo) -> None:
    lab = vtopo.write("vm fw { memory 32MiB }\n")
    elsewhere = vtopo("up", "--connect", "qemu+ssh://far/system", lab, status=2).err
    assert "qemu+ssh://far/system is a libvirt elsewhere" in elsewhere
    refused = vtopo("up", lab, status=1, env={"VTOPO_CONNECT": "qemu:///session"}).err
    assert "where that user can make no tap" in refused
    assert "nothing was touched" in refused
    socket = "qemu+unix:///system?socket=/run/libvirt/libvirt-sock"
    vtopo("up", "--connect", socket, lab)
    assert vtopo("plan", lab, "--exit-code").status == 0
    other = vtopo("node", "--connect", "qemu:///system", "--lab", vtopo.lab, "fw", "kill", status=1).err
    assert f"the VMs of {vtopo.lab} are at {socket}, not at qemu:///system" in other
    vtopo("node", "--lab", vtopo.lab, "fw", "kill")
    vtopo("heal", vtopo.lab, env={"LIBVIRT_DEFAULT_URI": "qemu:///session"})
    vtopo("down", vtopo.lab)
