"""`up` of a lab that was not edited and has not drifted compiles nothing; whatever else it is, it compiles."""

from __future__ import annotations

import subprocess
import sys

import pytest
from cli import Vtopo

from vtopo.state.folder import StateDir
from vtopo.state.store import Store

LAB = """\
param hosts = 2
use "part.vlab" as part { size = hosts }
host a { file "/etc/motd" from "motd.j2" }
link a 10.0.0.1/24 -- part.b1 10.0.0.2/24
link a:x 10.1.0.1/24 -- part.b2 10.1.0.2/24
"""


@pytest.fixture
def running(vtopo: Vtopo) -> Vtopo:
    (vtopo.folder / "part.vlab").write_text("param size = 1\nhost b[1..size]\n")
    (vtopo.folder / "motd.j2").write_text("hello from {{ node.name }}\n")
    vtopo("up", vtopo.write(LAB))
    return vtopo


def up(vtopo: Vtopo, *options: str) -> tuple[str, bool]:
    """What `up` again says, and whether it compiled anything."""
    words = ["up", *options, str(vtopo.folder / f"{vtopo.lab}.vlab")]
    argv = [sys.executable, "-X", "importtime", "-m", "vtopo", *words]
    done = subprocess.run(argv, cwd=vtopo.folder, env=vtopo.environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout, "vtopo.compile.compiler" in done.stderr


def test_nothing_is_compiled_where_nothing_is_to_do(running: Vtopo) -> None:
    said, compiled = up(running)
    assert said.endswith("nothing to do\n")
    assert not compiled


def test_a_hand_on_the_world_is_seen(running: Vtopo) -> None:
    subprocess.run(["ip", "-n", running.node("a").name, "link", "set", "x", "mtu", "1400"], check=True)
    said, compiled = up(running)
    assert compiled
    assert "1 updated" in said
    assert not up(running)[1], "what was repaired is as it was made"


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("part.vlab", "param size = 1\nhost b[1..size] { forward on }\n", "created"),
        ("motd.j2", "goodbye from {{ node.name }}\n", "1 updated"),
    ],
)
def test_an_edit_of_a_file_that_the_lab_reads_is_seen(
    running: Vtopo, file: str, text: str, said: str
) -> None:
    before = (running.folder / file).read_text()
    (running.folder / file).write_text(text)
    assert said in up(running)[0]
    assert not up(running)[1]
    (running.folder / file).write_text(before)
    assert "nothing to do" not in up(running)[0], "what was remembered of the first time is of other records"


def test_other_values_and_other_records_are_seen(running: Vtopo) -> None:
    assert "created" in up(running, "--set", "hosts=3")[0]
    assert "deleted" in up(running)[0]
    assert not up(running)[1]
    with Store.open(StateDir(running.state), running.lab) as store:
        store.remember(store.made_of().replace(store.stamp(), "another"))
    said, compiled = up(running)
    assert said.endswith("nothing to do\n")
    assert compiled


def test_a_lab_with_a_warning_says_it_each_time(running: Vtopo) -> None:
    file = running.folder / f"{running.lab}.vlab"
    file.write_text(f"{file.read_text()}host lonely\n")
    for _ in range(2):
        assert "`lonely` has no link" in running("up", file).err
