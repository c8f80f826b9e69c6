"""Where sweeps take place: a lab that comes up, is edited and goes in forked processes, and a look at all of it.

What is there is asked of the kernel with other people's tools, in a form that is the same from one run to the next.
"""

# ruff: noqa: PTH208

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import machine
from cli import within
from faults import Faults, Faulty, Point, disturb_calls, disturb_journal
from forks import forked

from vtopo.backends.base import BackendError
from vtopo.cli.world import backends_of
from vtopo.compile.resources import Bridge, Gate, Host, Nat, Netns, Resource, Veth
from vtopo.run.events import RunFailed, StepFailed
from vtopo.run.transaction import down, preview, up
from vtopo.state.folder import StateDir, StateError

STATE = Path("/run/state")


@dataclass(frozen=True)
class Failure:
    """How a run failed: the words of what stopped it, the steps that failed, and what it says of the end."""

    text: str
    steps: tuple[StepFailed, ...] = ()
    undone: bool = True


@dataclass(frozen=True)
class Ran:
    """What a run came to, with the points that it passed."""

    points: Sequence[Point]
    failure: Failure | None


class Ground:
    """One lab on a machine of its own. Each run is a process of its own."""

    def __init__(self, lab: str, state: StateDir) -> None:
        self.lab = lab
        self.state = state
        self.lab_shape: object = None
        self.edited_shape: object = None
        self.translates = False  # only then there is a use for nft(8), a process at every look

    def up(
        self,
        wanted: Sequence[Resource],
        faults: Faults | None = None,
        first: Callable[[], None] = lambda: None,
    ) -> Ran | None:
        """Bring the lab up, after doing something `first` in its process; None if the run was killed."""

        def act(backends: Sequence[Any]) -> None:
            first()
            up(self.lab, wanted, "/sweep.vlab", backends, self.state)

        return self._run(faults, act)

    def down(self, faults: Faults | None = None) -> Ran | None:
        """Take it away; None if the run was killed."""
        return self._run(faults, lambda backends: down(self.lab, backends, self.state))

    def _run(self, faults: Faults | None, act: Callable[[Sequence[Any]], object]) -> Ran | None:
        def work() -> Ran:
            backends: Sequence[Any] = backends_of(self.lab)
            if faults is not None:
                disturb_journal(faults)
                disturb_calls(faults)
                backends = [Faulty(backend, faults) for backend in backends]
            failure = None
            try:
                act(backends)
            except RunFailed as e:
                failure = Failure(f"{e} {e.error or ''}", e.failures, e.undone)
            except (BackendError, StateError) as e:
                failure = Failure(f"{type(e).__name__}: {e}")
            return Ran(faults.seen if faults else (), failure)

        return forked(work).value

    def must_up(self, wanted: Sequence[Resource]) -> None:
        """Bring it up, which is to succeed and to leave nothing to do."""

        def work() -> list[str]:
            up(self.lab, wanted, "/sweep.vlab", backends_of(self.lab), self.state)
            plan = preview(self.lab, wanted, backends_of(self.lab), self.state)
            return [f"{step.change} {step.resource.id}: {step.reason}" for step in plan.steps]

        left = forked(work).value
        assert left == [], f"there is still something to do: {left}"

    def must_down(self) -> None:
        """Take it away, which is to succeed."""
        ran = self.down()
        assert ran and ran.failure is None, ran

    def learn(self, lab: Sequence[Resource], edited: Sequence[Resource]) -> None:
        """What a lab and its edited form look like where nothing disturbs them."""
        self.translates = any(isinstance(r, Nat | Gate) for r in (*lab, *edited))
        self.must_up(lab)
        self.lab_shape = self.shape()
        self.must_down()
        self.must_up(edited)
        self.edited_shape = self.shape()
        self.must_down()

    def clear(self) -> None:
        """Take away all that there is of the lab after something went wrong, whatever its records say."""
        shutil.rmtree(self.state.folder(self.lab), ignore_errors=True)
        self.down()
        for folder in ("/run/vtopo", "/run/netns"):
            with contextlib.suppress(OSError):
                os.rmdir(folder)  # noqa: PTH106

    def unable(self, wanted: Sequence[Resource]) -> str:
        """Why this machine cannot make a lab; empty if it can."""
        reasons = [
            failed.reason
            for backend in backends_of(self.lab)
            for failed in backend.unable([r for r in wanted if r.kind in backend.kinds])
        ]
        return reasons[0] if reasons else ""

    def names(self) -> list[str]:
        """The lab's namespaces by name."""
        prefix = f"vtopo.{self.lab}"
        return sorted(n for n in _listing("/run/netns") if n == prefix or n.startswith(f"{prefix}."))

    def inhabitants(self, of: Sequence[Resource]) -> list[str]:
        """Hosts and links among some resources, by the numbers that they keep for life: pids, inodes, indexes."""
        names = {r.id: r.name for r in of if isinstance(r, Host | Netns)}
        ends = [(end.netns, end.name) for r in of if isinstance(r, Veth) for end in (r.left, r.right)]
        ends += [(r.netns, r.name) for r in of if isinstance(r, Bridge)]
        found = []
        for netns, name in names.items():
            indexes = {link["ifname"]: link["ifindex"] for link in _json("ip", "-n", name, "-j", "link")}
            inode = os.stat(f"/run/netns/{name}").st_ino  # noqa: PTH116
            links = [(device, indexes.get(device)) for where, device in ends if where == netns]
            found.append(f"{name} {inode} {_pids_in(inode)} {links}")
        return found

    def shape(self) -> dict[str, Any]:
        """What the kernel says of the lab: namespaces, what is in them, who lives there."""
        shape: dict[str, Any] = {name: _namespace(name) for name in self.names()}
        if self.translates:
            own = {f"{name} nft": _rules("ip", "netns", "exec", name) for name in self.names()}
            shape |= {**own, "the machine": (_interfaces(), _rules())}
        return shape

    def left(self) -> list[str]:
        """All that a lab could leave on this machine, and that is there now."""
        return [
            *(*_processes(), *_mounts(self.lab), *_interfaces(), *_files(), *_cgroups(self.lab)),
            *(_rules() if self.translates else ()),
        ]

    def is_as(self, before: Sequence[str], seconds: float = 20) -> None:
        """All is as `before`, once the kernel has cleaned up."""
        end = time.monotonic() + seconds
        while (now := self.left()) != before and time.monotonic() < end:
            time.sleep(0.01)
        more, less = sorted(set(now) - set(before)), sorted(set(before) - set(now))
        assert now == before, f"there is more: {more}, there is less: {less}"


