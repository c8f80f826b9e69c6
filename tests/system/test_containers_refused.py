"""What cannot be a container of the lab's is refused with the reason, and nothing of others' is touched."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import docker
import pytest
from containers import Dockers, free_port
from engine import IMAGE, MUTE

from vtopo.backends import docker_containers
from vtopo.backends.base import BackendError, Failed
from vtopo.backends.docker_backend import DockerBackend
from vtopo.compile.resources import Build, DeviceAccess, DeviceIo, Mount, Port

# Bad input


def test_what_cannot_be_is_said_before_anything_is_made(dockers: Dockers, tmp_path: Path) -> None:
    def why(**fields: object) -> str:
        (reason,) = dockers.why_unable(dockers.container("a", **fields))
        return reason

    assert "there is no image nope:1 here, and `pull never`" in why(image="nope:1", pull="never")
    assert f"the image {MUTE} names no command to run" in why(image=MUTE)
    assert "there is no /nonesuch to bind to /x" in why(mounts=(Mount(source="/nonesuch", target="/x"),))
    assert "the device /dev/nonesuch" in why(devices=(DeviceAccess(device="/dev/nonesuch", access="r"),))
    assert "/dev/null is no block device" in why(io=(DeviceIo(device="/dev/null", read_bytes=1),))
    build = Build(context=str(tmp_path), digest="")
    assert f"there is no Dockerfile in {tmp_path}" in why(build=build, image="vtopo-build:0")
    weights = ("/sys/fs/cgroup/blkio/blkio.weight", "/sys/fs/cgroup/system.slice/io.weight")
    if not any(Path(path).exists() for path in weights):
        assert "has no weights of block I/O" in why(io_weight=300)
    with socket.socket() as occupant:
        occupant.bind(("0.0.0.0", 0))
        occupant.listen()
        port = occupant.getsockname()[1]
        reason = why(network="bridge", publish=(Port(host=port, container=80),))
        assert reason == f"port {port}/tcp of the machine is in use by another program"
    assert dockers.docker.containers(all=True, filters={"label": f"vtopo.lab={dockers.lab}"}) == []


def test_a_port_that_another_container_publishes_is_named_with_it(dockers: Dockers) -> None:
    port = free_port()
    theirs = _foreign(
        dockers,
        f"{dockers.lab}-web",
        HostConfig={"NetworkMode": "bridge", "PortBindings": {"80/tcp": [{"HostPort": f"{port}"}]}},
        ExposedPorts={"80/tcp": {}},
    )
    try:
        a = dockers.container("a", network="bridge", publish=(Port(host=port, container=80),))
        expected = f"port {port}/tcp of the machine is published by the container {dockers.lab}-web"
        assert dockers.why_unable(a) == [expected]
        (failed,) = dockers.make(a)
        assert isinstance(failed, Failed)
        assert "port is already allocated" in failed.reason
        assert dockers.backend.traces() == []
        assert dockers.docker.inspect_container(theirs)["State"]["Running"]
    finally:
        dockers.docker.remove_container(theirs, force=True)


def _foreign(dockers: Dockers, name: str, image: str = IMAGE, **config: object) -> str:
    """The id of a container that somebody else runs."""
    made = dockers.docker.create_container_from_config(
        {"Image": image, "Tty": True, "OpenStdin": True, "HostConfig": {"NetworkMode": "none"}, **config},
        name,
    )
    dockers.docker.start(made["Id"])
    return str(made["Id"])


def test_somebody_elses_container_of_that_name_is_left_alone(dockers: Dockers) -> None:
    a = dockers.container("a")
    theirs = _foreign(dockers, dockers.name("a"))
    try:
        (reason,) = dockers.why_unable(a)
        assert f"there is a container {dockers.name('a')} that is not vtopo's" in reason
        (failed,) = dockers.make(a)
        assert isinstance(failed, Failed)
        assert failed.reason == reason
        dockers.take_away(a)
        assert dockers.backend.sweep() == []
        assert dockers.docker.inspect_container(theirs)["State"]["Running"]
        assert dockers.seen(a) is None
    finally:
        dockers.docker.remove_container(theirs, force=True)


def test_a_container_of_an_image_that_was_committed_from_ours_is_not_ours(dockers: Dockers) -> None:
    a = dockers.container("a")
    dockers.must(a)
    dockers.docker.commit(dockers.name("a"), repository=f"vtopo-test/{dockers.lab}", tag="1")
    theirs = _foreign(dockers, f"{dockers.lab}-copy", f"vtopo-test/{dockers.lab}:1")
    try:
        assert dockers.docker.inspect_container(theirs)["Config"]["Labels"]["vtopo.lab"] == dockers.lab
        dockers.take_away(a)
        assert dockers.backend.traces() == dockers.backend.sweep() == []
        assert dockers.docker.inspect_container(theirs)["State"]["Running"]
    finally:
        dockers.docker.remove_container(theirs, force=True)
        dockers.docker.remove_image(f"vtopo-test/{dockers.lab}:1")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"image": "127.0.0.1:9/nope:1"}, "the image 127.0.0.1:9/nope:1 cannot be pulled"),
        ({"command": ("nonesuch",)}, 'exec: "nonesuch": executable file not found in $PATH'),
        (
            {"command": ("sh", "-c", "echo before; echo the end; exit 3")},
            "exited with status 3 at once; it said last:",
        ),
        ({"command": ("false",), "restart": "always"}, "exited with status 1 at once"),
        ({"cpuset": "0-999"}, "CPUs are not available"),
        ({"cap_add": ("NET_NONSENSE",)}, "NET_NONSENSE"),
        ({"user": "nobody-here"}, "unable to find user nobody-here"),
        ({"oom": "pause"}, "OOM killer is disabled for the container, but no memory limit is set"),
        ({"mounts": (Mount(source="/nonesuch", target="/x"),)}, "bind source path does not exist: /nonesuch"),
    ],
)
def test_what_cannot_run_leaves_nothing(
    dockers: Dockers, fields: dict[str, object], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker_containers, "GRACE", 20)  # on a busy machine, ending takes its time
    (failed,) = dockers.make(dockers.container("a", **fields))
    assert isinstance(failed, Failed)
    assert reason in failed.reason
    assert dockers.backend.traces() == []
    assert not Path("/run/netns", dockers.name("a")).exists()


def test_the_last_lines_of_one_that_exits_are_shown(
    dockers: Dockers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker_containers, "GRACE", 20)
    (failed,) = dockers.make(
        dockers.container("a", command=("sh", "-c", "seq 9; echo no config >&2; exit 78"))
    )
    assert isinstance(failed, Failed)
    assert failed.reason.splitlines()[1:] == ["  6", "  7", "  8", "  9", "  no config"]


def test_an_engine_that_is_not_there_or_elsewhere_is_said(
    dockers: Dockers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def why(host: str) -> str:
        monkeypatch.setenv("DOCKER_HOST", host)
        (failed,) = DockerBackend(dockers.lab).unable([dockers.container("a")])
        return failed.reason

    assert "there is no Docker engine here: no /nonesuch.sock; install it" in why("unix:///nonesuch.sock")
    for host in ("ssh://root@shop.example", "tcp://192.0.2.1:2376", "192.0.2.1:2375"):
        assert "DOCKER_HOST names" in why(host)
        assert "on another machine: a lab's links end in the containers' namespaces" in why(host)


def test_an_engine_that_is_down_is_said(
    dockers: Dockers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.bind(str(path))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    a = dockers.container("a")
    backend = DockerBackend(dockers.lab)
    (failed,) = backend.unable([a])
    assert f"the Docker engine is down: nobody listens at {path}" in failed.reason
    with pytest.raises(BackendError, match="the Docker engine is down"):
        backend.observe([a], {})
    with pytest.raises(BackendError, match="the Docker engine is down"):
        list(backend.delete([a], {}))
    assert backend.traces() == backend.sweep() == [], "a lab without containers needs no engine to go"


def test_the_context_of_the_docker_command_counts(
    dockers: Dockers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meta = tmp_path / "contexts/meta/1"
    meta.mkdir(parents=True)
    (tmp_path / "config.json").write_text('{"currentContext": "lab"}')
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (failed,) = DockerBackend(dockers.lab).unable([dockers.container("a")])
    assert f"there is no Docker context `lab` in {tmp_path}" in failed.reason
    (meta / "meta.json").write_text('{"Name": "lab", "Endpoints": {"docker": {"Host": "ssh://root@far"}}}')
    (failed,) = DockerBackend(dockers.lab).unable([dockers.container("a")])
    assert "the Docker context `lab` names ssh://root@far, an engine on another machine" in failed.reason


@pytest.fixture
def impostor(tmp_path: Path) -> Iterator[dict[str, object]]:
    """A socket at which somebody answers `GET /version` with what is in the dictionary."""
    answer: dict[str, object] = {"ApiVersion": "1.41", "MinAPIVersion": "1.24"}

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            import json

            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    class Server(HTTPServer):
        address_family = socket.AF_UNIX

        def server_bind(self) -> None:
            self.socket.bind(self.server_address)

        def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
            return self.socket.accept()[0], ("", 0)

    path = str(tmp_path / "engine.sock")
    with Server(path, Answer) as server:  # type: ignore[arg-type]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        answer["path"] = path
        yield answer
        server.shutdown()


def test_an_engine_in_a_machine_of_its_own_is_refused(
    dockers: Dockers, impostor: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{impostor['path']}")
    impostor["KernelVersion"] = "6.6.12-linuxkit"
    (failed,) = DockerBackend(dockers.lab).unable([dockers.container("a")])
    assert "leads to a machine of its own (Linux 6.6.12-linuxkit)" in failed.reason


def test_podman_is_refused_with_the_reason(
    dockers: Dockers, podman: docker.APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{podman._custom_adapter.socket_path}")
    (failed,) = DockerBackend(dockers.lab).unable([dockers.container("a")])
    assert "is Podman: its Docker-compatible interface does not change the limits" in failed.reason
    url = podman._url("/containers/{0}/update", "any")
    assert podman._post_json(url, data={"Memory": 1 << 26}).text.strip() == "Not Found", "it has none, indeed"
    assert DockerBackend(dockers.lab).traces() == []


@pytest.fixture
def podman(tmp_path: Path) -> Iterator[docker.APIClient]:
    """A client of a Podman service that keeps all that it has in the test's folder."""
    if shutil.which("podman") is None:
        pytest.skip("Podman is not installed (apt-get install podman)")
    (tmp_path / "storage.conf").write_text(
        f'[storage]\ndriver = "vfs"\ngraphroot = "{tmp_path}/data"\nrunroot = "{tmp_path}/run"\n'
    )
    (tmp_path / "containers.conf").write_text(
        f'[engine]\nevents_logger = "none"\ntmp_dir = "{tmp_path}/tmp"\n'
    )
    env = {
        **os.environ,
        "CONTAINERS_STORAGE_CONF": str(tmp_path / "storage.conf"),
        "CONTAINERS_CONF": str(tmp_path / "containers.conf"),
    }
    path = tmp_path / "podman.sock"
    service = subprocess.Popen(["podman", "system", "service", "--time=0", f"unix://{path}"], env=env)
    try:
        end = time.monotonic() + 60
        while not path.exists() or service.poll() is not None:
            assert time.monotonic() < end
            time.sleep(0.05)
        client = docker.APIClient(f"unix://{path}", version="auto")
        yield client
        client.close()
    finally:
        service.terminate()
        service.wait(30)
