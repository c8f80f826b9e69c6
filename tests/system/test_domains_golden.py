"""libvirt itself accepts the XML of every golden file, checked against its schema and QEMU's capabilities."""

from __future__ import annotations

import pytest
from domains_in_code import CASES, FOLDER
from hypervisor_daemons import URI

from vtopo.compile.domain_xml import domain_xml

KVM_ONLY = {"hyperv"}
"""What QEMU has only with KVM, which libvirt looks at when it starts the domain, not when it is defined."""


pytestmark = pytest.mark.usefixtures("hypervisor")


@pytest.mark.parametrize("accel", ["kvm", "tcg"])
@pytest.mark.parametrize("name", sorted(set(CASES) - {"hostile"}))
def test_libvirt_accepts_it(name: str, accel: str, lab_name: str) -> None:
    import libvirt

    xml = domain_xml(
        CASES[name],
        lab_name,
        FOLDER,
        accel="kvm" if accel == "kvm" else "tcg",
        functions={"eth0": "0000:3b:02.0"} if name == "virtual-function" else {},
    )
    connection = libvirt.open(URI)
    try:
        connection.defineXMLFlags(xml, libvirt.VIR_DOMAIN_DEFINE_VALIDATE).undefineFlags(
            libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
        )
    finally:
        connection.close()
