"""Virtual machines are what their resources say, as libvirt, the kernel and the guests tell it."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from lab import ip
from vm_lab import VmLab, vm_lab_of

from vtopo.backends.base import Done
from vtopo.compile.resources import Disk, Power, Seed
from vtopo.compile.resources.domains import Drive, Memory, Pin, Tune, Vcpus

pytestmark = pytest.mark.usefixtures("hypervisor")


@pytest.fixture
def lab(lab_name: str, tmp_path: Path) -> Iterator[VmLab]:
    yield from vm_lab_of(lab_name, tmp_path)


@pytest.fixture
def base() -> Iterator[Path]:
    """An image that begins with the word base, where QEMU's own user may read it."""
    with tempfile.TemporaryDirectory(dir="/var/lib/libvirt/images") as folder:
        Path(folder).chmod(0o755)
        image = Path(folder, "base.img")
        image.write_bytes(b"base".ljust(1 << 20, b"\0"))
        yield image


def ping(lab: VmLab, node: str, target: str, *options: str) -> bool:
    pid = lab.handles[node].pid
    command = [
        "nsenter",
        "-t",
        str(pid),
        "-n",
        "ping",
        "-q",
        "-c",
        "2",
        "-i",
        "0.2",
        "-W",
        "5",
        *options,
        target,
    ]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_a_guest_boots_without_kvm_and_answers_on_its_link(lab: VmLab) -> None:
    nic, tap = lab.plugged("fw", 1, mtu=9000)
    domain = lab.domain("fw", nics=(nic,), words="address=eth0:10.0.1.2/24")
    lab.must(domain)
    assert tap.name in {link["ifname"] for link in ip("link")}
    lab.must(tap)
    assert tap.name not in {link["ifname"] for link in ip("link")}
    lab.must(Power(id="fw/power", name=domain.name))
    assert "guest fw is up" in lab.console("fw")
    assert ping(lab, "pc-fw", "10.0.1.2")
    assert ping(lab, "pc-fw", "10.0.1.2", "-M", "do", "-s", "8972")
    assert "mtu 9000" in lab.say("fw", "ip link show eth0")


def live(lab: VmLab, node: str) -> ElementTree.Element:
    """What libvirt says of the running domain."""
    return ElementTree.fromstring(
        lab.hypervisor.connection().lookupByName(f"vtopo.{lab.name}.{node}").XMLDesc()
    )


def test_vcpus_topology_pins_shares_and_quota(lab: VmLab) -> None:
    tune = Tune(shares=512, quota=60000, pins=(Pin(vcpu=0, cpus="0"), Pin(vcpu=1, cpus="0-1")))
    domain = lab.domain("fw", vcpus=Vcpus(count=2, sockets=1, cores=2, threads=1), tune=tune)
    lab.start(domain)
    there = lab.hypervisor.connection().lookupByName(domain.name)
    scheduler = there.schedulerParameters()
    assert (scheduler["cpu_shares"], scheduler["global_period"], scheduler["global_quota"]) == (
        512,
        100000,
        60000,
    )
    count = lab.hypervisor.connection().getInfo()[2]
    assert there.vcpuPinInfo()[0] == tuple(cpu == 0 for cpu in range(count))
    lab.console("fw")
    assert lab.say("fw", "grep -c ^processor /proc/cpuinfo").split() == ["2"]
    assert lab.say("fw", "cat /sys/devices/system/cpu/cpu0/topology/core_cpus_list").split() == ["0"]
    assert lab.say("fw", "cat /sys/devices/system/cpu/cpu0/topology/package_cpus_list").split() == ["0-1"]


def test_shares_quota_and_pins_change_in_place(lab: VmLab) -> None:
    old = lab.domain(
        "fw", vcpus=Vcpus(count=2), tune=Tune(shares=512, quota=60000, pins=(Pin(vcpu=0, cpus="0"),))
    )
    lab.start(old)
    there = lab.hypervisor.connection().lookupByName(old.name)
    number = there.ID()
    for tune in (
        Tune(shares=256, quota=30000, pins=(Pin(vcpu=0, cpus="0-1"), Pin(vcpu=1, cpus="1"))),
        Tune(shares=256, pins=(Pin(vcpu=1, cpus="0"),)),
        Tune(),
    ):
        new = replace(old, tune=tune)
        assert [type(o) for o in lab.domains.update([(old, new)], {})] == [Done]
        assert lab.domains.observe([new], {})[new.id].found == new
        assert (lab.domains.observe([old], {})[old.id].found == old) is False
        old = new
    assert there.ID() == number
    assert there.vcpuPinInfo()[1] == (True,) * lab.hypervisor.connection().getInfo()[2]


