"""What is done in a host's own namespaces once they are there, and what its first process is."""

# Plain functions of os, no pathlib: every module loaded here delays the first host.
from __future__ import annotations

import ctypes
import os
import sys

from vtopo.backends.zygote_calls import (
    FLAGS,
    MS_BIND,
    MS_NODEV,
    MS_NOSUID,
    MS_RDONLY,
    MS_REMOUNT,
    MS_SAFE,
    PR_SET_DUMPABLE,
    PR_SET_NAME,
    AtOnce,
    libc,
    signal,
)
from vtopo.model.kinds import USUAL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

    from vtopo.backends.zygote_list import Listed

    Steps = AtOnce | Listed

AT_ONCE = AtOnce()

MASKED = (
    "a container's runtime hides parts of {} here, and the kernel then refuses a new one; "
    "run vtopo on the machine itself or in a privileged container"
)


class Host:
    """A host to be made, as it stands in a message; `uids` and `gids` as in /proc/PID/uid_map."""

    def __init__(
        self, index: str, node: str, hostname: str, kinds: str, uids: str, gids: str, rootfs: str
    ) -> None:
        self.index, self.node, self.hostname = index, node, hostname
        self.kinds = frozenset(kinds.split(","))
        self.flags = sum(FLAGS[kind] for kind in self.kinds)
        self.uids, self.gids, self.rootfs = uids, gids, rootfs

    def has(self, kind: str) -> bool:
        """Whether it has a namespace of this kind of its own."""
        return kind in self.kinds

    def title(self, lab: str) -> str:
        """Its init's command line, by which it is known."""
        return f"vtopo-init {lab} {self.node}"

    def environ(self) -> Mapping[str, str]:
        """Its init's environment: marks, among them which namespaces it has, if not the usual ones."""
        if self.kinds == frozenset(USUAL):
            return os.environ
        return {**os.environ, "VTOPO_NAMESPACES": ",".join(sorted(self.kinds))}


def finish(
    host: Host,
    devices: Sequence[str],
    do: Steps = AT_ONCE,
    sys_is_there: bool = False,
    net_is_ready: bool = False,
) -> None:
    """What is left to do in a host's namespaces once it has a root and a /proc."""
    if host.has("mnt"):
        mount_own(host, devices, do, sys_is_there)
    if host.has("uts"):
        do.name_host(host.hostname)
    if host.has("net") and not net_is_ready:
        ready_net(do)


def mount_own(host: Host, devices: Sequence[str], do: Steps, sys_is_there: bool) -> None:
    """File systems of a host's own. Of /proc/sys it can write what is its own network's."""
    do.mount("/proc/sys", "/proc/sys", None, MS_BIND)
    do.mount(None, "/proc/sys", None, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_SAFE)
    if host.has("net"):
        do.mount("/proc/sys/net", "/proc/sys/net", None, MS_BIND)
        do.mount(None, "/proc/sys/net", None, MS_BIND | MS_REMOUNT | MS_SAFE)
    if do.exists("/proc/sysrq-trigger"):  # it would act on the whole machine
        do.mount("/dev/null", "/proc/sysrq-trigger", None, MS_BIND)
    if not sys_is_there:
        mount_sys("/sys", do)
    do.mount_terminals("/dev/pts")
    if devices:
        do.mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")  # noqa: S108
    do.mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")  # noqa: S108


def mount_sys(path: str, do: Steps = AT_ONCE) -> None:
    """/sys with what is of the network namespace; nothing of it can be written."""
    do.mount("sysfs", path, "sysfs", MS_SAFE, advice=MASKED.format("/sys"))
    do.mount(None, path, None, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_SAFE)


def ready_net(do: Steps) -> None:
    """Give the network namespace that this process is in the settings of a host's.

    IPv4's are copied from the machine's: a host does not forward unless the lab says so. Taking away an interface's
    first address leaves the others of its subnet. A lab's addresses are its own, and the compiler checks them: to wait
    a second for each (RFC 4862, 5.4) is idle. IPv6 addresses stay when an interface goes down, as IPv4's do: one that
    enters or leaves a VRF goes down shortly. Documentation/networking/ip-sysctl.rst.
    """
    do.loopback_up()
    do.set("/proc/sys/net/ipv4/ip_forward", "0")
    do.set("/proc/sys/net/ipv4/conf/all/promote_secondaries", "1")
    if do.exists("/proc/sys/net/ipv6"):
        do.set("/proc/sys/net/ipv6/conf/default/accept_dad", "0")
        do.set("/proc/sys/net/ipv6/conf/all/keep_addr_on_down", "1")


def become_init(
    program: str | int, title: str, environ: Mapping[str, str], pipe: int, mounts: bool = False
) -> NoReturn:
    """Be a host's first process: the program at a path or behind a descriptor, with nothing open but the pipe.

    -1: there is no such program for this machine's processor, and this one does its work,
    with or without mounting /proc.
    """
    os.setsid()
    null = os.open("/dev/null", os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    if pipe != 3:
        os.dup2(pipe, 3)
    os.set_inheritable(3, True)
    if program == -1:
        stay(mounts)
    last = 4
    if isinstance(program, int):
        if program != 4:
            os.dup2(program, 4, inheritable=False)
        program, last = 4, 5
    os.closerange(last, 1 << 20)
    os.execve(program, [title], environ)  # noqa: S606


def stay(mounts: bool) -> NoReturn:
    """Do in a fork of this program what the program does."""
    result = libc.mount(b"proc", b"/proc", b"proc", MS_SAFE, None) if mounts else 0
    answer = -ctypes.get_errno() if result < 0 else 0
    os.write(3, answer.to_bytes(4, sys.byteorder, signed=True))
    os.closerange(3, 1 << 20)
    libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)  # a change of ids took its own root's right to look at it
    libc.prctl(PR_SET_NAME, b"vtopo-init", 0, 0, 0)
    while True:
        signal.pause()
