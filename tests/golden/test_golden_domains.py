"""Domains against golden files: for each thing that a VM can have, the XML that libvirt is given."""

from __future__ import annotations

import difflib
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from domains_in_code import CASES, FOLDER, LAB, vm

from vtopo.compile.domain_names import MARK, domain_uuid
from vtopo.compile.domain_xml import PciAddress, domain_xml
from vtopo.compile.resources import from_json, to_json
from vtopo.compile.resources.domains import Boot, Cpu

HERE = Path(__file__).parent / "domains"


def rendered(name: str, accel: str) -> str:
    functions = {"eth0": "0000:3b:02.0"} if name == "virtual-function" else {}
    return domain_xml(
        CASES[name],
        LAB,
        FOLDER,
        accel="kvm" if accel == "kvm" else "tcg",
        owner="" if "passthrough" in name or functions else "+64055:+64055",
        functions=functions,
    )


@pytest.mark.parametrize("name", CASES)
def test_the_xml_of_a_domain(name: str, request: pytest.FixtureRequest) -> None:
    """Below it, line by line, what TCG has instead."""
    kvm, tcg = (rendered(name, accel).splitlines() for accel in ("kvm", "tcg"))
    changed = [line for line in difflib.ndiff(kvm, tcg) if line[0] in "+-"]
    want = "\n".join([*kvm, "", "======== under TCG", *changed, ""])
    path = HERE / f"{name}.txt"
    if request.config.getoption("--rewrite-golden"):
        path.write_text(want, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == want, f"{path.name} differs; `make golden` rewrites it"


def test_all_are_of_libvirts_own_schema(tmp_path: Path) -> None:
    """Also what no test can start, for want of a device to pass through."""
    schema = Path("/usr/share/libvirt/schemas/domain.rng")
    if not schema.exists() or shutil.which("xmllint") is None:
        pytest.skip("libvirt's schemas or xmllint are not installed")
    files = []
    for name in sorted(set(CASES) - {"hostile"}):
        for accel in ("kvm", "tcg"):
            files.append(tmp_path / f"{name}.{accel}.xml")
            files[-1].write_text(rendered(name, accel))
    command = ["xmllint", "--noout", "--relaxng", str(schema), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in HERE.iterdir()} == set(CASES)


def test_the_same_domain_gives_the_same_bytes() -> None:
    assert rendered("disks", "kvm") == rendered("disks", "kvm")


def test_no_value_can_add_to_the_xml() -> None:
    root = ElementTree.fromstring(rendered("hostile", "kvm"))
    hostile = CASES["hostile"]
    assert hostile.boot is not None
    assert root.findtext("os/kernel") == hostile.boot.kernel
    assert root.findtext("os/cmdline") == hostile.boot.cmdline
    assert root.findtext("cpu/model") == hostile.cpu.model
    (source,) = root.findall("devices/disk/source")
    assert source.get("file") == f"{FOLDER}/{hostile.drives[0].file}"
    (model,) = root.findall("devices/interface/model")
    assert model.get("type") == hostile.nics[0].model
    assert [child.tag for child in root.findall("os/*")] == ["type", "kernel", "cmdline"]
    assert not root.findall(".//script")
    assert not root.findall(".//loader")


@pytest.mark.parametrize("character", ["\0", "\x1b", "\ufffe", "\ud800"])
def test_what_xml_cannot_hold_is_refused(character: str) -> None:
    with pytest.raises(ValueError, match="a value of fw has the character"):
        domain_xml(vm(boot=Boot(kernel="/k", cmdline=f"a{character}b")), LAB, FOLDER, accel="tcg")


def test_the_mark_says_whose_it_is() -> None:
    node = ElementTree.fromstring(rendered("plain", "kvm")).find(f"metadata/{{{MARK}}}node")
    assert node is not None
    assert dict(node.items()) == {"lab": "shop", "name": "fw"}


def test_a_uuid_follows_from_the_names_alone() -> None:
    assert domain_uuid("shop", "fw") == "29ae466f-4a7a-5b70-bef3-df4053250054"
    assert len({domain_uuid(lab, node) for lab in "ab" for node in "cd"}) == 4


@pytest.mark.parametrize("text", ["03:10.1", "0000:03:10.8", "0000:03:10.1'", "0000:03:100.1", ""])
def test_what_is_no_pci_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no PCI address"):
        PciAddress.parse(text)


@pytest.mark.parametrize("name", CASES)
def test_a_domain_is_read_back_from_its_record(name: str) -> None:
    assert from_json("domain", to_json(CASES[name])) == CASES[name]


def test_tcg_gets_what_it_has_instead_of_the_hosts_cpu() -> None:
    domain = vm(cpu=Cpu(mode="host-passthrough", cache="passthrough"))
    root = ElementTree.fromstring(domain_xml(domain, LAB, FOLDER, accel="tcg"))
    cpu = root.find("cpu")
    assert cpu is not None
    assert (cpu.get("mode"), cpu.find("cache")) == ("maximum", None)
