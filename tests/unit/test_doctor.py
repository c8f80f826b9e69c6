"""The doctor reads a machine right: this one, and others as trees of /proc, /sys and /lib/modules."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from vtopo.backends.kvm import Kvm
from vtopo.compile.compiler import compile_lab
from vtopo.compile.frontend import check_source
from vtopo.doctor import hardware, kernel, limits, network
from vtopo.doctor.examine import needed
from vtopo.doctor.findings import Finding, Health, Root
from vtopo.lang.source import Source

RELEASE = "6.1.0-test"


class Tree:
    """A machine in a folder."""

    def __init__(self, path: Path) -> None:
        self.root = Root(path)
        self.write("/proc/sys/kernel/osrelease", f"{RELEASE}\n")

    def write(self, file: str, text: str = "") -> None:
        path = self.root.path / file.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def by_name(found: list[Finding]) -> dict[str, Finding]:
    assert len({f.name for f in found}) == len(found)
    return {f.name: f for f in found}


def never(feature: kernel.Feature) -> int:
    raise AssertionError(f"asked for {feature.module}")


def hard(tree: Tree, works: Kvm) -> dict[str, Finding]:
    return by_name(list(hardware.findings(tree.root, lambda: works)))


def test_what_is_built_in_loaded_or_at_hand_is_there(tree: Tree) -> None:
    tree.write(
        f"/lib/modules/{RELEASE}/modules.builtin", "kernel/drivers/net/tun.ko\nkernel/net/bridge/bridge.ko\n"
    )
    dep = "kernel/net/veth.ko.xz:\nkernel/net/sched/sch_netem.ko: kernel/x.ko\nkernel/net/vxlan/vxlan.ko: a\n"
    tree.write(f"/lib/modules/{RELEASE}/modules.dep", dep)
    tree.write("/sys/module/dummy/refcnt", "0")
    found = by_name(list(kernel.findings(tree.root, never)))
    assert found["kernel"].found == "veth, bridges, VXLAN, taps, dummies, netem"
    assert "kernel.vrf" in found
    assert found["kernel.vrf"].health is Health.NOTE
    assert found["kernel.vrf"].meaning == "not here: `vrf`"


def test_a_module_of_a_similar_name_is_another(tree: Tree) -> None:
    tree.write(
        f"/lib/modules/{RELEASE}/modules.dep",
        "kernel/net/my_vrf.ko:\nkernel/net/vrf_test.ko: kernel/vrf.ko\n",
    )
    assert "kernel.vrf" in by_name(list(kernel.findings(tree.root, never)))


@pytest.mark.parametrize(
    ("release", "old"),
    [("4.19.0-1", True), ("5.17.12", True), ("5.18.0", False), ("6.1.0-28-amd64", False), ("", False)],
)
def test_a_kernel_that_cannot_mark_addresses_is_too_old(tree: Tree, release: str, old: bool) -> None:
    tree.write("/proc/sys/kernel/osrelease", f"{release}\n")
    found = by_name(list(kernel.findings(tree.root, never)))["kernel"]
    assert found.health is (Health.BAD if old else Health.GOOD)
    assert ("5.18" in found.meaning) is old


@pytest.mark.parametrize(("line", "there"), [("CONFIG_BRIDGE_VLAN_FILTERING=y", True), ("# unset", False)])
def test_bridge_vlans_are_the_kernels_configuration(tree: Tree, line: str, there: bool) -> None:
    tree.write(f"/boot/config-{RELEASE}", f"CONFIG_BRIDGE=m\n{line}\n")
    found = by_name(list(kernel.findings(tree.root, never)))
    assert ("kernel.bridge_vlan_filtering" not in found) is there


def test_a_kernel_without_modules_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Root, "read", lambda self, file: RELEASE if file.endswith("osrelease") else None)
    monkeypatch.setattr(Root, "exists", lambda self, file: False)
    said = {"veth": errno.EINVAL, "vxlan": 0, "vrf": errno.EOPNOTSUPP, "sch_netem": errno.ENOENT}
    found = by_name(list(kernel.findings(Root(), lambda feature: said.get(feature.module, errno.EOPNOTSUPP))))
    assert found["kernel"].found == "veth, VXLAN"
    assert found["kernel.bridge"].health is Health.BAD


def test_kvm_that_works_is_good(tree: Tree) -> None:
    tree.write("/sys/module/kvm_intel/parameters/ept", "Y\n")
    found = hard(tree, Kvm(True))
    assert found["kvm"].health is Health.GOOD
    assert found["paging"].found == "EPT is on"


def test_nested_paging_that_is_off_is_worth_a_word(tree: Tree) -> None:
    tree.write("/sys/module/kvm_amd/parameters/npt", "0\n")
    found = hard(tree, Kvm(True))["paging"]
    assert (found.health, found.found) == (Health.NOTE, "NPT is off")
    assert found.mend == "modprobe -r kvm_amd && modprobe kvm_amd npt=1"


def test_a_cpu_that_could_but_has_no_module_loaded(tree: Tree) -> None:
    tree.write("/proc/cpuinfo", "vendor_id\t: AuthenticAMD\nflags\t\t: fpu svm lm\n")
    found = hard(tree, Kvm(False, "there is no /dev/kvm"))["kvm"]
    assert (found.health, found.mend) == (Health.NOTE, "modprobe kvm_amd")
    assert "under TCG" in found.meaning


def test_a_cpu_without_virtualization_has_nothing_to_load(tree: Tree) -> None:
    tree.write("/proc/cpuinfo", "vendor_id\t: GenuineIntel\nflags\t\t: fpu lm\n")
    found = hard(tree, Kvm(False, "there is no /dev/kvm"))["kvm"]
    assert found.mend == ""
    assert "switch it on in the firmware" in found.meaning


def test_a_right_that_is_missing_can_be_given(tree: Tree) -> None:
    tree.write("/dev/kvm")
    found = hard(tree, Kvm(False, "no right to use /dev/kvm: join its group, kvm"))["kvm"]
    assert found.mend.startswith("usermod -aG kvm")


def test_iommu_huge_pages_and_vhost(tree: Tree) -> None:
    found = hard(tree, Kvm(False, "x"))
    assert [found[n].health for n in ("iommu", "hugepages", "vhost")] == [
        Health.NOTE,
        Health.BAD,
        Health.NOTE,
    ]
    assert found["vhost"].mend == "modprobe vhost_net"
    tree.write("/sys/kernel/iommu_groups/0/type")
    tree.write("/dev/vhost-net")
    for name, value in (("nr_hugepages", "8"), ("free_hugepages", "3")):
        tree.write(f"/sys/kernel/mm/hugepages/hugepages-2048kB/{name}", value)
        tree.write(f"/sys/kernel/mm/hugepages/hugepages-1048576kB/{name}", "0")
    found = hard(tree, Kvm(False, "x"))
    assert {found[n].health for n in ("iommu", "hugepages", "vhost")} == {Health.GOOD}
    assert found["hugepages"].found == "2 MiB: 8 reserved, 3 free; 1 GiB: 0 reserved, 0 free"


MOUNT = "30 25 0:26 / {path} rw,nosuid shared:1 - {kind} {kind} rw{options}\n"


def test_cgroups_of_version_1(tree: Tree) -> None:
    names = ("cpu", "cpuset", "memory", "blkio", "pids", "devices")
    lines = [MOUNT.format(path=f"/sys/fs/cgroup/{n}", kind="cgroup", options=f",{n}") for n in names]
    lines.append(MOUNT.format(path="/sys/fs/cgroup/unified", kind="cgroup2", options=""))
    tree.write("/proc/self/mountinfo", "".join(lines))
    tree.write("/sys/fs/cgroup/unified/cgroup.controllers", "hugetlb\n")
    found = by_name(list(limits.findings(tree.root)))["cgroups"]
    assert (found.title, found.health) == ("cgroups v1", Health.GOOD)
    assert found.found == "cpu, cpuset, devices, io, memory, pids"


def test_cgroups_of_version_2_without_io(tree: Tree) -> None:
    tree.write("/proc/self/mountinfo", MOUNT.format(path="/sys/fs/cgroup", kind="cgroup2", options=""))
    tree.write("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu memory pids\n")
    found = by_name(list(limits.findings(tree.root)))["cgroups"]
    assert (found.title, found.health, found.meaning) == ("cgroups v2", Health.NOTE, "not here: `io`")


def test_no_cgroups_at_all(tree: Tree) -> None:
    tree.write("/proc/self/mountinfo", "")
    assert by_name(list(limits.findings(tree.root)))["cgroups"].health is Health.BAD


def test_swap_swappiness_and_overcommit(tree: Tree) -> None:
    tree.write("/proc/swaps", "Filename Type Size Used Priority\n/swap file 4194300 0 -2\n")
    tree.write("/proc/sys/vm/swappiness", "100\n")
    tree.write("/proc/sys/vm/overcommit_memory", "2\n")
    found = by_name(list(limits.findings(tree.root)))
    assert (found["swap"].health, found["swap"].found) == (Health.GOOD, "4095 MiB")
    assert found["swappiness"].mend == "sysctl vm.swappiness=10"
    assert (found["overcommit"].health, found["overcommit"].found) == (Health.NOTE, "never")


def test_a_lab_is_told_what_it_needs_and_no_more() -> None:
    def names(text: str) -> frozenset[str]:
        lab = check_source(Source("lab.vlab", text)).lab
        assert lab is not None
        return needed(compile_lab(lab))

    assert names("host a\nhost b\nlink a -- b") == {"rights", "kernel", "kernel.veth"}
    assert "kernel.bridge" in names("bridge b\nhost a\nlink a -- b")
    vm = names("vm v { memory 64MiB { hugepages 2MiB } }\nhost a\nlink a -- v")
    assert vm >= {"kvm", "libvirt", "kernel.tun", "hugepages", "vhost"}
    assert "iommu" not in vm
    assert "iommu" in names('vm v { nic x { passthrough "0000:03:10.1" } }')


def test_virtual_functions_and_numa_nodes(tree: Tree) -> None:
    works = Kvm(True)
    found = hard(tree, works)
    assert (found["sriov"].health, found["numa"].found) == (Health.NOTE, "one node")
    tree.write("/sys/class/net/eth0/address")
    device = "/sys/class/net/enp3s0f0/device"
    tree.write(f"{device}/sriov_totalvfs", "7\n")
    tree.write(f"{device}/sriov_numvfs", "0\n")
    for node, cpus in enumerate(("0-3", "4-7")):
        tree.write(f"/sys/devices/system/node/node{node}/cpulist", f"{cpus}\n")
    found = hard(tree, works)
    assert found["sriov"].found == "enp3s0f0: 0 of 7 virtual functions"
    assert found["sriov"].mend == f"echo 4 > {device}/sriov_numvfs"
    assert found["numa"].found == "node0: CPUs 0-3; node1: CPUs 4-7"
    tree.write(f"{device}/sriov_numvfs", "4\n")
    assert hard(tree, works)["sriov"].health is Health.GOOD


def test_of_the_machines_network_it_tells_what_uplinks_need(tree: Tree) -> None:
    tree.write("/proc/sys/net/ipv4/ip_forward", "1\n")
    tree.write("/proc/sys/net/ipv6/conf/all/forwarding", "0\n")
    tree.write("/proc/sys/net/ipv4/neigh/default/gc_thresh3", "1024\n")
    found = by_name(list(network.findings(tree.root, lambda: [("ip x y", "nft a"), ("ip6 x y", "nft a")])))
    assert found["forwarding"].health is Health.NOTE
    assert found["forwarding"].found == "IPv4 only"
    assert found["forwarding"].mend == "sysctl -w net.ipv6.conf.all.forwarding=1"
    assert found["firewall"].found == "drops what is forwarded by default: ip x y, ip6 x y"
    assert found["firewall"].mend == "nft a"
    assert found["br_netfilter"].found == "pass no iptables"
    assert found["neighbours"].mend == "sysctl -w net.ipv4.neigh.default.gc_thresh3=65536"
    tree.write("/proc/sys/net/ipv6/conf/all/forwarding", "1\n")
    found = by_name(list(network.findings(tree.root, list)))
    assert found["forwarding"].health is found["firewall"].health is Health.GOOD


@pytest.mark.parametrize(("hosts", "most"), [(32, None), (33, 4096)])
def test_a_lab_that_outgrows_the_table_of_neighbours_is_told(
    tree: Tree, hosts: int, most: int | None
) -> None:
    tree.write("/proc/sys/net/ipv4/neigh/default/gc_thresh3", "1024\n")
    text = f"bridge a {{ subnet 10.0.0.0/24 }}\nbridge b\nhost h[1..{hosts}]\nlink h[1..30] -- a\n"
    text += f"link h[31..{hosts}] -- b\nlink a -- b\n"
    checked = check_source(Source("lab.vlab", text))
    assert checked.lab is not None
    assert network.entries(checked.lab) == {4: hosts * (hosts - 1)}
    found = network.neighbours(tree.root, checked.lab)
    assert (found.health is Health.NOTE) == (most is not None)
    assert found.mend == (f"sysctl -w net.ipv4.neigh.default.gc_thresh3={most}" if most else "")
