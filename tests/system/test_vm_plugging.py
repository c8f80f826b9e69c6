"""Links of a guest that runs come and go: the guest sees the NIC, and boots neither for the one nor for the other."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli import Vtopo

pytestmark = pytest.mark.usefixtures("hypervisor")

PATIENCE = 300
"""Seconds that a guest may take to boot where all else is busy; it takes three."""

TEXT = """\
host a
host b
vm v {
  kernel "GUEST/vmlinuz"
  initrd "GUEST/initrd"
  cmdline "console=ttyS0 quiet no_timer_check name=v address=eth0:10.0.0.2/24 agent"
  memory 96MiB
  ready agent within 300s
}
link a 10.0.0.1/24 -- v:eth0 10.0.0.2/24
"""
SECOND = "link b 10.0.1.1/24 -- v:eth1 10.0.1.2/24 { mtu 1400 }\n"
_LOOK = "cat /proc/sys/kernel/random/boot_id; ls /sys/class/net"


def seen(vtopo: Vtopo, node: str) -> tuple[str, list[str]]:
    """A guest's boot, and its interfaces."""
    boot, *interfaces = vtopo.exec(node, "sh", "-c", _LOOK).out.split()
    return boot, interfaces


def test_a_link_comes_and_goes_while_the_guest_runs(vtopo: Vtopo, small_guest: Path) -> None:
    text = TEXT.replace("GUEST", str(small_guest))
    lab = vtopo.write(text)
    vtopo("up", lab, patience=PATIENCE)
    boot, interfaces = seen(vtopo, "v")
    assert interfaces == ["eth0", "lo"]

    lab.write_text(text + SECOND)
    planned = vtopo("plan", lab).out
    assert "~ update   domain" in planned
    assert "replace" not in planned
    vtopo("up", lab, patience=PATIENCE)
    assert seen(vtopo, "v") == (boot, ["eth0", "eth1", "lo"])
    up = "ip link set eth1 up; ip address add 10.0.1.2/24 dev eth1; cat /sys/class/net/eth1/mtu"
    assert vtopo.exec("v", "sh", "-c", up).out == "1400\n"
    vtopo.exec("b", "ping", "-c", "1", "-W", "10", "10.0.1.2")
    drift(vtopo, lab)

    lab.write_text(text)
    assert "replace" not in vtopo("plan", lab).out
    vtopo("up", lab, patience=PATIENCE)
    assert seen(vtopo, "v") == (boot, ["eth0", "lo"])
    vtopo.exec("a", "ping", "-c", "1", "-W", "10", "10.0.0.2")
    assert vtopo("plan", lab, "--exit-code").status == 0


def drift(vtopo: Vtopo, lab: Path) -> None:
    """A NIC that somebody takes out is plugged in again, and works as before."""
    import libvirt

    connection = libvirt.open("qemu:///system")
    try:
        domain = connection.lookupByName(f"vtopo.{vtopo.lab}.v")
        (nic,) = [part for part in domain.XMLDesc().split("<interface ")[1:] if "<mtu size='1400'/>" in part]
        domain.detachDeviceFlags(
            f"<interface {nic.partition('</interface>')[0]}</interface>", libvirt.VIR_DOMAIN_AFFECT_LIVE
        )
    finally:
        connection.close()
    assert "drifted: nics" in vtopo("plan", lab).out
    vtopo("up", lab, patience=PATIENCE)
    vtopo.exec("v", "sh", "-c", "ip link set eth1 up; ip address add 10.0.1.2/24 dev eth1")
    vtopo.exec("b", "ping", "-c", "1", "-W", "10", "10.0.1.2")


def test_a_guest_that_does_not_let_go_is_reset(vtopo: Vtopo) -> None:
    """This one has nothing to boot: its firmware hears nobody."""
    text = "host a\nhost b\nvm w { memory 32MiB }\nlink a 10.0.0.1/24 -- w 10.0.0.2/24\n"
    lab = vtopo.write(text + "link b 10.0.1.1/24 -- w 10.0.1.2/24\n")
    vtopo("up", lab, patience=PATIENCE)
    lab.write_text(text)
    vtopo("up", lab, patience=PATIENCE)
    assert vtopo("plan", lab, "--exit-code").status == 0


def test_what_goes_wrong_later_takes_the_nic_out_again(vtopo: Vtopo, small_guest: Path) -> None:
    text = TEXT.replace("GUEST", str(small_guest))
    lab = vtopo.write(text)
    vtopo("up", lab, patience=PATIENCE)
    boot, _ = seen(vtopo, "v")
    lab.write_text(text.replace("host b", 'host b { exec "false" }') + SECOND)
    assert "all is as it was before" in vtopo("up", lab, status=1, patience=PATIENCE).err
    lab.write_text(text)
    assert vtopo("plan", lab, "--exit-code").status == 0
    assert seen(vtopo, "v") == (boot, ["eth0", "lo"])
