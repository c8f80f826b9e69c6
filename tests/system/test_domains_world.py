"""Virtual machines among others: what stands in the way, what drifts, what is left when all else fails."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypervisor_daemons import URI
from vm_lab import MEMORY, VmLab, vm_lab_of

from vtopo.backends import guests
from vtopo.backends.base import Done, Failed
from vtopo.backends.domains import DomainBackend
from vtopo.backends.hypervisor import Hypervisor
from vtopo.backends.kvm import Kvm, kvm, probe
from vtopo.compile.resources import Disk, Domain, HugePages, Power
from vtopo.compile.resources.domains import Boot, Cpu, Drive, Memory, Nic, Pin, Tune, Vcpus

NOWHERE = "qemu+unix:///system?socket=/run/vtopo-no-such-socket"


pytestmark = pytest.mark.usefixtures("hypervisor")


@pytest.fixture
def lab(lab_name: str, tmp_path: Path) -> Iterator[VmLab]:
    yield from vm_lab_of(lab_name, tmp_path)


@pytest.fixture
def image() -> Iterator[Path]:
    """A base image where QEMU's own user may read it."""
    path = Path(f"/var/lib/libvirt/images/vtopo-test-{os.getpid()}.qcow2")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "4M"], check=True)
    path.chmod(0o644)
    yield path
    path.unlink()


def reasons(lab: VmLab, *batch: Domain | Disk) -> list[str]:
    """Why this machine cannot do it."""
    return [failed.reason for failed in lab.backend(batch[0]).unable(batch)]


def names(lab: VmLab) -> set[str]:
    """libvirt's domains of the lab."""
    found = {domain.name() for domain in lab.hypervisor.connection().listAllDomains()}
    return {name for name in found if name.startswith(f"vtopo.{lab.name}.")}


# What is said beforehand


def test_a_machine_that_can_says_nothing(lab: VmLab, image: Path) -> None:
    assert (
        reasons(lab, lab.domain("fw"), lab.domain("b", accel="tcg", cpu=Cpu(mode="named", model="EPYC")))
        == []
    )
    assert reasons(lab, Disk(id="d", file="d.qcow2", base=str(image))) == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"tune": Tune(pins=(Pin(vcpu=0, cpus="0,4000"),))},
            "vCPU 0 is pinned to CPU 4000; this machine has CPU",
        ),
        ({"tune": Tune(cpuset="4000")}, "the cpuset has CPU 4000; this machine has"),
        ({"cpu": Cpu(mode="named", model="EPIC")}, "libvirt knows no CPU EPIC; did you mean `EPYC`?"),
        ({"machine": "q36"}, "QEMU knows no machine type q36; did you mean `q35`?"),
        ({"vcpus": Vcpus(count=4000)}, "4000 vCPUs are more than the 288 of the machine type q35"),
        ({"memory": Memory(size=1 << 40)}, "1048576 GiB of memory are more than this machine's"),
        (
            {"nics": (Nic(name="eth0", mac="02:00:00:00:00:01", tap="x", model="e1001"),)},
            "eth0: QEMU has no NIC e1001; did you mean `e1000`?",
        ),
        ({"memory": Memory(size=MEMORY, numa_node=77)}, "this machine has no NUMA node 77"),
        ({"boot": Boot(kernel="/nowhere/vmlinuz")}, "the kernel: there is no file /nowhere/vmlinuz"),
        (
            {"nics": (Nic(name="eth0", mac="02:00:00:00:00:01", passthrough="0000:77:10.1"),)},
            "eth0: nothing can be passed through without an IOMMU",
        ),
        (
            {"nics": (Nic(name="eth0", mac="02:00:00:00:00:01", vf_of="enp3s0f0"),)},
            "eth0: nothing can be passed through without an IOMMU",
        ),
    ],
)
def test_what_this_machine_cannot_do_is_said_beforehand(
    lab: VmLab, fields: dict[str, Any], words: str
) -> None:
    if "IOMMU" in words and any(Path("/sys/kernel/iommu_groups").glob("*")):
        pytest.skip("this machine has an IOMMU")
    (reason,) = reasons(lab, lab.domain("fw", **fields))
    assert reason.startswith(words)


