"""What the machine has around the kernel: Docker and its storage driver, tools, rights."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

from vtopo.doctor.findings import Finding, Health

_TOOLS = (
    ("dot", "graphviz", "`vtopo graph` draws svg, png and pdf with it; without it only dot"),
    ("tcpdump", "tcpdump", "to look at the packets of a link"),
    ("ip", "iproute2", "people's own tool to look into a lab's namespaces"),
)


def findings() -> Iterator[Finding]:
    """All of them."""
    yield _rights()
    yield _docker()
    for program, package, meaning in _TOOLS:
        if shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"):
            yield Finding(f"tools.{program}", program, Health.GOOD, "there")
        else:
            yield Finding(
                f"tools.{program}",
                program,
                Health.NOTE,
                "not installed",
                meaning,
                f"apt-get install {package}",
            )


def _rights() -> Finding:
    if os.geteuid() == 0:
        return Finding("rights", "rights", Health.GOOD, "root", "all of vtopo works")
    return Finding(
        "rights",
        "rights",
        Health.NOTE,
        f"user {os.geteuid()}",
        "labs of hosts, bridges, links and overlays come up in namespaces of your own; the rest takes root",
        "sudo vtopo …",
    )


def _docker() -> Finding:
    try:
        import docker
    except ImportError:
        return Finding(
            "docker",
            "Docker",
            Health.BAD,
            "the Python package docker is not installed",
            "no containers",
            "pip install 'vtopo[docker]'",
        )
    try:
        client = docker.from_env(timeout=5)
        info = client.info()
        client.close()
    except (docker.errors.DockerException, OSError) as e:
        installed = shutil.which("dockerd") is not None
        return Finding(
            "docker",
            "Docker",
            Health.BAD,
            f"the engine does not answer: {' '.join(str(e).split())[:120]}",
            "no containers",
            "systemctl enable --now docker" if installed else "apt-get install docker.io",
        )
    driver = str(info.get("Driver"))
    found = f"{info.get('ServerVersion')}, storage {driver}, cgroup {info.get('CgroupDriver')}"
    if driver == "overlay2":
        return Finding("docker", "Docker", Health.GOOD, found, "containers share their images' layers")
    return Finding(
        "docker",
        "Docker",
        Health.NOTE,
        found,
        "containers start slowly and take more room than with overlay2",
        """echo '{"storage-driver": "overlay2"}' > /etc/docker/daemon.json && systemctl restart docker""",
    )
