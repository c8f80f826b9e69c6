"""What a namespace holds outside is free once the kernel has cleared the namespace away, and that is waited for."""

import subprocess
from pathlib import Path

from vtopo.backends.clearing import wait_until_cleared
from vtopo.backends.syscalls import CLONE_NEWNET, unshare
from vtopo.backends.threads import apart

TUNNEL = ["ip", "link", "add", "tunnel", "type", "vxlan", "id", "77", "dstport", "4789", "dev", "lo"]
OTHERS = 40
"""So many namespaces end at once that the kernel is busy with them for a while."""


def a_tunnel_goes_with_its_namespace() -> bool:
    """Whether a tunnel of the same VNI could not be made at once; after the wait, it can."""
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
    at_once = subprocess.run(TUNNEL, check=False, stderr=subprocess.DEVNULL).returncode == 0
    if not at_once:
        apart(wait_until_cleared)
        subprocess.run(TUNNEL, check=True)
    subprocess.run(["ip", "link", "delete", "tunnel"], check=True)
    return not at_once


def test_what_ended_before_is_gone_after_the_wait() -> None:
    def work() -> list[bool]:
        unshare(CLONE_NEWNET)
        return [a_tunnel_goes_with_its_namespace() for _ in range(5)]

    assert any(apart(work)), "the kernel was never slower than a command"


def test_where_nothing_has_ended_the_wait_is_short() -> None:
    here = Path("/proc/thread-self/ns/net").readlink()
    apart(wait_until_cleared)
    assert Path("/proc/thread-self/ns/net").readlink() == here
