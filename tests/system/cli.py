"""Runs the command as its users do, a fresh process each time, and asks the kernel what came of it."""

# ruff: noqa: PTH116, PTH208

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from fork_server import ForkServer

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
LABS = ROOT / "labs"
NETNS = Path("/run/netns")
RUN = Path("/run/vtopo")
CLONE_NEWNET = 0x40000000


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def events(self) -> list[Any]:
        """What it said in JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True)
class Node:
    """A namespace of a lab by its name in /run/netns; `pid` is the init of the host behind it."""

    name: str

    @property
    def inode(self) -> int:
        return os.stat(NETNS / self.name).st_ino

    @property
    def pid(self) -> int:
        (pid,) = (p for p in processes_in(self.inode) if _is_first(p))
        return pid

    def ip(self, *args: str) -> Any:
        """What ip(8) says there, with details."""
        return _json("ip", "-n", self.name, "-j", "-d", *args)

    def bridge(self, *args: str) -> Any:
        """What bridge(8) says there."""
        return _json("bridge", "-n", self.name, "-j", *args)

    def change(self, *args: str) -> None:
        """What somebody does there by hand with ip(8)."""
        subprocess.run(["ip", "-n", self.name, *args], check=True)

    def links(self) -> dict[str, Any]:
        return {link["ifname"]: link for link in self.ip("link")}

    def addresses(self, device: str) -> set[str]:
        """The global addresses of an interface, with their lengths."""
        (link,) = self.ip("address", "show", "dev", device)
        found = (a for a in link["addr_info"] if a["scope"] == "global")
        return {f"{a['local']}/{a['prefixlen']}" for a in found}

    def routes(self, family: str = "-4") -> dict[str, str]:
        """Destination to next hop, of the main table's routes that have one."""
        return {r["dst"]: r["gateway"] for r in self.ip(family, "route") if "gateway" in r}

    def sysctl(self, key: str) -> str:
        path = f"/proc/sys/{key.replace('.', '/')}"
        return self.run("cat", path).strip()

    def run(self, *argv: str) -> str:
        """The output of a command in all the host's namespaces, by nsenter(1)."""
        command = ["nsenter", "-t", str(self.pid), "-m", "-u", "-i", "-n", "-p", *argv]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def socket(self, *args: int) -> socket.socket:
        """A socket that belongs to this namespace."""
        return socket_in(NETNS / self.name, *args)

    def facts(self) -> Any:
        """All that identifies the namespace and what is in it, comparable from one moment to another."""
        links = [
            (
                link["ifindex"],
                link["ifname"],
                link["mtu"],
                link.get("master"),
                link.get("address"),
                sorted(f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if a["scope"] == "global"),
            )
            for link in self.ip("address")
        ]
        return self.inode, [identity(p) for p in processes_in(self.inode)], links, self.routes()


def within(netns: Path, work: Callable[[], T]) -> T:
    """Do `work` in a network namespace."""
    done: list[T] = []
    fd = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)

    def enter() -> None:  # in a thread, since a namespace is a thread's own
        if ctypes.CDLL(None, use_errno=True).setns(fd, CLONE_NEWNET) == 0:
            done.append(work())

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    os.close(fd)
    return done[0]


def socket_in(netns: Path, *args: int) -> socket.socket:
    """A socket that belongs to a network namespace."""
    return within(netns, lambda: socket.socket(*args))


servers: list[ForkServer] = []
"""The one that called commands are forked from, as long as there is one."""