def test_kvm_that_does_not_work_is_said_beforehand(lab: VmLab) -> None:
    if kvm().works:
        pytest.skip("KVM works on this machine")
    (reason,) = reasons(lab, lab.domain("fw", accel="kvm"))
    assert (
        reason
        == f"`accel kvm`: KVM runs no guests here: {kvm().reason}. `accel auto` falls back to emulation"
    )


def test_vhost_without_a_device_is_said_beforehand(lab: VmLab) -> None:
    if Path("/dev/vhost-net").exists():
        pytest.skip("this machine has vhost")
    nic = Nic(name="eth0", mac="02:00:00:00:00:01", tap="vt1", vhost=True)
    (reason,) = reasons(lab, lab.domain("fw", nics=(nic,)))
    assert reason == "eth0: `vhost on`, but there is no /dev/vhost-net; `modprobe vhost_net` brings it"


def test_a_kernel_out_of_qemus_reach_is_said_beforehand(lab: VmLab, tmp_path: Path) -> None:
    kernel = tmp_path / "vmlinuz"
    kernel.write_bytes(b"")
    tmp_path.chmod(0o700)
    (reason,) = reasons(lab, lab.domain("fw", boot=Boot(kernel=str(kernel))))
    assert reason.startswith(f"the kernel: {kernel} cannot be read by QEMU, which runs as user ")


def test_a_missing_image_is_said_beforehand(lab: VmLab, tmp_path: Path) -> None:
    assert reasons(lab, Disk(id="d", file="d.qcow2", base="/nowhere/x.qcow2")) == [
        "there is no image /nowhere/x.qcow2"
    ]
    assert reasons(lab, Disk(id="d", file="d.qcow2", base="/usr")) == ["/usr is no file"]
    text = tmp_path / "notes.txt"
    text.write_text("no disk\n")
    (reason,) = reasons(lab, Disk(id="d", file="d.qcow2", base=str(text)))
    assert reason == f"{text} is no disk image: its 8 bytes are no number of whole sectors"


def test_an_image_that_is_larger_than_its_disk_is_said_beforehand(lab: VmLab, image: Path) -> None:
    (reason,) = reasons(lab, Disk(id="d", file="d.qcow2", base=str(image), size=1 << 20))
    assert reason == f"{image} holds a disk of {4 << 20} bytes, more than {1 << 20}"


def test_a_disk_in_use_is_said_beforehand(lab: VmLab, image: Path) -> None:
    # It opens the image to write, once, and then answers commands: nobody else may be at it in that moment.
    pipe = subprocess.PIPE
    with subprocess.Popen(["qemu-io", str(image)], stdin=pipe, stdout=pipe, bufsize=0) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        try:
            writer.stdin.write(b"length\n")
            assert b"MiB" in writer.stdout.readline()
            found = reasons(lab, Disk(id="d", file="d.qcow2", base=str(image)))
        finally:
            writer.kill()
    assert found == [f"{image} is in use: another machine writes to it. Stop that, or copy the image"]


def test_a_name_that_is_taken_is_said_beforehand(lab: VmLab) -> None:
    domain = lab.domain("fw")
    stranger = f"<domain type='qemu'><name>{domain.name}</name><memory>65536</memory><os><type>hvm</type></os></domain>"
    there = lab.hypervisor.connection().createXML(stranger)
    try:
        (reason,) = reasons(lab, domain)
        assert (
            reason
            == f"libvirt has a domain {domain.name} that is not vtopo's; `virsh destroy {domain.name}` ends it"
        )
        (outcome,) = lab.make(domain)
        assert isinstance(outcome, Failed)
        assert "is not vtopo's" in outcome.reason
        assert list(lab.domains.delete([domain], {})) == [Done(domain.id)]
        assert there.isActive()
        assert lab.domains.sweep() == []
    finally:
        there.destroy()


