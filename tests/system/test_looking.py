"""The early look at real labs by two processes: each sees a part, and together they see all as it is recorded."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli import Vtopo

from vtopo.cli.world import backends_of
from vtopo.run import looking
from vtopo.run.early import EarlyLook
from vtopo.state.folder import StateDir
from vtopo.state.store import Store

LAB = """\
host a { bridge inner { address 10.9.0.1/24 } }
host b { bridge ported { address 10.8.0.1/24 }; host c; link c -- ported }
host d { route 10.77.0.0/16 via 10.0.0.2 }
bridge lan { subnet 10.0.0.0/24 }
host z { bridge inner { address 10.7.0.1/24 } }
link a -- lan
link z -- lan
link b -- lan
link d -- lan
link a 10.1.0.1/24 -- d 10.1.0.2/24
"""


@pytest.mark.parametrize("many", [1, 1000])
def test_all_is_as_recorded(vtopo: Vtopo, monkeypatch: pytest.MonkeyPatch, many: int) -> None:
    monkeypatch.setattr(looking, "_MANY", many)
    vtopo("up", vtopo.write(LAB))
    state = StateDir(Path(vtopo.environment()["VTOPO_STATE_DIR"]))
    with Store.open(state, vtopo.lab) as store:
        records, stamp = store.load(), store.stamp()
    assert bool(looking._halves(records)[1].resources) == (many == 1)
    with EarlyLook(state, vtopo.lab, lambda: backends_of(vtopo.lab)) as early:
        assert early._hear() == (set(), {}, stamp)
    vtopo.node("a").change("address", "delete", "10.9.0.1/24", "dev", "inner")
    vtopo.node("d").change("link", "set", "eth1", "mtu", "1400")
    with EarlyLook(state, vtopo.lab, lambda: backends_of(vtopo.lab)) as early:
        told = early._hear()
    assert told is not None
    assert told[0] == {"a.inner/address/10.9.0.1/24"}
    assert list(told[1]) == ["a:eth1--d:eth1/veth"]


@pytest.mark.parametrize("closed", [">&-", "<&-", "<&- >&-", "<&- >&- 2>&-", "2>&-"])
def test_an_edit_with_closed_streams_is_made(vtopo: Vtopo, closed: str) -> None:
    """What it begins with early does not get their numbers."""
    text = "host a\nhost b\nlink a -- b"
    file = vtopo.write(text)
    vtopo("up", file)
    vtopo.write(f"{text} {{ mtu 1400 }}")
    script = f'exec "$0" -m vtopo up {vtopo.lab}.vlab {closed}'
    ran = subprocess.run(
        ["sh", "-c", script, sys.executable], cwd=vtopo.folder, env=vtopo.environment(), check=False
    )
    assert ran.returncode == 0
    assert vtopo.node("a").links()["eth0"]["mtu"] == 1400
    vtopo("status", "--exit-code", vtopo.lab)


def test_a_file_that_can_be_read_only_once_is(vtopo: Vtopo) -> None:
    vtopo("up", vtopo.write("host a\nhost b"))
    pipe = vtopo.folder / "piped.vlab"
    os.mkfifo(pipe)
    command = vtopo.start("up", str(pipe))
    pipe.write_text(f"lab {vtopo.lab}\nhost a\nhost b\nhost c")
    assert command.wait(20) == 0
    vtopo.node("c")