class Vtopo:
    """The command, with a state directory and a lab of the test's own."""

    def __init__(self, folder: Path, lab: str, prefix: Sequence[str] = ()) -> None:
        self.folder = folder
        self.lab = lab
        self.state = folder / "state"
        self._labs = {lab}
        self._prefix = tuple(prefix)

    def close(self) -> None:
        """Take away, by its marks alone, what the test left of its labs."""
        shutil.rmtree(self.state, ignore_errors=True)
        for lab in self._labs:
            if marked(lab) or (RUN / lab).exists() or Vtopo(self.folder, lab).names():
                self("down", lab)

    def __call__(
        self,
        *args: str | Path,
        status: int = 0,
        stdin: str | bytes = "",
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
        patience: float = 100,
        fresh: bool = False,
    ) -> Result:
        """Run it to its end, which is to be `status`, within some seconds; with `fresh`, by a Python that has imported
        nothing yet."""
        given = stdin.encode() if isinstance(stdin, str) else stdin
        if servers and env is None and not self._prefix and not fresh:
            words = [str(a) for a in args]
            told = servers[0].run(words, cwd or self.folder, self.environment(), given, patience)
        else:
            told = self._started(given, args, cwd, env, patience)
        result = Result(told[0], *(text.decode(errors="replace") for text in told[1:]))
        assert "Traceback" not in result.err + result.out, result
        assert "vtopo itself is at fault" not in result.err
        assert result.status == status, f"{args}: {result}"
        return result

    def _started(
        self,
        given: bytes,
        args: Sequence[str | Path],
        cwd: Path | None,
        env: dict[str, str] | None,
        patience: float,
    ) -> tuple[int, bytes, bytes]:
        with self.start(*args, cwd=cwd, env=env) as process:
            try:
                out, err = process.communicate(given, patience)
            except BaseException:
                process.kill()
                raise
        return process.returncode, out, err

    def start(
        self,
        *args: str | Path,
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
        by: Sequence[str] = (),
    ) -> subprocess.Popen[bytes]:
        """Start it, with pipes for its input and output, or have the command `by` start it."""
        return subprocess.Popen(
            [*by, *self.argv(*args)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd or self.folder,
            env=self.environment(env),
        )

    def on_terminal(self, *args: str | Path, keys: bytes = b"") -> tuple[int, bytes]:
        """Run it on a terminal at which `keys` are typed; its status, and what the terminal showed."""
        ours, theirs = pty.openpty()
        ends = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        with subprocess.Popen(
            self.argv(*args), cwd=self.folder, env=self.environment(), start_new_session=True, **ends
        ) as running:
            os.close(theirs)
            os.write(ours, keys)
            said = b""
            with contextlib.suppress(OSError):  # the other end is closed
                while part := os.read(ours, 4096):
                    said += part
            os.close(ours)
            return running.wait(60), said

    def argv(self, *args: str | Path) -> list[str]:
        """The words that start it."""
        return [*self._prefix, sys.executable, "-m", "vtopo", *map(str, args)]

    def environment(self, more: dict[str, str] | None = None) -> dict[str, str]:
        """The environment that it runs in."""
        own = {"VTOPO_STATE_DIR": str(self.state), "PYTHONPATH": str(ROOT)}
        environ = {**os.environ, **own, **(more or {})}
        environ.pop("VTOPO_FROZEN", None)
        return environ

    def write(self, text: str, lab: str | None = None) -> Path:
        """A lab file of the test's lab, or of another."""
        self._labs.add(lab or self.lab)
        path = self.folder / f"{lab or self.lab}.vlab"
        path.write_text(f"lab {lab or self.lab}\n{text}")
        return path

    def exec(self, node: str, *argv: str, status: int = 0, stdin: str | bytes = "") -> Result:
        return self("exec", "--lab", self.lab, node, "--", *argv, status=status, stdin=stdin)

    def node(self, name: str) -> Node:
        """A host, by its full name in the lab."""
        return Node(f"vtopo.{self.lab}.{name}")

    @property
    def fabric(self) -> Node:
        """Where the lab's own bridges are."""
        return Node(f"vtopo.{self.lab}")

    def names(self) -> list[str]:
        """The lab's names in /run/netns."""
        found = os.listdir(NETNS) if NETNS.is_dir() else []
        return sorted(n for n in found if n == f"vtopo.{self.lab}" or n.startswith(f"vtopo.{self.lab}."))

    def facts(self) -> dict[str, Any]:
        """The facts of all the lab's namespaces."""
        return {name: Node(name).facts() for name in self.names()}


def _json(*argv: str) -> Any:
    out = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    return json.loads(out) if out.strip() else []


def with_lab_name(path: Path, lab: str, folder: Path) -> Path:
    """A copy of a lab file that bears another name, so that it meets no lab that runs."""
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines):
        words = line.split()
        if words[:1] == ["lab"]:
            lines[number] = line.replace(words[1], lab, 1)
            break
    else:
        lines.insert(0, f"lab {lab}")
    for module in (*path.parent.glob("*.vlab"), *path.parent.glob("*.j2")):
        shutil.copy(module, folder)
    copy = folder / path.name
    copy.write_text("\n".join(lines) + "\n")
    return copy


