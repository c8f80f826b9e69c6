"""What a namespace holds outside is free once the kernel has cleared the namespace away, and that is waited for."""

import os
import subprocess
from pathlib import Path
from typing import Any

from cli import World
from forks import forked, warm
from ground import STATE
from ground import apart as on_ground
from sweep_labs import SweepLab, both

from vtopo.backends import machine_vxlans
from vtopo.backends.clearing import wait_until_cleared
from vtopo.backends.syscalls import CLONE_NEWNET, setns, unshare
from vtopo.backends.threads import apart

TUNNEL = ["ip", "link", "add", "tunnel", "type", "vxlan", "id", "77", "dstport", "4789", "dev", "lo"]
OTHERS = 40
"""So many namespaces end at once that the kernel is busy with them for a while."""
LAB = 'bridge x\noverlay o { vni 77; remote 192.0.3.9; vtep "wlan0" -- x }\nhost a\nlink a -- x\n'


def end_a_namespace_with_a_tunnel() -> bool:
    """Whether the kernel has not yet cleared it away when this returns."""
    ended = [subprocess.Popen(["unshare", "--net", "sleep", "60"]) for _ in range(OTHERS)]
    own = Path("/proc/thread-self/ns/net").readlink()
    while any(Path(f"/proc/{process.pid}/ns/net").readlink() == own for process in ended):
        pass
    subprocess.run(TUNNEL, check=True)
    subprocess.run(["ip", "link", "set", "tunnel", "netns", str(ended[-1].pid)], check=True)
    for process in ended:
        process.kill()
    for process in ended:
        process.wait()
    if subprocess.run(TUNNEL, check=False, stderr=subprocess.DEVNULL).returncode:
        return True
    subprocess.run(["ip", "link", "delete", "tunnel"], check=True)
    return False


def test_what_ended_before_is_gone_after_the_wait() -> None:
    def is_waited_for() -> bool:
        lingers = end_a_namespace_with_a_tunnel()
        if lingers:
            apart(wait_until_cleared)
            subprocess.run(TUNNEL, check=True)
            subprocess.run(["ip", "link", "delete", "tunnel"], check=True)
        return lingers

    def work() -> list[bool]:
        unshare(CLONE_NEWNET)
        return [is_waited_for() for _ in range(5)]

    assert any(apart(work)), "the kernel was never slower than a command"


def end_one_before_a_tunnel_is_made() -> None:
    """In this process, from now on."""
    here, real = os.open("/proc/self/ns/net", os.O_RDONLY), machine_vxlans.bear

    def late(*args: Any, **kwargs: Any) -> None:
        setns(here, CLONE_NEWNET)
        if end_a_namespace_with_a_tunnel():
            (STATE / "lingered").touch()
        real(*args, **kwargs)

    machine_vxlans.bear = late


def test_up_waits_for_what_holds_its_tunnel(world: World) -> None:
    def work() -> bool:
        ground = on_ground()
        lab, _ = both(SweepLab(LAB, LAB), ground.lab)
        for _ in range(5):
            ran = ground.up(lab, first=end_one_before_a_tunnel_is_made)
            assert ran is not None
            assert ran.failure is None, ran.failure
            ground.must_down()
        return (STATE / "lingered").exists()

    warm()
    assert forked(work, world, 120).value, "the kernel was never slower than a command"


def test_where_nothing_has_ended_the_wait_is_short() -> None:
    here = Path("/proc/thread-self/ns/net").readlink()
    apart(wait_until_cleared)
    assert Path("/proc/thread-self/ns/net").readlink() == here
