"""A Docker engine for the tests: the machine's, or one that is started for them and ends with them."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import APIError, DockerException

SOCKET = Path("/var/run/docker.sock")
BUSYBOX = Path("/bin/busybox")
IMAGE = "vtopo-test/busybox:1"
MUTE = "vtopo-test/mute:1"
"""IMAGE without a command of its own."""
OF_LABS = "busybox:stable"
"""What the example labs start from: the machine's own, if it has one."""

in_use: docker.APIClient | None = None
"""The client of the engine that the tests use at this moment."""


@contextlib.contextmanager
def engine(folder: Path) -> Iterator[docker.APIClient]:
    """The client of an engine with the tests' images; one that was started here is ended, with its traces."""
    with contextlib.ExitStack() as stack:
        if not _answers():
            if shutil.which("dockerd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
                pytest.skip("Docker is not installed (apt-get install docker.io)")
            stack.enter_context(_started(folder))
        client = docker.APIClient(version="auto", timeout=60)
        stack.callback(client.close)
        stack.enter_context(_images(client))
        _settle(client)
        global in_use
        in_use = client
        stack.callback(_forget)
        yield client


def _forget() -> None:
    global in_use
    in_use = None


def _answers() -> bool:
    try:
        docker.APIClient(version="auto", timeout=10).close()
    except DockerException:
        return False
    return True


@contextlib.contextmanager
def _started(folder: Path) -> Iterator[None]:
    before = _firewall()
    bridge = Path("/sys/class/net/docker0").exists()
    forward = Path("/proc/sys/net/ipv4/ip_forward").read_text()
    log = (folder / "dockerd.log").open("wb")
    process = start(folder, log)
    try:
        for _ in range(300):
            if _answers():
                break
            if process.poll() is not None:
                pytest.skip(f"dockerd cannot run here: {(folder / 'dockerd.log').read_text()[-200:]!r}")
            time.sleep(0.1)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        log.close()
        _let_go(folder)
        if not bridge:
            subprocess.run(["ip", "link", "delete", "docker0"], stderr=subprocess.DEVNULL, check=False)
        if before is not None:
            subprocess.run(["iptables-restore"], input=before, check=False)
        Path("/proc/sys/net/ipv4/ip_forward").write_text(forward)


def _let_go(folder: Path) -> None:
    """Unmount what an engine leaves mounted below its folder: the name of the machine's network namespace."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in reversed([p for p in points if p.startswith(f"{folder}/")]):
        subprocess.run(["umount", "--lazy", point], stderr=subprocess.DEVNULL, check=False)


def start(folder: Path, log: Any, *arguments: str, before: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    """A dockerd that keeps all that it has under `folder`."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    command = [*before, "dockerd", "--data-root", str(folder / "data"), "--exec-root", str(folder / "run")]
    return subprocess.Popen(
        [*command, "--pidfile", str(folder / "pid"), *arguments],
        stdout=log,
        stderr=log,
        env={**os.environ, "PATH": path},
    )


def _firewall() -> bytes | None:
    try:
        return subprocess.run(["iptables-save"], capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None


@contextlib.contextmanager
def _images(client: docker.APIClient) -> Iterator[None]:
    made = []
    shell = ['CMD ["sh"]', "ENV PATH=/bin"]
    for name, changes in ((IMAGE, shell), (OF_LABS, shell), (MUTE, ["ENV PATH=/bin"])):
        try:
            client.inspect_image(name)
        except APIError:
            repository, _, tag = name.partition(":")
            client.import_image_from_data(root(), repository=repository, tag=tag, changes=changes)
            made.append(name)
    try:
        yield
    finally:
        for name in made:
            with contextlib.suppress(APIError):
                client.remove_image(name)


def root() -> bytes:
    """A small system's files as a tar archive: a static busybox by all its names."""
    if not BUSYBOX.exists():
        pytest.skip("there is no /bin/busybox (apt-get install busybox-static)")
    names = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for folder in ("bin", "etc", "proc", "sys", "dev", "tmp", "root", "var", "run"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        tar.add(BUSYBOX, "bin/busybox")
        for name in set(names) - {"busybox"}:
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for name, text in (("passwd", "root:x:0:0:root:/root:/bin/sh\nwww:x:80:80:www:/:/bin/sh\n"),):
            data = text.encode()
            entry = tarfile.TarInfo(f"etc/{name}")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return archive.getvalue()


def _settle(client: docker.APIClient) -> None:
    """What an engine makes once and keeps, with its first containers: cgroups, a mount of the host's network."""
    for mode in ("bridge", "host"):
        name = f"vtopo-test-first-{os.getpid()}"
        config = {"Image": IMAGE, "Cmd": ["true"], "HostConfig": {"NetworkMode": mode}}
        client.create_container_from_config(config, name)
        client.start(name)
        client.wait(name)
        client.remove_container(name, force=True, v=True)