def test_a_libvirt_that_does_not_answer_is_said_beforehand(lab: VmLab) -> None:
    backend = DomainBackend(lab.name, Hypervisor(NOWHERE))
    (failed,) = backend.unable([lab.domain("fw")])
    assert failed.reason.startswith(f"libvirt ({NOWHERE}) does not answer: ")
    assert "systemctl start libvirtd" in failed.reason
    (outcome,) = backend.create([lab.domain("fw")], {})
    assert isinstance(outcome, Failed)


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("qemu+ssh://far/system", "is a libvirt elsewhere"),
        ("qemu+tls:///system", "is a libvirt elsewhere"),
        ("qemu://far/system", "is a libvirt elsewhere"),
        ("xen:///system", "is no libvirt of QEMU's"),
        ("test:///default", "is no libvirt of QEMU's"),
        (
            "qemu:///session",
            "is an ordinary user's libvirt: its QEMU is in the machine's own network namespace, where that user can "
            "make no tap, so no link of a lab can be plugged into its guests",
        ),
        ("qemu:///embed", "names no libvirt that vtopo knows"),
    ],
)
def test_a_libvirt_that_cannot_have_a_labs_vms_is_refused(lab: VmLab, uri: str, why: str) -> None:
    (failed,) = DomainBackend(lab.name, Hypervisor(uri)).unable([lab.domain("fw")])
    assert failed.reason == (
        f"{uri} {why}; VMs need the system's libvirt on this machine, where their disks and links are: "
        "qemu:///system"
    )


# KVM


def test_the_probe_has_an_end_and_its_result_is_kept() -> None:
    started = time.monotonic()
    found = probe()
    assert time.monotonic() - started < 20
    assert found.works or found.reason
    started = time.monotonic()
    assert kvm() == kvm()
    assert kvm(Path("/dev/no-kvm")) == Kvm(
        False, "there is no /dev/no-kvm: the CPU or its firmware has no virtualization, or kvm is not loaded"
    )


# What changes by itself


def test_what_somebody_changes_is_seen(lab: VmLab) -> None:
    nic, tap = lab.plugged("fw", 1)
    domain = lab.domain("fw", nics=(nic,), tune=Tune(shares=512))
    power = Power(id="fw/power", name=domain.name)
    lab.must(domain)
    lab.must(tap)
    lab.must(power)
    recorded = [domain, power]
    assert {i: p.found for i, p in lab.domains.observe(recorded, {}).items()} == {r.id: r for r in recorded}
    assert lab.netlink.observe([tap], lab.handles)[tap.id].found == tap
    there = lab.hypervisor.connection().lookupByName(domain.name)
    there.setSchedulerParameters({"cpu_shares": 99})
    there.suspend()
    seen = lab.domains.observe(recorded, {})
    assert seen[domain.id].found == replace(domain, tune=Tune(shares=99))
    assert seen[power.id].found == replace(power, state="paused")
    assert [type(o) for o in lab.domains.update([(seen[power.id].found, power)], {})] == [Done]
    assert lab.domains.observe(recorded, {})[power.id].found == power
    netns = f"vtopo.{lab.name}.fw"
    subprocess.run(["ip", "-n", netns, "link", "set", tap.name, "mtu", "1400"], check=True)
    assert lab.netlink.observe([tap], lab.handles)[tap.id].found == replace(tap, mtu=1400)
    assert [type(o) for o in lab.netlink.update([(replace(tap, mtu=1400), tap)], lab.handles)] == [Done]
    subprocess.run(["tc", "-n", netns, "qdisc", "del", "dev", "eth0", "ingress"], check=True)
    assert lab.netlink.observe([tap], lab.handles) == {}
    lab.must(tap)
    assert lab.netlink.observe([tap], lab.handles)[tap.id].found == tap
    there.destroy()
    assert lab.domains.observe(recorded, {}) == {}
    assert lab.netlink.observe([tap], lab.handles) == {}


