"""Which of the machine's mounts a host sees."""

from __future__ import annotations

import os

import pytest

from vtopo.backends.zygote_layers import choose

MOUNTS = """\
1 0 8:1 / / rw - ext4 /dev/vda1 rw
2 1 8:2 / /data rw - ext4 /dev/vda2 rw
3 1 0:50 / /var/lib/docker/overlay2/abc/merged rw - overlay overlay rw
4 1 0:51 / /data/tasks/abc/rootfs rw - overlay overlay rw
5 1 0:5 / /proc rw - proc proc rw
6 1 0:52 / /srv rw - overlay overlay rw
7 1 0:53 / /run rw - tmpfs tmpfs rw
8 7 0:54 / /run/netns rw - tmpfs tmpfs rw
9 8 0:4 net:[4026532001] /run/netns/a rw - nsfs nsfs rw
10 7 0:55 / /run rw - tmpfs tmpfs rw
11 10 8:3 / /run/disk rw - ext4 /dev/vda3 rw
"""


def test_a_host_sees_the_machines_disks_and_no_containers_roots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "isdir", lambda _: True)
    disks, detach = choose(MOUNTS)
    assert [disk.path for disk in disks] == ["/data", "/srv"]
    # /run is covered by another; what else is mounted there goes with it.
    assert detach == [
        "/run",
        "/run",
        "/proc",
        "/data/tasks/abc/rootfs",
        "/var/lib/docker/overlay2/abc/merged",
    ]
