"""What is done in a host's own namespaces once they are there, and what its first process is."""

# Plain functions of os, no pathlib: every module loaded here delays the first host.
# ruff: noqa: PTH110

from __future__ import annotations

import ctypes
import os
import signal
import sys

from vtopo.backends.zygote_calls import (
    FLAGS,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_RDONLY,
    MS_REMOUNT,
    MS_SAFE,
    PR_SET_NAME,
    SetupError,
    libc,
    loopback_up,
    mount,
    step,
)
from vtopo.model.kinds import USUAL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn


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

    def environ(self) -> Mapping[str, str]:
        """Its init's environment: marks, among them which namespaces it has, if not the usual ones."""
        if self.kinds == frozenset(USUAL):
            return os.environ
        return {**os.environ, "VTOPO_NAMESPACES": ",".join(sorted(self.kinds))}


def finish(
    host: Host, devices: Sequence[str], sys_is_there: bool = False, net_is_ready: bool = False
) -> None:
    """What is left to do in a host's namespaces once it has a root and a /proc."""
    if host.has("mnt"):
        mount_own(host, devices, sys_is_there)
    if host.has("uts"):
        raw = os.fsencode(host.hostname)
        step("sethostname", libc.sethostname(raw, len(raw)))
    if host.has("net") and not net_is_ready:
        ready_net()


def ready_net() -> None:
    """Give the network namespace that this process is in the settings of a host's."""
    loopback_up()
    stop_forwarding()
    skip_duplicate_detection()
    keep_other_addresses()
    keep_addresses_while_down()


def mount_own(host: Host, devices: Sequence[str], sys_is_there: bool) -> None:
    """File systems of a host's own. Of /proc/sys it can write what is its own network's."""
    mount("/proc/sys", "/proc/sys", None, MS_BIND)
    mount(None, "/proc/sys", None, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_SAFE)
    if host.has("net"):
        mount("/proc/sys/net", "/proc/sys/net", None, MS_BIND)
        mount(None, "/proc/sys/net", None, MS_BIND | MS_REMOUNT | MS_SAFE)
    if os.path.exists("/proc/sysrq-trigger"):  # it would act on the whole machine
        mount("/dev/null", "/proc/sysrq-trigger", None, MS_BIND)
    if not sys_is_there:
        mount_sys("/sys")
    terminals = "newinstance,ptmxmode=0666,mode=620"
    try:
        mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, f"{terminals},gid=5")
    except SetupError:  # a user namespace may have no group tty
        mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, terminals)
    if devices:
        mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")  # noqa: S108
    mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")  # noqa: S108


def mount_sys(path: str) -> None:
    """/sys with what is of the network namespace; nothing of it can be written."""
    mount("sysfs", path, "sysfs", MS_SAFE, advice=MASKED.format("/sys"))
    mount(None, path, None, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_SAFE)


def stop_forwarding() -> None:
    """IPv4's settings are copied from the machine's; a host does not forward unless the lab says so."""
    fd = os.open("/proc/sys/net/ipv4/ip_forward", os.O_RDWR | os.O_CLOEXEC)
    if os.read(fd, 1) == b"1":
        os.pwrite(fd, b"0", 0)
    os.close(fd)


def skip_duplicate_detection() -> None:
    """A lab's addresses are its own and the compiler checks them; to wait a second for each (RFC 4862, 5.4) is idle."""
    if os.path.exists("/proc/sys/net/ipv6"):
        fd = os.open("/proc/sys/net/ipv6/conf/default/accept_dad", os.O_WRONLY | os.O_CLOEXEC)
        os.write(fd, b"0")
        os.close(fd)


def keep_addresses_while_down() -> None:
    """IPv6 addresses stay when an interface goes down, as IPv4's do; one that enters or leaves a VRF goes down shortly.

    keep_addr_on_down, Documentation/networking/ip-sysctl.rst.
    """
    if os.path.exists("/proc/sys/net/ipv6"):
        fd = os.open("/proc/sys/net/ipv6/conf/all/keep_addr_on_down", os.O_WRONLY | os.O_CLOEXEC)
        os.write(fd, b"1")
        os.close(fd)


def keep_other_addresses() -> None:
    """Taking away an interface's first address leaves the others of its subnet (promote_secondaries, ip-sysctl.rst)."""
    fd = os.open("/proc/sys/net/ipv4/conf/all/promote_secondaries", os.O_WRONLY | os.O_CLOEXEC)
    os.write(fd, b"1")
    os.close(fd)


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
    libc.prctl(PR_SET_NAME, b"vtopo-init", 0, 0, 0)
    while True:
        signal.pause()
