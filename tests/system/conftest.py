"""System tests need root, have labs of their own names, and leave the machine as it was."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cli import Vtopo, World, servers
from fork_server import ForkServer
from guest import small
from hypervisor_daemons import Daemons, running
from lab import Lab, lab_of
from machine import LAB_PREFIX, look, remove_groups, settle

if TYPE_CHECKING:
    import docker
    from containers import Dockers

_numbers = itertools.count()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.system)
            if os.geteuid() != 0:
                item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.fixture(scope="session")
def hypervisor() -> Iterator[Daemons]:
    """A libvirt that answers, until the last test."""
    with running() as daemons:
        yield daemons


@pytest.fixture(scope="session")
def small_guest() -> Path:
    """The folder of the small test guest, built."""
    return small.folder()


@pytest.fixture(scope="session", autouse=True)
def fork_server() -> Iterator[None]:
    """Lets commands be called without their start."""
    server = ForkServer()
    servers.append(server)
    yield
    servers.remove(server)
    server.close()


@pytest.fixture(autouse=True)
def machine_as_before(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test ends with the interfaces, namespaces, mounts, cgroups and processes that it began with.

    What stays for other tests, such as an engine, is no part of that. A fixture of the session is there before this one
    if a test names it; who wants it for some parameters alone marks them `beforehand`.
    """
    for mark in request.node.iter_markers("beforehand"):
        for name in mark.args:
            request.getfixturevalue(name)
    before = look()
    yield
    left = settle(before)
    remove_groups(left)
    assert left == []


@pytest.fixture
def lab_name(machine_as_before: None) -> str:
    """A name that no other test's lab has."""
    return f"{LAB_PREFIX}-{next(_numbers)}"


@pytest.fixture
def lab(lab_name: str, tmp_path: Path) -> Iterator[Lab]:
    """An empty lab of two backends, which is swept afterwards."""
    yield from lab_of(lab_name, tmp_path)


@pytest.fixture
def vtopo(lab_name: str, tmp_path: Path) -> Iterator[Vtopo]:
    """The command with a state directory and a lab of its own; what the test left of its labs is taken down."""
    command = Vtopo(tmp_path, lab_name)
    yield command
    command.close()


@pytest.fixture
def world(machine_as_before: None) -> Iterator[World]:
    """A world of its own, which ends with all that is in it."""
    own = World()
    yield own
    own.close()


@pytest.fixture
def inner(world: World, lab_name: str, tmp_path: Path) -> Vtopo:
    """The command in that world."""
    return Vtopo(tmp_path, lab_name, world.prefix)


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.APIClient]:
    """A client of a Docker engine, the machine's or one for the tests, with the tests' images."""
    from engine import engine

    with tempfile.TemporaryDirectory(prefix="vtopo-") as folder, engine(Path(folder)) as client:
        yield client


@pytest.fixture
def dockers(engine: docker.APIClient, lab_name: str) -> Iterator[Dockers]:
    """An empty lab of one backend, that of containers, which is swept afterwards."""
    from containers import dockers_of

    yield from dockers_of(lab_name, engine)