def test_a_guest_that_shuts_down_is_gone(lab: VmLab) -> None:
    domain = lab.domain("fw")
    lab.start(domain)
    lab.console("fw")
    with pytest.raises(AssertionError):
        lab.say("fw", "poweroff -f", 3)
    end = time.monotonic() + 10
    while lab.domains.observe([domain], {}) and time.monotonic() < end:
        time.sleep(0.1)
    assert lab.domains.observe([domain], {}) == {}
    lab.start(domain)
    lab.console("fw")


# What is left


def test_several_are_made_and_ended_at_once(lab: VmLab) -> None:
    domains = [lab.domain(f"vm{n}") for n in range(3)]
    lab.start(*domains)
    assert names(lab) == {d.name for d in domains}
    lab.delete(*domains)
    assert names(lab) == set()
    assert lab.domains.traces() == []


def test_sweep_needs_no_records_and_no_libvirt(lab: VmLab, image: Path) -> None:
    disk = Disk(id="d", file="fw.root.qcow2", base=str(image))
    lab.must(disk)
    domain = lab.domain("fw", drives=(Drive(name="root", file=disk.file),))
    lab.start(domain)
    other = DomainBackend(lab.name, Hypervisor(NOWHERE))
    assert other.traces() == lab.domains.traces() == ["VM fw"]
    assert guests.labs(lab.hypervisor.run_folder) >= {lab.name}
    assert other.sweep() == ["VM fw"]
    assert other.traces() == []
    swept = lab.disks.sweep()
    assert f"file {lab.disks.folder.path}/fw.root.qcow2" in swept
    assert not lab.disks.folder.path.exists()
    end = time.monotonic() + 5
    while names(lab) and time.monotonic() < end:  # libvirt notices by itself
        time.sleep(0.05)
    assert names(lab) == set()


def test_a_domain_ends_though_libvirt_does_not_answer(lab: VmLab) -> None:
    domain = lab.domain("fw")
    lab.start(domain)
    other = DomainBackend(lab.name, Hypervisor(NOWHERE))
    assert list(other.delete([domain], {})) == [Done(domain.id)]
    assert lab.domains.traces() == []
    assert not lab.domains.folder.path.exists()


def test_what_only_looks_like_a_qemu_of_ours_is_left_alone(lab: VmLab) -> None:
    run = lab.hypervisor.run_folder
    forger = subprocess.Popen(["sleep", "60"])
    pid_file = run / f"vtopo.{lab.name}.fw.pid"
    pid_file.write_text(str(forger.pid))
    try:
        assert list(guests.of_lab(lab.name, run)) == []
        assert lab.domains.sweep() == []
        assert forger.poll() is None
    finally:
        pid_file.unlink()
        forger.kill()
        forger.wait()


def test_a_domain_made_again_over_its_remains(lab: VmLab) -> None:
    domain = lab.domain("fw")
    lab.must(domain)
    lab.must(domain)
    assert names(lab) == {domain.name}


def test_a_failed_start_leaves_nothing(lab: VmLab) -> None:
    domain = lab.domain("fw", drives=(Drive(name="root", file="missing.qcow2"),))
    (outcome,) = lab.make(domain)
    assert isinstance(outcome, Failed)
    assert "missing.qcow2" in outcome.reason
    assert names(lab) == set()
    assert list(lab.domains.delete([domain], {})) == [Done(domain.id)]
    assert not lab.domains.folder.path.exists()


# Disks that are kept