def pids() -> Iterator[int]:
    yield from (int(p) for p in os.listdir("/proc") if p.isdigit())


def processes_in(netns: int) -> list[int]:
    """The processes of a network namespace, by its inode."""
    found = []
    for pid in pids():
        try:
            if os.stat(f"/proc/{pid}/ns/net").st_ino == netns and identity(pid)[1] not in "ZX":
                found.append(pid)
        except OSError:
            continue
    return sorted(found)


def marked(lab: str) -> list[int]:
    """The processes that were started for a lab."""
    found = []
    mark = f"VTOPO_LAB={lab}".encode()
    for pid in pids():
        try:
            with Path(f"/proc/{pid}/environ").open("rb", buffering=0) as f:
                if mark in (f.readall() or b"").split(b"\0"):
                    found.append(pid)
        except OSError:
            continue
    return found


def inits(lab: str) -> list[int]:
    """Those of them that are the first of a pid namespace: one a host."""
    return [pid for pid in marked(lab) if _is_first(pid)]


def identity(pid: int) -> tuple[int, str, str]:
    """A process: its number, its state and when it started, which together with the number is unique."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    state = "S" if fields[0] in "RSD" else fields[0]
    return pid, state, fields[19]


def _is_first(pid: int) -> bool:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return False
    for line in lines:
        if line.startswith("NSpid:"):
            return len(line.split()) > 2 and line.split()[-1] == "1"
    return False


def eventually(condition: Callable[[], Any], seconds: float = 30) -> Any:
    """What the condition says once it holds."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come to hold"
        time.sleep(0.005)
    return found


class World:
    """Process, mount and network namespaces of the test's own, where `--all` can mean no one else's labs."""

    def __init__(self) -> None:
        reaper = (
            "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN); print('up', flush=True)\n"
            "while True: signal.pause()"
        )
        # What is mounted under /run elsewhere would still be listed here, beneath the new one.
        mounted = "awk '$5 ~ \"^/run/\" {print $5}' /proc/self/mountinfo | tac"
        script = f'{mounted} | xargs -r umount -l; mount -t tmpfs none /run && exec "$0" -c "$1"'
        spaces = ("-m", "-n", "-p", "-f", "--kill-child", "--mount-proc")
        self._process = subprocess.Popen(
            ["unshare", *spaces, "sh", "-c", script, sys.executable, reaper],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdout
        assert self._process.stdout.readline() == b"up\n"
        (first,) = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        self.first = int(first)
        self.prefix = ("nsenter", "-t", first, "-m", "-n", "-p")

    def run(self, *argv: str) -> str:
        """The output of a command there."""
        return subprocess.run([*self.prefix, *argv], capture_output=True, text=True, check=True).stdout

    def socket(self, *args: int) -> socket.socket:
        """A socket of the machine that this is."""
        return socket_in(Path(f"/proc/{self.first}/ns/net"), *args)

    def left(self) -> list[str]:
        """What there is of labs: processes besides the first, names, and folders under /run."""
        processes = self.run("ps", "-A", "-o", "stat=,pid=,args=").splitlines()
        seen = [p.strip() for p in processes if not p.startswith("Z") and p.split()[1] != "1"]
        return [p for p in seen if " ps -A" not in p] + self.run("ls", "/run").split()

    def close(self) -> None:
        os.kill(self.first, signal.SIGKILL)
        self._process.wait()
        assert self._process.stdout
        self._process.stdout.close()
