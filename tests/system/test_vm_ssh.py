"""Commands in a guest by ssh: as if they ran here, quoted, ended with the caller; and what `vtopo test` asks there."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cli import Vtopo, eventually

pytestmark = pytest.mark.usefixtures("hypervisor")

PATIENCE = 300
"""Seconds that a guest may take to boot where all else is busy; it takes three."""

TEXT = """\
host a { run "busybox httpd -f -p 80 -h /"; ready tcp 80 }
vm fw {
  kernel "GUEST/vmlinuz"
  initrd "GUEST/initrd"
  cmdline "console=ttyS0 quiet no_timer_check name=fw address=eth0:10.0.0.2/24 address=eth1:10.0.1.2/24 ssh=PUBLIC"
  memory 96MiB
  ssh root key "id"
  ready tcp 22 within 300s
}
link a 10.0.0.1/24 -- fw 10.0.0.2/24
# Another way in.
host m
link m 10.0.1.1/24 -- fw 10.0.1.2/24
# The same addresses elsewhere: it is not this one that is logged in.
host c { run ["sh", "-c", "while true; do echo SSH-2.0-none | busybox nc -l -p 22 -s 10.0.0.2; done"] }
host d
link d 10.0.0.1/24 -- c 10.0.0.2/24
expect fw reaches a within 60s
expect fw reaches a on tcp 80 within 60s
expect not fw reaches a on tcp 81
expect fw runs "hostname" prints "fw" within 60s
"""


@pytest.fixture
def lab(vtopo: Vtopo, small_guest: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", vtopo.folder / "id"], check=True)
    public = ":".join((vtopo.folder / "id.pub").read_text().split()[:2])
    return vtopo.write(TEXT.replace("GUEST", str(small_guest)).replace("PUBLIC", public))


def test_commands_go_in_by_ssh(vtopo: Vtopo, lab: Path) -> None:
    (vtopo.folder / "id").chmod(0o644)
    assert "others may read" in vtopo("up", lab, status=1).err
    (vtopo.folder / "id").chmod(0o600)
    vtopo("up", lab, patience=PATIENCE)
    found = vtopo.exec("fw", "sh", "-c", "hostname; echo no >&2; exit 3", status=3)
    assert (found.out, found.err) == ("fw\n", "no\n")
    killed = vtopo.exec("fw", "sh", "-c", "cat; kill -9 $$", stdin="in" * 20000, status=137)
    assert killed.out == "in" * 20000
    assert "nothing-such: not found" in vtopo.exec("fw", "nothing-such", status=127).err
    words = [
        "a'b",
        "$(touch /tmp/out)",
        "; touch /tmp/out",
        "",
        "-o",
        "ProxyCommand=touch /tmp/out",
        "\n",
        "~",
    ]
    assert vtopo.exec("fw", "printf", "<%s>", *words).out == "".join(f"<{word}>" for word in words)
    assert vtopo.exec("fw", "ls", "-A", "/tmp").out == ""
    signals(vtopo)
    terminal(vtopo)
    assert "0 failed" in vtopo("test", lab, patience=PATIENCE).out
    refusals(vtopo, lab)


def signals(vtopo: Vtopo) -> None:
    """The command gets the caller's, and nothing of it is left."""
    running = vtopo.start(
        "exec", "--lab", vtopo.lab, "fw", "--", "sh", "-c", "trap 'exit 9' TERM; echo up; sleep 4321 & wait"
    )
    assert running.stdout is not None
    assert running.stdout.read(3) in ("up\n", b"up\n")
    running.terminate()
    assert running.wait(120) == 9
    assert "4321" not in vtopo.exec("fw", "busybox", "ps").out


def terminal(vtopo: Vtopo) -> None:
    """`vtopo shell` has one there."""
    keys = b"tty; echo $VTOPO_NODE-$((6 * 7)); exit 5\n"
    status, said = vtopo.on_terminal("shell", "--lab", vtopo.lab, "fw", keys=keys)
    assert status == 5, said
    assert b"/dev/pts/" in said
    assert b"fw-42" in said


def refusals(vtopo: Vtopo, lab: Path) -> None:
    """Each says what is missing; what `ssh` says is changed in place."""
    text = lab.read_text()
    other = vtopo.folder / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    short = text.partition("expect")[0] + "expect not fw reaches 10.0.0.77\n"
    lab.write_text(short.replace('ssh root key "id"', 'ssh root key "other"'))
    assert "~ update" in vtopo("plan", lab).out
    vtopo("up", lab)
    assert "ssh does not log in as root" in vtopo.exec("fw", "true", status=1).err
    assert "FAIL  not fw reaches 10.0.0.77  (`fw`: ssh does not" in vtopo("test", lab, status=1).out
    lab.write_text(text.replace('key "id"', 'key "id" port 23'))
    vtopo("up", lab)
    assert "10.0.1.2 port 23, asked from `m`: connection refused" in vtopo.exec("fw", "true", status=1).err
    lab.write_text(text.replace('  ssh root key "id"\n', ""))
    vtopo("up", lab)
    no_agent = vtopo.exec("fw", "true", status=1).err
    assert 'say `ssh root key "id_ed25519"` in `vm fw`' in no_agent
    known = Path("/var/lib/libvirt/vtopo", vtopo.lab, "fw.known_hosts")
    assert known.read_text().startswith("fw ssh-ed25519 ")
    vtopo("down", vtopo.lab)
    eventually(lambda: not known.parent.exists(), 10)
