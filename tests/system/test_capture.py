"""`vtopo capture`: what it tells and writes is what the kernel carried; it changes nothing, and holds nothing back."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shutil
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli import NETNS, Vtopo, eventually
from machine import LAB_PREFIX
from pcapng_file import Packet, packets

ETH_P_EXPERIMENT = 0x88B5
needs_libpcap = pytest.mark.skipif(shutil.which("tcpdump") is None, reason="no libpcap")

LAB = """\
bridge lan { subnet 10.0.0.0/24; ageing 300s }
host a
host b
link a -- lan
link b -- lan
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vtopo]:
    """One lab for all that change nothing in it."""
    command = Vtopo(tmp_path_factory.mktemp("capture"), f"{LAB_PREFIX}-capture")
    command("up", command.write(LAB))
    yield command
    command.close()


class Listening:
    """A capture that listens already; `end` has it end as it likes, and gives what it printed."""

    def __init__(self, vtopo: Vtopo, *args: str) -> None:
        self.process = vtopo.start("capture", *args)
        self.said: list[str] = []
        assert self.process.stderr is not None
        # While it speaks of nothing, nobody reads: a line is enough.
        self.said.append(self.process.stderr.readline().decode())
        assert self.said[0].startswith("listening on "), self.said[0] + self.process.stderr.read().decode()

    def end(self, interrupt: bool = True, status: int = 0) -> bytes:
        if interrupt:
            self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=20)
        self.said += err.decode().splitlines()
        assert self.process.returncode == status, self.said
        assert "Traceback" not in err.decode()
        return out


@contextlib.contextmanager
def listening(vtopo: Vtopo, *args: str) -> Iterator[Listening]:
    capture = Listening(vtopo, *args)
    try:
        yield capture
    finally:
        if capture.process.poll() is None:
            capture.process.kill()
            capture.process.wait()


def sent(vtopo: Vtopo, node: str, *frames: bytes) -> None:
    """Send frames as they are out of eth0 of a host."""
    with vtopo.node(node).socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind(("eth0", 0))
        for frame in frames:
            raw.send(frame)


def frame(text: bytes, tag: bytes = b"") -> bytes:
    return (
        b"\xff" * 6
        + bytes.fromhex("020000000099")
        + tag
        + struct.pack("!H", ETH_P_EXPERIMENT)
        + text.ljust(46, b"\0")
    )


def told(found: list[Packet], text: bytes) -> list[tuple[str, bool]]:
    """Where the frames with a text were seen, in order, and whether they were sent there."""
    return [(p.interface, p.is_sent) for p in found if text in p.data]


def test_a_line_a_packet_of_every_interface_that_is_named(running: Vtopo) -> None:
    with listening(running, "a:eth0", "lan", "-c", "400", "--for", "20s") as capture:
        running.exec("b", "ping", "-c1", "-W2", "10.0.0.1")
        lines = capture.end().decode().splitlines()
    assert capture.said[0] == "listening on a:eth0, lan:eth0, lan:eth1; Ctrl-C ends\n"
    shape = re.compile(r"\d\d:\d\d:\d\d\.\d{6} (a:eth0  |lan:eth[01]) (In |Out) .+")
    assert [line for line in lines if not shape.fullmatch(line)] == []
    request = [line.split()[1:3] for line in lines if "10.0.0.2 > 10.0.0.1: ICMP echo request" in line]
    assert sorted(request) == [["a:eth0", "In"], ["lan:eth0", "Out"], ["lan:eth1", "In"]]
    assert f"{len(lines)} packets" in capture.said


def test_json_has_a_document_a_packet(running: Vtopo) -> None:
    process = running.start("capture", "a:eth0", "-c", "1", "--json")
    while process.poll() is None:
        sent(running, "b", frame(b"x"))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
    (line,) = process.communicate()[0].splitlines()
    document = json.loads(line)
    assert document["interface"] == "a:eth0"
    assert document.keys() == {"time", "interface", "direction", "bytes", "text"}


def test_a_file_for_wireshark_and_an_interface_as_it_was(running: Vtopo) -> None:
    target = running.folder / "x.pcapng"
    target.write_text("what was there")
    with listening(running, "a", "b:eth0", "-w", "x.pcapng") as capture:
        links = running.node("a").links()["eth0"]
        assert (links["promiscuity"], "PROMISC" in links["flags"]) == (0, False)
        between = (frame(b"%d" % number) for number in range(300))
        sent(running, "a", frame(b"first"), *between, frame(b"second"))
        # Whoever looks at it while it is written finds whole blocks.
        eventually(lambda: len(told(packets(target.read_bytes()), b"second")) == 2)
        capture.end()
    found = packets(target.read_bytes())
    for text in (b"first", b"second"):
        assert told(found, text) == [("a:eth0", True), ("b:eth0", False)]
    assert sorted(p.at for p in found) == [p.at for p in found]
    assert target.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in running.folder.glob(".x*")] == []
    if shutil.which("tcpdump"):
        read = subprocess.run(["tcpdump", "-nr", target], capture_output=True, text=True, check=True).stdout
        assert len([line for line in read.splitlines() if not line.startswith("\t")]) == len(found)


