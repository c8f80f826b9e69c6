"""A lab's files and binds in hosts: written in the host alone, seen when they drift, and put back."""

from __future__ import annotations

import os
import stat
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from lab import Lab

from vtopo.backends.base import Done, Failed
from vtopo.compile.resources import Bind, File, Resource, Scratch


@pytest.fixture
def host(lab: Lab) -> Lab:
    lab.hosts("a", "b")
    return lab


def file(path: str, content: str = "x\n", **more: object) -> File:
    return File(id=f"a/file{path}", host="a", node="a", path=path, content=content, **more)  # type: ignore[arg-type]


def bind(source: Path, path: str, read_only: bool = False) -> Bind:
    return Bind(id=f"a/bind{path}", host="a", node="a", source=str(source), path=path, read_only=read_only)


def reason(lab: Lab, r: Resource) -> str:
    (outcome,) = lab.make(r)
    return outcome.reason if isinstance(outcome, Failed) else ""


def seen(lab: Lab, r: Resource) -> Resource | None:
    present = lab.files.observe([r], lab.handles).get(r.id)
    return present.found if present else None


def gone(lab: Lab, *resources: Resource) -> None:
    assert list(lab.files.delete(resources, lab.handles)) == [Done(r.id) for r in resources]


def cat(lab: Lab, path: str, node: str = "a") -> str:
    return lab.run(node, "cat", path)


def test_a_file_has_its_content_mode_and_owner(host: Lab) -> None:
    host.must(file("/etc/app/deep/er.conf", "Grüezi\n", mode=0o640, owner="daemon:mail"))
    assert cat(host, "/etc/app/deep/er.conf") == "Grüezi\n"
    assert host.run("a", "stat", "-c", "%a %U %G", "/etc/app/deep/er.conf") == "640 daemon mail\n"
    assert host.run("a", "stat", "-c", "%a %U", "/etc/app") == "755 root\n"
    assert not Path("/etc/app").exists()
    assert host.run("b", "sh", "-c", "ls /etc/app 2>/dev/null || echo none") == "none\n"


def test_bytes_are_written_as_they_are(host: Lab) -> None:
    host.must(file("/root/b", "AP+A", binary=True))
    assert host.run("a", "od", "-An", "-tx1", "/root/b").split() == ["00", "ff", "80"]


def test_the_machines_files_come_back_when_a_file_goes(host: Lab) -> None:
    ours = [
        file("/etc/passwd", "root:x:0:0::/root:/bin/sh\n"),
        file("/usr/bin/env", "#!/bin/sh\necho no\n", mode=0o755),
        file("/new/a/b"),
    ]
    machine = Path("/etc/passwd").read_text()
    host.must(*ours)
    assert cat(host, "/etc/passwd") == "root:x:0:0::/root:/bin/sh\n"
    assert host.run("a", "/usr/bin/env") == "no\n"
    assert Path("/etc/passwd").read_text() == machine
    gone(host, *ours)
    assert cat(host, "/etc/passwd") == machine
    assert host.run("a", "env", "echo", "yes") == "yes\n"
    assert host.run("a", "sh", "-c", "ls -d /new 2>/dev/null || echo none") == "none\n"
    assert not host.run("a", "find", "/etc", "/usr/bin", "-name", ".vtopo*")
    gone(host, *ours)


def test_a_link_in_the_place_of_a_file_is_replaced_and_put_back(host: Lab) -> None:
    host.run("a", "ln", "-s", "/etc/shadow", "/etc/link")
    host.must(file("/etc/link", "mine\n"))
    assert stat.S_ISREG(os.lstat(f"/proc/{host.handles['a'].pid}/root/etc/link").st_mode)
    gone(host, file("/etc/link"))
    assert host.run("a", "readlink", "/etc/link") == "/etc/shadow\n"


@pytest.mark.parametrize("target", ["/", "../../../../../..", "/proc/1/root", "/proc/self/root"])
def test_no_link_leads_out_of_the_host(host: Lab, target: str, tmp_path: Path) -> None:
    host.run("a", "ln", "-s", f"{target}{tmp_path}", "/root/out")
    host.make(file("/root/out/evil"), file(f"/root/../../../..{tmp_path}/evil"))
    assert not (tmp_path / "evil").exists()