def apart(number: int = 0) -> Ground:
    """A ground in a world of this process's own; its lab has another name in each, since cgroups are the machine's."""
    machine.way_out()
    STATE.mkdir(mode=0o700)
    (STATE / "labs").mkdir(mode=0o700)
    return Ground(f"{machine.LAB_PREFIX}-world{number}", StateDir(STATE))


class MachineGround(Ground):
    """One lab on the machine itself, beside whatever else there is."""

    def left(self) -> list[str]:
        """All that the tests' labs could leave, and that is there now."""
        now = machine.look()
        return [f"{f.name} {text}" for f in fields(now) for text in sorted(getattr(now, f.name))]


def _json(*argv: str) -> Any:
    out = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    return json.loads(out) if out.strip() else []


def _lines(name: str, *commands: str) -> list[Any]:
    """What `ip` says to several commands in a namespace, in one process."""
    out = subprocess.run(
        ["ip", "-n", name, "-j", "-d", "-batch", "-"],
        input="\n".join(commands),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(out.rstrip()):
        value, at = decoder.raw_decode(out, at)
        found.append(value)
        at += 1  # the end of the line
    assert len(found) == len(commands), out
    return found


def _namespace(name: str) -> Any:
    links = []
    seen, routes_4 = _lines(name, "address", "route")
    for link in seen:
        info = link.get("linkinfo", {})
        data = info.get("info_data", {})
        addresses = sorted(
            f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if a["scope"] == "global"
        )
        links.append(
            (
                link["ifname"],
                link["mtu"],
                link["address"],
                link.get("master"),
                link.get("group"),
                "UP" in link["flags"],
                info.get("info_kind"),
                [data.get(key) for key in ("id", "port", "local", "link")],
                addresses,
            )
        )
    floods = [
        (entry["ifname"], entry["dst"])
        for entry in _json("bridge", "-n", name, "-j", "fdb")
        if entry.get("mac") == "00:00:00:00:00:00"
    ]
    routes = [
        (r["dst"], r["gateway"], r.get("protocol"))
        for r in (*routes_4, *_json("ip", "-n", name, "-j", "-6", "route"))
        if "gateway" in r
    ]
    inode = os.stat(f"/run/netns/{name}").st_ino  # noqa: PTH116
    return sorted(links), sorted(floods), sorted(routes), _forwards(name), _commands(inode)


def _forwards(name: str) -> list[str]:
    paths = [Path(f"/proc/sys/net/{key}") for key in ("ipv4/ip_forward", "ipv6/conf/all/forwarding")]
    return within(Path(f"/run/netns/{name}"), lambda: [path.read_text() for path in paths])


def _listing(path: str) -> list[str]:
    return os.listdir(path) if os.path.isdir(path) else []  # noqa: PTH112


def _pids_in(netns: int) -> list[str]:
    """The processes in a network namespace."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if os.stat(f"/proc/{pid}/ns/net").st_ino == netns:  # noqa: PTH116
                found.append(pid)
    return sorted(found)


def _commands(netns: int) -> list[str]:
    """The command lines of the processes in a network namespace."""
    found = []
    for pid in _pids_in(netns):
        with contextlib.suppress(OSError):
            found.append(Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " "))
    return sorted(found)


def _processes() -> list[str]:
    """All that live here but this one and those it comes from."""
    found = []
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            command = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
        if fields[0] not in "ZX" and pid not in (1, os.getpid()):
            found.append(f"process {command or pid}")
    return sorted(found)


def _mounts(lab: str) -> list[str]:
    """What is mounted under /run, or is the lab's by its source; elsewhere the machine's own come and go."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    mounts = [(line.split()[4], line.partition(" - ")[2]) for line in lines]
    return sorted(
        f"mount {at} {what}" for at, what in mounts if at.startswith("/run/") or f"vtopo:{lab}" in what
    )


def _interfaces() -> list[str]:
    return [f"interface {name}" for _, name in socket.if_nameindex()]


def _rules(*where: str) -> list[str]:
    """The nftables of the machine, or of a namespace that a command leads into."""
    out = subprocess.run(
        [*where, "nft", "list", "ruleset"], capture_output=True, text=True, check=True
    ).stdout
    return [f"nftables {line}" for line in out.splitlines()]


def _files() -> list[str]:
    """What is in /run, and of the state the labs that have any."""
    tree = (f"{folder}/{name}" for folder, dirs, files in os.walk("/run") for name in (*dirs, *files))
    # mount(8) of util-linux, which tests use, keeps a folder of its own there.
    ours = (path for path in tree if not path.startswith("/run/mount"))
    return sorted(f"file {path}" for path in ours if "/state/" not in path or "/labs/" in path)


def _cgroups(lab: str) -> list[str]:
    return sorted(f"cgroup {folder}" for folder, _, _ in os.walk("/sys/fs/cgroup") if lab in folder)
