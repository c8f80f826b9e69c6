"""A stock Debian with Debian's own cloud-init, set up by a lab alone, and looked at from outside.

Emulated it takes minutes, so it runs only with VTOPO_CLOUD_GUEST=1 (CONTRIBUTING.md).
"""

from __future__ import annotations

import os
import subprocess

import pytest
from cli import Vtopo
from guest.cloud import CMDLINE, cloud
from guest.debootstrap import unable

PATIENCE = 1800
"""Seconds that all of it may take, on a machine that is busy with much else."""

pytestmark = [
    pytest.mark.timeout(PATIENCE + 900),  # with what is installed and built first
    pytest.mark.usefixtures("hypervisor"),
    pytest.mark.skipif(
        not os.environ.get("VTOPO_CLOUD_GUEST"),
        reason="it takes minutes where the guest is emulated; VTOPO_CLOUD_GUEST=1 runs it",
    ),
]

TEXT = """\
host a
vm web {
  kernel "KERNEL"
  initrd "INITRD"
  image "DISK"
  cmdline "CMDLINE"
  memory 1GiB
  vcpus 2
  cloud-init { user-data from "user.yaml" }
  ssh root key "id"
  env COLOUR "light blue"
  file "/etc/lab/conf" "I am ${self.name}\\n" { mode "0640"; owner "ops:ops" }
  file "/etc/lab/number" "n\\n" { owner "1234" }
  sysctl "net.ipv4.ip_forward" 1
  exec "echo $COLOUR > /root/colour"
  exec ["touch", "/root/a b"]
  run ["python3", "-m", "http.server", "80"]
  route 10.9.0.0/16 via 10.0.0.1
  ready tcp 22 within 1800s
}
link a 10.0.0.1/24 fd00::1/64 -- web 10.0.0.2/24 fd00::2/64 { mtu 1400 }
"""
USER_DATA = """\
#cloud-config
disable_root: false
locale: false
ssh_genkeytypes: [ed25519]
users:
- name: root
  ssh_authorized_keys: ["PUBLIC"]
- name: ops
"""


def test_a_debian_is_what_the_lab_says(vtopo: Vtopo) -> None:
    if reason := unable():
        pytest.skip(reason)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", vtopo.folder / "id"], check=True)
    public = (vtopo.folder / "id.pub").read_text().strip()
    (vtopo.folder / "user.yaml").write_text(USER_DATA.replace("PUBLIC", public))
    guest = cloud()
    given = {"KERNEL": guest.kernel, "INITRD": guest.initrd, "DISK": guest.disk, "CMDLINE": CMDLINE}
    text = TEXT
    for name, value in given.items():
        text = text.replace(f'"{name}"', f'"{value}"')
    vtopo("up", vtopo.write(text), patience=PATIENCE)

    assert "status: done" in said(vtopo, "cloud-init status --wait --long")
    assert said(vtopo, "hostname") == "web\n"
    for address in ("10.0.0.2", "fd00::2"):
        vtopo.exec("a", "ping", "-c", "1", "-W", "20", address)
    assert said(vtopo, "cat /sys/class/net/enp1s0/mtu") == "1400\n"
    assert "via 10.0.0.1" in said(vtopo, "ip route get 10.9.0.1")
    assert said(vtopo, "cat /etc/lab/conf; stat -c '%a %U %G' /etc/lab/conf") == "I am web\n640 ops ops\n"
    assert said(vtopo, "stat -c '%a %u' /etc/lab/number") == "644 1234\n"
    assert said(vtopo, "cat /proc/sys/net/ipv4/ip_forward") == "1\n"
    assert said(vtopo, "cat /root/colour; ls /root") == "light blue\na b\ncolour\n"
    assert said(vtopo, "systemctl is-active vtopo-run-1") == "active\n"


def said(vtopo: Vtopo, command: str) -> str:
    """What a command prints in the guest, by ssh."""
    return vtopo("exec", "--lab", vtopo.lab, "web", "--", "sh", "-c", command, patience=PATIENCE).out