def test_drift_shows_and_is_repaired_in_place(host: Lab) -> None:
    f = file("/etc/app.conf", "one\n", mode=0o600)
    host.must(f)
    assert seen(host, f) == f
    host.run("a", "sh", "-c", "echo two > /etc/app.conf; chmod 644 /etc/app.conf; chown daemon /etc/app.conf")
    found = seen(host, f)
    assert isinstance(found, File)
    assert (found.content, found.mode, found.owner) == ("two\n", 0o644, "1:0")
    assert list(host.files.update([(found, f)], host.handles)) == [Done(f.id)]
    assert seen(host, f) == f
    host.run("a", "sh", "-c", "rm /etc/app.conf; mkfifo /etc/app.conf")
    assert seen(host, f) is None
    host.run("a", "sh", "-c", "rm /etc/app.conf; printf '\\377' > /etc/app.conf")
    found = seen(host, f)
    assert isinstance(found, File)
    assert found.binary


def test_what_cannot_be_is_said(host: Lab) -> None:
    assert "there is a folder or a special file in its place" in reason(host, file("/etc"))
    assert "not the host's own" in reason(host, file("/proc/sys/net/x"))
    assert reason(host, file("/root/f", owner="nobody-such")) == "the host has no user nobody-such"
    assert (
        "leads nowhere" in reason(host, file("/root/dangling/x"))
        if host.run("a", "ln", "-s", "/void/x", "/root/dangling") == ""
        else False
    )
    assert "Not a directory" in reason(host, file("/etc/passwd/x"))


def test_the_names_of_the_lab_are_known_in_every_host_at_once(host: Lab) -> None:
    scratch = Scratch(id="scratch", names="10.0.0.1 a\n2001:db8::2 rack.b rack-b\n")
    host.must(scratch)
    assert host.run("a", "getent", "hosts", "rack-b").split() == ["2001:db8::2", "rack.b", "rack-b"]
    changed = replace(scratch, names="10.0.0.9 a\n")
    assert list(host.namespaces.update([(scratch, changed)], host.handles)) == [Done("scratch")]
    assert host.run("b", "getent", "hosts", "a").split() == ["10.0.0.9", "a"]
    local = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"
    assert cat(host, "/etc/hosts") == f"{local}10.0.0.9 a\n"
    assert host.namespaces.observe([scratch], host.handles)["scratch"].found == changed
    assert "nameserver" not in cat(host, "/etc/resolv.conf")


def test_a_bind_shows_the_machines_files(host: Lab, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("machine\n")
    b, one = bind(tmp_path, "/data/deep"), bind(tmp_path / "f", "/opt/file", read_only=True)
    before = Path("/proc/self/mountinfo").read_text()
    host.must(b, one)
    assert cat(host, "/data/deep/f") == cat(host, "/opt/file") == "machine\n"
    host.run("a", "sh", "-c", "echo host > /data/deep/g")
    assert (tmp_path / "g").read_text() == "host\n"
    with pytest.raises(subprocess.CalledProcessError):
        host.run("a", "sh", "-c", "echo no > /opt/file")
    assert [seen(host, r) for r in (b, one)] == [b, one]
    changed = replace(b, read_only=True)
    assert list(host.files.update([(b, changed)], host.handles)) == [Done(b.id)]
    assert seen(host, b) == changed
    with pytest.raises(subprocess.CalledProcessError):
        host.run("a", "touch", "/data/deep/h")
    assert Path("/proc/self/mountinfo").read_text() == before
    gone(host, b, one)
    assert host.run("a", "sh", "-c", "ls -d /data /opt/file 2>/dev/null || echo none") == "none\n"
    assert sorted(p.name for p in tmp_path.iterdir() if p.name in "fg") == ["f", "g"]
    assert [seen(host, r) for r in (b, one)] == [None, None]


def test_no_file_is_written_into_a_bind(host: Lab, tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    host.must(bind(folder, "/data"))
    assert "whose files are not the host's own" in reason(host, file("/data/f"))
    assert "whose files are not the host's own" in reason(host, file("/data/new/f"))
    assert list(folder.iterdir()) == []


def test_a_bind_of_what_is_not_there_is_refused_before_anything_is_made(host: Lab, tmp_path: Path) -> None:
    (refused,) = host.files.unable([bind(tmp_path / "none", "/data")])
    assert refused.reason == f"{tmp_path}/none on this machine: No such file or directory"
    assert "there is a file in its place, and the machine's is a folder" in reason(
        host, bind(tmp_path, "/etc/passwd")
    )


def test_a_bind_that_somebody_unmounted_shows(host: Lab, tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    b = bind(folder, "/data")
    host.must(b)
    host.run("a", "umount", "/data")
    assert seen(host, b) is None
    host.must(b)
    assert seen(host, b) == b
