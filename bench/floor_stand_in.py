"""floor.c's stand-in where there is no C compiler: the same objects, the same protocol, some tenths slower.

    python -I -S floor_stand_in.py ring|star N DIRECTORY

Small on purpose, down to its imports: it is cloned once per host. Its netlink messages are packed by hand.
"""

# pathlib would double the size of every clone.
# ruff: noqa: PTH102, PTH123

import ctypes
import os
import resource
import signal
import socket
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x4000000, 0x8000000
CLONE_NEWPID, CLONE_NEWNET = 0x20000000, 0x40000000
MS_REC, MS_PRIVATE, MNT_DETACH, PR_SET_PDEATHSIG = 0x4000, 0x40000, 2, 1
RTM_NEWLINK, RTM_NEWADDR, NLMSG_ERROR = 16, 20, 2
NLM_F_REQUEST, NLM_F_ACK, NLM_F_EXCL, NLM_F_CREATE = 1, 4, 0x200, 0x400
IFLA_IFNAME, IFLA_MASTER, IFLA_LINKINFO, IFLA_NET_NS_PID = 3, 10, 18, 19
IFLA_INFO_KIND, IFLA_INFO_DATA, VETH_INFO_PEER, IFA_ADDRESS, IFA_LOCAL = 1, 2, 1, 1, 2
IFF_UP = 1
PORTS_PER_BRIDGE, FIRST_INDEX, FIRST_PORT_INDEX, BATCH = 100, 100, 10000, 32
SYS_CLONE3, SYS_PIVOT_ROOT = 435, {"x86_64": 155, "aarch64": 41, "riscv64": 41}[os.uname().machine]

libc = ctypes.CDLL(None, use_errno=True)


def call(function: "Callable[..., int]", *arguments: object) -> int:
    result = function(*arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{function}{arguments}")
    return result


def mount(
    source: bytes | None, target: bytes, kind: bytes | None, flags: int = 0, options: bytes | None = None
) -> None:
    call(libc.mount, source, target, kind, flags, options)


def enter_own_namespaces(directory: str) -> int:
    """A clone copies every mount of its maker, so keep only /; a descriptor of /proc stays usable."""
    with open("/proc/self/mounts") as mounts:
        targets = [line.split()[1] for line in mounts]
    call(libc.unshare, CLONE_NEWNS | CLONE_NEWNET)
    mount(None, b"/", None, MS_REC | MS_PRIVATE)
    proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    for target in reversed(targets):
        if target != "/":
            libc.umount2(target.encode(), MNT_DETACH)
    mount(b"floor", directory.encode(), b"tmpfs")
    os.chdir(directory)
    return proc


def isolate(number: int) -> None:
    os.mkdir(f"{number}")
    os.chdir(f"{number}")
    for folder in ("upper", "work", "root"):
        os.mkdir(folder)
    mount(b"floor", b"root", b"overlay", 0, b"lowerdir=/,upperdir=upper,workdir=work")
    os.chdir("root")
    call(libc.syscall, SYS_PIVOT_ROOT, b".", b".")
    call(libc.umount2, b".", MNT_DETACH)
    os.chdir("/")
    mount(b"proc", b"/proc", b"proc")
    socket.sethostname(f"h{number + 1}")


def make_host(number: int, ready: int) -> int:
    flags = CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC
    arguments = (ctypes.c_uint64 * 8)(flags, 0, 0, 0, signal.SIGCHLD, 0, 0, 0)
    pid = call(libc.syscall, SYS_CLONE3, arguments, ctypes.sizeof(arguments))
    if pid:
        return pid
    try:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        isolate(number)
        os.write(ready, b"y")
        while True:
            signal.pause()
    finally:
        os.write(ready, b"n")
        os._exit(1)


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def u32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("I", value))


def message(kind: int, flags: int, body: bytes) -> bytes:
    return struct.pack("IHHII", 16 + len(body), kind, NLM_F_REQUEST | NLM_F_ACK | flags, 0, 0) + body


def interface(index: int, up: bool) -> bytes:
    return struct.pack("BxHiII", 0, 0, index, IFF_UP * up, IFF_UP * up)