def test_no_file_is_written_through_a_link(running: Vtopo) -> None:
    victim = running.folder / "victim"
    victim.write_text("mine")
    (running.folder / "link").symlink_to(victim)
    assert "symbolic link" in running("capture", "a", "-w", "link", status=2).err
    assert victim.read_text() == "mine"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_said_and_what_was_written_stays_whole(running: Vtopo) -> None:
    disk = running.folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "none", disk], check=True)
    try:
        with listening(running, "a", "-w", "disk/x.pcapng") as capture:
            for number in range(300):
                sent(running, "a", frame(b"%d" % number))
            capture.end(interrupt=False, status=1)
        assert "No space left on device" in "".join(capture.said)
        assert told(packets((disk / "x.pcapng").read_bytes()), b"0")
    finally:
        subprocess.run(["umount", disk], check=True)


@needs_libpcap
def test_a_filter_sees_vlan_tags_and_what_it_does_not_take_is_not_there(running: Vtopo) -> None:
    tag = struct.pack("!HH", 0x8100, 7)
    for expression, expected in (
        ("ether proto 0x88b5", [(True, False), (False, True)]),
        ("vlan 7", [(False, True)]),
        ("ether proto 0x1234", []),
    ):
        with listening(running, "b:eth0", "-f", expression, "-w", "-") as capture:
            sent(running, "a", frame(b"plain"), frame(b"tagged", tag))
            running.exec("a", "ping", "-c1", "-W1", "10.0.0.2")
            found = packets(capture.end())
        assert [(b"plain" in p.data, frame(b"tagged", tag) == p.data) for p in found] == expected
    assert "no capture filter" in running("capture", "a", "-f", "no such thing", status=1).err


def test_it_ends_with_its_reader_and_writes_no_packets_to_a_terminal(running: Vtopo) -> None:
    process = running.start("capture", "a", "-w", "-")
    assert process.stdout is not None
    assert process.stdout.read(4) == b"\x0a\x0d\x0d\x0a"
    process.stdout.close()
    assert process.wait(10) == 0, "though nothing passes"
    assert process.stderr is not None
    process.stderr.close()
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            running.argv("capture", "a", "-w", "-"),
            stdout=theirs,
            stderr=subprocess.PIPE,
            env=running.environment(),
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 2
    assert b"wireshark" in done.stderr


def test_it_outlives_a_flapping_link_and_holds_no_lab_back(vtopo: Vtopo) -> None:
    vtopo("up", vtopo.write(LAB))
    with listening(vtopo, "a", "lan", "-w", "-") as capture:
        out: list[bytes] = []
        assert capture.process.stdout is not None
        reader = threading.Thread(target=lambda: out.append(capture.process.stdout.read()))  # type: ignore[union-attr]
        reader.start()
        for action in ("down", "up"):
            vtopo("link", "a", "lan", action)
        vtopo.exec("b", "ping", "-c3", "-i0.2", "-W2", "-pabcdef", "10.0.0.1")
        vtopo("down")
        assert not (NETNS / f"vtopo.{vtopo.lab}.a").exists()
        reader.join(10)
        assert capture.process.wait(10) == 1
        assert capture.process.stderr is not None
        said = capture.process.stderr.read().decode()
    for name in ("a:eth0", "lan:eth0", "lan:eth1"):
        assert f"{name} is gone" in said
    assert ("a:eth0", False) in told(packets(out[0]), b"\xab\xcd\xef" * 5)


def test_what_is_not_there_is_said_with_what_is(running: Vtopo) -> None:
    assert "did you mean `lan:eth" in running("capture", "lan:eth5", status=1).err
    assert "did you mean `lan`?" in running("capture", "lam", status=1).err
    assert "`a` has no interface eth9 now" in running("capture", "a:eth9", status=1).err
    assert "a filter stands behind -f" in running("capture", "a", "icmp", status=1).err
    assert "needs a unit" in running("capture", "a", "--for", "5", status=2).err
    assert running("capture", "a:lo", "--for", "100ms").out == ""