def test_a_disk_that_is_kept_outlives_its_lab(lab: VmLab, image: Path) -> None:
    disk = Disk(id="d", file="fw.root.qcow2", base=str(image), keep=True)
    path = lab.disks.folder.file(disk.file)
    lab.must(disk)
    subprocess.run(
        ["qemu-io", "-f", "qcow2", "-c", "write -P 7 0 512", path], check=True, stdout=subprocess.DEVNULL
    )
    lab.delete(disk)
    assert lab.disks.sweep() == lab.disks.traces() == []
    lab.must(disk)
    subprocess.run(
        ["qemu-io", "-f", "qcow2", "-c", "read -P 7 0 512", path], check=True, stdout=subprocess.DEVNULL
    )
    (outcome,) = lab.make(replace(disk, base=str(image.with_suffix(".other"))))
    assert isinstance(outcome, Failed)
    assert f"kept from an earlier lab, stands over {image}" in outcome.reason
    unkept = replace(disk, keep=False)
    assert [type(o) for o in lab.disks.update([(disk, unkept)], {})] == [Done]
    assert lab.disks.observe([disk], {})[disk.id].found == unkept
    lab.delete(unkept)
    assert not path.exists()
    assert not lab.disks.folder.path.exists()


# Huge pages


def pages() -> int:
    return int(Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages").read_text())


def test_huge_pages_are_taken_used_and_given_back(lab: VmLab) -> None:
    before = pages()
    reserved = HugePages(id="fw/hugepages", count=MEMORY // 2048, size=2048)
    lab.must(reserved)
    assert pages() == before + reserved.count
    assert lab.pages.observe([reserved], {})[reserved.id].found == reserved
    free = int(Path("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages").read_text())
    domain = lab.domain("fw", memory=Memory(size=MEMORY, pages=2048))
    lab.start(domain)
    lab.console("fw")
    now = int(Path("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages").read_text())
    assert free - now == reserved.count
    lab.delete(domain)
    lab.delete(reserved)
    assert pages() == before
    assert lab.pages.traces() == []


def test_huge_pages_of_two_labs_add_up_and_need_no_records(lab: VmLab) -> None:
    before = pages()
    first, second = (HugePages(id=f"{n}/hugepages", count=4, size=2048) for n in "ab")
    lab.must(first)
    lab.must(second)
    lab.must(first)  # again: a killed run had got that far
    assert pages() == before + 8
    lab.delete(first)
    assert pages() == before + 4
    assert lab.pages.traces() == [f"huge pages {lab.name}:b:hugepages"]
    assert lab.pages.sweep() == [f"huge pages {lab.name}:b:hugepages"]
    assert pages() == before


def test_huge_pages_that_cannot_be_had_are_said_with_their_count(lab: VmLab) -> None:
    before = pages()
    wanted = HugePages(id="p", count=1 << 24, size=2048)
    (failed,) = lab.pages.unable([wanted])
    assert failed.reason.startswith(f"{1 << 24} huge pages of 2MiB are wanted, and ")
    (outcome,) = lab.make(HugePages(id="p", count=1 << 18, size=2048))
    assert isinstance(outcome, Failed)
    assert f"{1 << 18} huge pages of 2MiB are wanted, and " in outcome.reason
    assert " of them are missing: " in outcome.reason
    assert pages() == before
    assert lab.pages.traces() == []


def test_huge_pages_of_no_size_that_there_is(lab: VmLab) -> None:
    (failed,) = lab.pages.unable([HugePages(id="p", count=1, size=4096)])
    assert failed.reason.startswith("this machine has no huge pages of 4MiB; it has them of 2MiB")
    (failed,) = lab.pages.unable([HugePages(id="p", count=1, size=2048, numa_node=77)])
    assert failed.reason == "this machine has no NUMA node 77"


def test_the_uri_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    other = "qemu+unix:///system?socket=/run/other"
    monkeypatch.setenv("LIBVIRT_DEFAULT_URI", other)
    assert Hypervisor().uri == other
    monkeypatch.setenv("VTOPO_CONNECT", URI)
    assert Hypervisor().uri == URI
    monkeypatch.delenv("LIBVIRT_DEFAULT_URI")
    monkeypatch.delenv("VTOPO_CONNECT")
    assert Hypervisor().uri == URI
