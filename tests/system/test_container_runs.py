"""Containers in a lab's transactions: with their links up or not at all, repaired, undone, whatever the engine does."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import docker
import pytest
from containers import OBEDIENT, Dockers
from engine import IMAGE, root, start
from lab import end

from vtopo.backends import docker_containers
from vtopo.backends.base import Backend
from vtopo.backends.docker_backend import DockerBackend
from vtopo.backends.namespaces import NamespaceBackend
from vtopo.backends.netlink import NetlinkBackend
from vtopo.compile.resources import Address, Container, Host, Resource, Scratch, Veth
from vtopo.plan.plan import Plan
from vtopo.run.events import RunFailed
from vtopo.run.transaction import down, preview, standing, up
from vtopo.state.folder import StateDir


class Runs:
    """`up` and `down` of a lab of hand-made resources."""

    def __init__(self, dockers: Dockers, folder: Path) -> None:
        self.dockers = dockers
        self.lab = dockers.lab
        self.state = StateDir(folder / "state")

    def backends(self) -> tuple[NamespaceBackend, DockerBackend, NetlinkBackend]:
        return NamespaceBackend(self.lab), DockerBackend(self.lab), NetlinkBackend(self.lab)

    def up(self, *resources: Resource) -> Plan:
        with self._process() as backends:
            return up(self.lab, resources, "/x.vlab", backends, self.state).plan

    def down(self) -> None:
        with self._process() as backends:
            down(self.lab, backends, self.state)

    def drift(self) -> list[tuple[str, str]]:
        with self._process() as backends:
            drift = standing(self.lab, backends, self.state).drift
        return [(str(s.change), s.resource.id) for s in drift.steps]

    @contextlib.contextmanager
    def _process(self) -> Iterator[Sequence[Backend]]:
        """Backends that hold no namespace longer than a command would."""
        *others, netlink = self.backends()
        try:
            yield (*others, netlink)
        finally:
            netlink.close()

    def container(self, node: str, **fields: object) -> Container:
        return self.dockers.container(node, **fields)

    def host(self, node: str) -> Host:
        return Host(
            id=f"{node}/host", needs=("scratch",), node=node, name=f"vtopo.{self.lab}.{node}", hostname=node
        )

    def link(self, a: Resource, b: Resource, number: int) -> list[Resource]:
        ids = (a.id, b.id)
        left, right = (end(id_, f"eth{number}", 2 * number + i) for i, id_ in enumerate(ids))
        pair = Veth(id=f"{number}/veth", needs=ids, within=ids, left=left, right=right)
        return [
            pair,
            *(
                Address(
                    id=f"{number}/{i}/address",
                    needs=(pair.id,),
                    within=(pair.id,),
                    netns=id_,
                    device=f"eth{number}",
                    address=f"10.{number}.0.{i}/24",
                )
                for i, id_ in enumerate(ids, 1)
            ),
        ]

    def pair(self, **fields: object) -> list[Resource]:
        """A host and a container on one link."""
        host, web = self.host("h"), self.container("web", **fields)
        return [Scratch(id="scratch"), host, web, *self.link(host, web, 1)]

    def pings(self) -> bool:
        """Whether the host reaches the container."""
        command = ["ip", "netns", "exec", f"vtopo.{self.lab}.h", "ping", "-c1", "-W2", "10.1.0.2"]
        return subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == 0


@pytest.fixture
def runs(dockers: Dockers, tmp_path: Path) -> Iterator[Runs]:
    runs = Runs(dockers, tmp_path)
    yield runs
    try:
        runs.down()
    finally:
        for backend in runs.backends():
            backend.sweep()


def test_a_container_is_a_node_like_any_other(runs: Runs) -> None:
    lab = runs.pair()
    runs.up(*lab)
    assert runs.pings()
    assert runs.drift() == []
    assert not runs.up(*lab)
    runs.down()
    assert runs.dockers.backend.traces() == []


def test_a_limit_is_changed_in_place_and_a_command_makes_anew_with_the_links(runs: Runs) -> None:
    runs.up(*runs.pair())
    first = runs.dockers.inspect("web")["Id"]
    plan = runs.up(*runs.pair(memory=64 << 20))
    assert [(str(s.action), s.resource.id, str(s.changed[0])) for s in plan.steps] == [
        ("update", "web/container", "memory none → 67108864")
    ]
    assert runs.dockers.inspect("web")["Id"] == first
    plan = runs.up(*runs.pair(memory=64 << 20, env=("A=1",)))
    replaced = {s.resource.id for s in plan.steps if str(s.change) == "replace"}
    assert replaced == {"web/container", "1/veth", "1/1/address", "1/2/address"}
    assert runs.dockers.inspect("web")["Id"] != first
    assert runs.pings()


@pytest.mark.parametrize("how", ["restart", "kill", "stop"])
def test_up_plugs_a_container_in_again_that_was_restarted_or_stopped(runs: Runs, how: str) -> None:
    lab = runs.pair()
    runs.up(*lab)
    first = runs.dockers.inspect("web")["Id"]
    subprocess.run(["docker", how, runs.dockers.name("web"), *(["-t0"] if how != "kill" else [])], check=True)
    end = time.monotonic() + 5
    while runs.pings():  # Docker takes the namespace away in its own time
        assert time.monotonic() < end
    assert ("update", "web/container") in runs.drift()
    plan = runs.up(*lab)
    changes = {s.resource.id: str(s.change) for s in plan.steps}
    assert changes == {
        "web/container": "update",
        "1/veth": "create",
        "1/1/address": "create",
        "1/2/address": "create",
    }
    assert runs.dockers.inspect("web")["Id"] == first
    assert runs.pings()
    assert runs.drift() == []


def test_one_that_cannot_run_undoes_all(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker_containers, "GRACE", 2)  # on a busy machine, ending takes its time
    broken = runs.container("broken", command=("sh", "-c", "echo no config; exit 78"))
    with pytest.raises(RunFailed) as failed:
        runs.up(*runs.pair(), broken)
    assert [f.resource.id for f in failed.value.failures] == ["broken/container"]
    assert "exited with status 78 at once; it said last:\n  no config" in failed.value.failures[0].reason
    assert failed.value.undone
    assert runs.dockers.backend.traces() == []


def test_what_cannot_be_is_refused_before_anything_is_made(runs: Runs) -> None:
    with pytest.raises(RunFailed) as failed:
        runs.up(*runs.pair(image="nope:1", pull="never"))
    assert failed.value.refused
    assert runs.dockers.docker.containers(all=True, filters={"label": f"vtopo.lab={runs.lab}"}) == []


def test_an_undo_stops_again_what_was_stopped(runs: Runs) -> None:
    lab = runs.pair(command=OBEDIENT)
    runs.up(*lab)
    runs.dockers.docker.stop(runs.dockers.name("web"), timeout=0)
    with pytest.raises(RunFailed):
        runs.up(*lab, runs.container("broken", command=("false",)))
    assert runs.dockers.inspect("web")["State"]["Status"] == "exited"
    runs.up(*lab)
    assert runs.pings()


def test_many_go_side_by_side(runs: Runs) -> None:
    many = [runs.container(f"c{i}") for i in range(12)]
    runs.up(*many)
    assert len(runs.dockers.backend.traces()) == 12
    told = [runs.dockers.inspect(r.node) for r in many]
    lives = sorted((each["Created"], each["State"]["StartedAt"]) for each in told)
    beside = sum(created < started for (_, started), (created, _) in itertools.pairwise(lives))
    assert beside > 3, "one was asked for before the last had started"


def test_killed_in_the_middle_the_next_up_finishes_and_down_leaves_nothing(runs: Runs) -> None:
    code = (
        "import sys; sys.path[:0] = {path!r}\n"
        "from containers import OBEDIENT, Dockers; from test_container_runs import Runs; from pathlib import Path\n"
        "runs = Runs(Dockers({lab!r}, None), Path({folder!r}))\n"
        "runs.up(*runs.pair(), *[runs.container(f'c{{i}}') for i in range(6)])\n"
    )
    text = code.format(path=sys.path, lab=runs.lab, folder=str(runs.state.path.parent))
    process = subprocess.Popen([sys.executable, "-c", text])
    while len(runs.dockers.backend.traces()) < 3 and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert preview(runs.lab, runs.pair(), runs.backends(), runs.state)
    runs.up(*runs.pair())
    assert runs.pings()
    assert set(runs.dockers.backend.traces()) == {f"container {runs.dockers.name('web')}"}
    process = subprocess.Popen([sys.executable, "-c", text])
    while len(runs.dockers.backend.traces()) < 4 and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    process.wait()
    runs.down()
    assert runs.dockers.backend.traces() == []


# An engine that dies


@pytest.fixture
def mortal(monkeypatch: pytest.MonkeyPatch, engine: docker.APIClient) -> Iterator[Mortal]:
    """An engine that may be killed, in a network of its own: without that it would take the other's bridge away."""
    folder = Path(tempfile.mkdtemp(prefix="vtopo-"))  # a short name: it holds sockets
    own = Mortal(folder)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{own.socket}")
    own.start()
    client = docker.APIClient(f"unix://{own.socket}", version="auto")
    repository, _, tag = IMAGE.partition(":")
    client.import_image_from_data(
        root(), repository=repository, tag=tag, changes=['CMD ["sh"]', "ENV PATH=/bin"]
    )
    own.client = client
    yield own
    for each in client.containers(all=True):
        client.remove_container(each["Id"], force=True)
    own.end()
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for path in reversed([m for m in mounts if m.startswith(str(folder))]):  # what was killed left them
        subprocess.run(["umount", path], check=True)
    shutil.rmtree(folder)