def bridge(index: int, name: str) -> bytes:
    kind = attribute(IFLA_LINKINFO, text(IFLA_INFO_KIND, "bridge"))
    body = interface(index, True) + text(IFLA_IFNAME, name) + kind
    return message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body)


def in_host(pid: int, port: int, up: bool) -> bytes:
    return interface(FIRST_INDEX + port, up) + text(IFLA_IFNAME, f"eth{port}") + u32(IFLA_NET_NS_PID, pid)


def bridge_port(index: int, number: int) -> bytes:
    near = interface(FIRST_PORT_INDEX + number, True)
    return near + text(IFLA_IFNAME, f"p{number + 1}") + u32(IFLA_MASTER, index)


def veth(near: bytes, far: bytes) -> bytes:
    data = attribute(IFLA_INFO_DATA, attribute(VETH_INFO_PEER, far))
    body = near + attribute(IFLA_LINKINFO, text(IFLA_INFO_KIND, "veth") + data)
    return message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body)


def up(index: int) -> bytes:
    return message(RTM_NEWLINK, 0, interface(index, True))


def add_address(index: int, address: int, prefix: int) -> bytes:
    packed = struct.pack(">I", address)
    header = struct.pack("BBBBI", socket.AF_INET, prefix, 0, 0, index)
    body = header + attribute(IFA_LOCAL, packed) + attribute(IFA_ADDRESS, packed)
    return message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, body)


def carry_out(netlink: socket.socket, messages: list[bytes]) -> None:
    for first in range(0, len(messages), BATCH):
        batch = messages[first : first + BATCH]
        netlink.send(b"".join(batch))
        for _ in batch:
            answer = netlink.recv(4096)
            kind, error = struct.unpack_from("H", answer, 4)[0], struct.unpack_from("i", answer, 16)[0]
            if kind == NLMSG_ERROR and error:
                raise OSError(-error, os.strerror(-error))


def open_netlink() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)


def ring(pids: list[int]) -> tuple[list[bytes], list[list[int]]]:
    """The links' messages, and each host's addresses in the order of its ports."""
    addresses: list[list[int]] = [[] for _ in pids]
    messages = []
    for link, pid in enumerate(pids):
        other = (link + 1) % len(pids)
        ends = [in_host(pid, len(addresses[link]), True), in_host(pids[other], len(addresses[other]), False)]
        messages.append(veth(*ends))
        addresses[link].append((10 << 24) + 2 * link)
        addresses[other].append((10 << 24) + 2 * link + 1)
    return messages, addresses


def star(pids: list[int]) -> tuple[list[bytes], list[list[int]]]:
    """The same for the star."""
    bridges = range((len(pids) + PORTS_PER_BRIDGE - 1) // PORTS_PER_BRIDGE)
    messages = [bridge(FIRST_INDEX + number, f"sw{number + 1}") for number in bridges]
    addresses: list[list[int]] = []
    for number, pid in enumerate(pids):
        switch, port = divmod(number, PORTS_PER_BRIDGE)
        messages.append(veth(bridge_port(FIRST_INDEX + switch, number), in_host(pid, 0, False)))
        addresses.append([(10 << 24) + (switch << 16) + port + 1])
    return messages, addresses


def configure(proc: int, pid: int, addresses: list[int], prefix: int) -> None:
    namespace = os.open(f"{pid}/ns/net", os.O_RDONLY, dir_fd=proc)
    call(libc.setns, namespace, CLONE_NEWNET)
    os.close(namespace)
    messages = [up(1)]
    for port, address in enumerate(addresses):
        messages += [up(FIRST_INDEX + port), add_address(FIRST_INDEX + port, address, prefix)]
    with open_netlink() as netlink:
        carry_out(netlink, messages)


def main() -> None:
    shape, count, directory = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    proc = enter_own_namespaces(directory)
    ready, child_end = os.pipe()
    pids = [make_host(number, child_end) for number in range(count)]
    messages, addresses = ring(pids) if shape == "ring" else star(pids)
    with open_netlink() as netlink:
        carry_out(netlink, messages)
        for pid, own in zip(pids, addresses, strict=True):
            configure(proc, pid, own, 31 if shape == "ring" else 16)
        for _ in pids:
            if os.read(ready, 1) != b"y":
                raise SystemExit("floor: a host's root failed")
        print("up", flush=True)
        sys.stdin.readline()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
