"""The doctor examines this machine without changing it, and says beforehand whether a lab would come up."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli import LABS, Vtopo

GOOD_LAB = "host a\nhost b\nlink a 10.0.0.1/24 -- b 10.0.0.2/24\n"


def test_every_finding_that_is_not_good_says_what_it_means(vtopo: Vtopo) -> None:
    modules = Path("/proc/modules").read_text() if Path("/proc/modules").exists() else ""
    found = vtopo("doctor", "--json").json["findings"]
    names = {f["name"] for f in found}
    assert names >= {
        "rights",
        "docker",
        "kernel",
        "cgroups",
        "swap",
        "kvm",
        "paging",
        "iommu",
        "hugepages",
        "vhost",
        "numa",
        "sriov",
    }
    for f in found:
        assert f["health"] in ("ok", "note", "missing")
        assert f["found"]
        assert f["health"] == "ok" or f["meaning"], f
    assert (Path("/proc/modules").read_text() if modules else "") == modules
    text = vtopo("doctor").out
    for f in found:
        assert f["mend"] in text or f["health"] == "ok"


def test_what_it_says_of_the_kernel_is_so(vtopo: Vtopo) -> None:
    """A kind of link that it calls missing cannot be made, and one that it has can."""
    found = {f["name"]: f for f in vtopo("doctor", "--json").json["findings"]}
    vtopo("up", vtopo.write("bridge x\nhost a\nlink a -- x\n"))
    for kind, name in (("dummy", "kernel.dummy"), ("vrf", "kernel.vrf")):
        extra = ("table", "10") if kind == "vrf" else ()
        try:
            vtopo.fabric.change("link", "add", "probe", "type", kind, *extra)
        except Exception:
            assert name in found
        else:
            assert name not in found
            vtopo.fabric.change("link", "delete", "probe")
    assert "veth" in found["kernel"]["found"]


def test_a_lab_that_would_come_up(vtopo: Vtopo) -> None:
    path = vtopo.write(GOOD_LAB)
    said = vtopo("doctor", path)
    assert f"`vtopo up` can make {vtopo.lab} on this machine" in said.out
    assert "KVM" not in said.out
    assert vtopo.names() == []
    assert vtopo("doctor", "--json", path).json["works"] is True


@pytest.mark.usefixtures("hypervisor")
def test_a_lab_that_would_not(vtopo: Vtopo) -> None:
    text = 'vm a { image "missing.qcow2"; vcpus 1 { pin 0 -> 4000 }; cpu "EPIC"; accel tcg }\n'
    path = vtopo.write(text)
    said = vtopo("doctor", path, status=1)
    assert "cannot make" in said.out
    for words in ("there is no image", "pinned to CPU 4000", "did you mean `EPYC`?"):
        assert words in said.out
    failed = vtopo("up", path, status=1)
    assert "nothing was touched" in failed.err
    assert "there is no image" in failed.err
    assert vtopo.names() == []


@pytest.mark.usefixtures("hypervisor", "small_guest")
def test_the_example_with_a_machine(vtopo: Vtopo) -> None:
    found = vtopo("doctor", "--json", LABS / "vm-firewall.vlab").json["findings"]
    assert {"kvm", "libvirt", "kernel.tun"} & {f["name"] for f in found} >= {"kvm", "libvirt"}