class Mortal:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "docker.sock"
        self.log = (folder / "log").open("ab")
        self.reapers: list[subprocess.Popen[bytes]] = []
        self.client: docker.APIClient

    def start(self) -> None:
        arguments = ("-H", f"unix://{self.socket}", "--bridge=none", "--iptables=false", "--ip-forward=false")
        # What the engine leaves behind when it is killed has to be reaped, or the next one takes it for alive.
        reaper = ("tini", "-s", "--", "sh", "-c", '"$@" & wait; exec sleep 600', "sh")
        self.reapers.append(start(self.folder, self.log, *arguments, before=(*reaper, "unshare", "--net")))
        for _ in range(200):
            try:
                docker.APIClient(f"unix://{self.socket}", version="auto").close()
                return
            except docker.errors.DockerException:
                time.sleep(0.1)
        raise AssertionError((self.folder / "log").read_text()[-500:])

    def kill(self, number: int = signal.SIGKILL) -> None:
        pid = int((self.folder / "pid").read_text())
        os.kill(pid, number)
        while Path(f"/proc/{pid}").exists():
            time.sleep(0.02)

    def end(self) -> None:
        self.kill(signal.SIGTERM)
        for reaper in self.reapers:
            reaper.terminate()
            reaper.wait(30)
        self.log.close()