def test_the_base_image_is_never_written(lab: VmLab, base: Path) -> None:
    before = base.read_bytes(), base.stat()
    disk = Disk(id="fw/disk", file="fw.root.qcow2", base=str(base))
    extra = Disk(id="fw/data", file="fw.data.qcow2", size=8 << 20)
    lab.must(disk, extra)
    drives = (
        Drive(name="root", file=disk.file, cache="none"),
        Drive(name="data", file=extra.file, bus="scsi"),
    )
    domain = lab.domain("fw", drives=drives)
    lab.start(domain)
    lab.console("fw")
    assert lab.say("fw", "head -c 4 /dev/vda; echo; ls /dev/sda; cat /sys/block/sda/size").split() == [
        "base",
        "/dev/sda",
        "16384",
    ]
    lab.say("fw", "echo changed | dd of=/dev/vda conv=fsync,notrunc 2>/dev/null")
    assert lab.say("fw", "head -c 7 /dev/vda").split() == ["changed"]
    after = base.stat()
    assert base.read_bytes() == before[0]
    changes = [
        f
        for f in ("st_uid", "st_gid", "st_mode", "st_mtime_ns", "st_ctime_ns")
        if getattr(after, f) != getattr(before[1], f)
    ]
    assert changes == []
    lab.delete(domain)
    lab.delete(disk, extra)
    assert not lab.disks.folder.path.exists()


def test_devices_of_other_buses_and_models(lab: VmLab) -> None:
    lab.must(Disk(id="d", file="fw.old.qcow2", size=1 << 20))
    nic, tap = lab.plugged("fw", 1, model="e1000")
    drives = (Drive(name="old", file="fw.old.qcow2", bus="ide"),)
    domain = lab.domain("fw", machine="pc", drives=drives, nics=(nic,))
    lab.must(domain)
    lab.must(tap)
    lab.must(Power(id="p", name=domain.name))
    lab.console("fw")
    each = "for d in /sys/bus/pci/devices/*; do echo $(cat $d/vendor):$(cat $d/device); done"
    assert "0x8086:0x100e" in lab.say("fw", each)
    assert lab.say("fw", "cat /sys/block/sda/device/vendor").split() == ["ATA"]


def test_a_nic_with_several_queues(lab: VmLab) -> None:
    nic, tap = lab.plugged("fw", 1, queues=2)
    domain = lab.domain("fw", vcpus=Vcpus(count=2), nics=(nic,), words="address=eth0:10.0.1.2/24")
    lab.must(domain)
    lab.must(tap)
    lab.must(Power(id="p", name=domain.name))
    lab.console("fw")
    assert lab.say("fw", "ls -d /sys/class/net/eth0/queues/rx-*").split() == [
        f"/sys/class/net/eth0/queues/rx-{n}" for n in (0, 1)
    ]
    assert ping(lab, "pc-fw", "10.0.1.2")


def test_the_guest_reads_its_seed(lab: VmLab) -> None:
    seed = Seed(
        id="s",
        file="fw.seed.iso",
        user_data="#cloud-config\n{}\n",
        meta_data='{"instance-id": "fw"}',
        network_config="version: 2\n",
    )
    lab.must(seed)
    domain = lab.domain("fw", drives=(Drive(name="seed", file=seed.file, seed=True),))
    lab.start(domain)
    lab.console("fw")
    assert lab.say("fw", "mount -t iso9660 /dev/vda /mnt && ls /mnt").split() == [
        "meta-data",
        "network-config",
        "user-data",
    ]
    assert lab.say("fw", "cat /mnt/user-data /mnt/meta-data") == '#cloud-config\n{}\n{"instance-id": "fw"}'
    label = subprocess.run(
        ["blkid", "-o", "value", "-s", "LABEL", lab.disks.folder.file(seed.file)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert label.stdout == "cidata\n"


def test_uefi_and_its_variables(lab: VmLab) -> None:
    domain = lab.domain("fw", firmware="uefi", memory=Memory(size=192 * 1024))
    lab.start(domain)
    lab.console("fw", "is up", 120)
    assert "efi" in lab.say("fw", "ls /sys/firmware")
    assert lab.domains.folder.file("fw.nvram").exists()
    lab.delete(domain)
    assert not lab.domains.folder.path.exists()


def test_graphics_listen_on_this_machine_alone(lab: VmLab) -> None:
    lab.start(lab.domain("fw", graphics="vnc"))
    graphics = live(lab, "fw").find("devices/graphics")
    assert graphics is not None
    assert (graphics.get("type"), graphics.get("listen")) == ("vnc", "127.0.0.1")
    assert int(graphics.get("port", "0")) >= 5900