@pytest.mark.parametrize("comes_back", [True, False])
def test_an_engine_killed_in_the_middle_of_up(
    mortal: Mortal, lab_name: str, tmp_path: Path, comes_back: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vtopo.backends.docker_engine.COMES_BACK", 20.0 if comes_back else 0.5)
    theirs = mortal.client.create_container_from_config(
        {"Image": IMAGE, "Tty": True, "OpenStdin": True, "HostConfig": {"NetworkMode": "none"}}, "theirs"
    )["Id"]
    runs = Runs(Dockers(lab_name, mortal.client), tmp_path)
    lab = [*runs.pair(), *(runs.container(f"c{i}") for i in range(8))]

    def disaster() -> None:
        while len(runs.dockers.backend.traces()) < 3:
            time.sleep(0.02)
        mortal.kill()
        if comes_back:
            time.sleep(1)
            mortal.start()

    thread = threading.Thread(target=disaster)
    thread.start()
    with pytest.raises(RunFailed) as failed:
        runs.up(*lab)
    thread.join()
    assert any("the Docker engine went away" in f.reason for f in failed.value.failures)
    if not comes_back:
        assert failed.value.left, "it is said that not all could be undone"
        assert "the Docker engine" in failed.value.left[0].reason
        mortal.start()
        runs.down()
    else:
        assert failed.value.undone
    assert [c["Id"] for c in mortal.client.containers(all=True)] == [theirs]
    runs.up(*lab)
    assert runs.pings()
    runs.down()
    assert [c["Id"] for c in mortal.client.containers(all=True)] == [theirs]
    for backend in runs.backends():
        backend.sweep()


def test_the_state_of_a_lab_without_its_engine_is_said(mortal: Mortal, lab_name: str, tmp_path: Path) -> None:
    runs = Runs(Dockers(lab_name, mortal.client), tmp_path)
    lab = runs.pair()
    runs.up(*lab)
    mortal.kill()
    with pytest.raises(Exception, match="the Docker engine is down"):
        runs.up(*lab)
    with pytest.raises(RunFailed) as failed:
        runs.down()
    assert "the Docker engine is down" in failed.value.failures[0].reason
    mortal.start()
    runs.down()
    assert mortal.client.containers(all=True) == []


def test_a_lab_without_containers_needs_no_engine(
    lab_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonesuch.sock")
    runs = Runs(Dockers(lab_name, None), tmp_path)
    lab = [r for r in runs.pair() if r.kind in ("scratch", "host")]
    runs.up(*lab)
    assert runs.drift() == []
    runs.down()
