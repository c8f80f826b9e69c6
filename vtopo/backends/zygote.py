"""The program that makes a lab's hosts, one after the other: `python -I -S zygote.py`, small and quick to start.

It moves into new namespaces by unshare, sets them up, leaves a first process in them, and returns by setns. No
memory is copied on the way: a fork of even this small a Python costs the kernel more than all namespaces do.

It imports nothing of vtopo. Its standard input is a socket of type SOCK_SEQPACKET to the process that
started it; a message is fields joined by NUL bytes. First comes `base`, the lab's tmpfs, answered by
`ready`; then any number of `hosts`, each host answered by `up` or `failed`. It ends when the other end of the
socket closes, and is killed when the thread that started it ends. The environment holds the mark VTOPO_LAB,
which a host's first process inherits.
"""

# Plain functions of os, no pathlib: every module loaded here delays the first host.
# ruff: noqa: PTH101, PTH104, PTH102, PTH110, PTH112, PTH116, PTH123, S108

from __future__ import annotations

import _socket
import ctypes
import errno
import fcntl
import os
import signal
import struct
import sys

# Flags of unshare(2), mount(2), umount2(2), open_tree(2) and move_mount(2).
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWPID, CLONE_NEWNET = (
    0x20000, 0x4000000, 0x8000000, 0x20000000, 0x40000000,
)  # fmt: skip
ISOLATED = CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC
KINDS = (
    ("mnt", CLONE_NEWNS),
    ("uts", CLONE_NEWUTS),
    ("ipc", CLONE_NEWIPC),
    ("pid", CLONE_NEWPID),
    ("net", CLONE_NEWNET),
)
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_MOVE, MS_REC, MS_PRIVATE = (
    1, 2, 4, 8, 0x20, 0x1000, 0x2000, 0x4000, 0x40000,
)  # fmt: skip
MS_SAFE = MS_NOSUID | MS_NODEV | MS_NOEXEC
MNT_DETACH = 2
OPEN_TREE_CLONE, OPEN_TREE_CLOEXEC, MOVE_MOUNT_F_EMPTY_PATH, AT_FDCWD = 1, 0o2000000, 4, -100
AT_RECURSIVE = 0x8000
# Numbers of system calls without a function in the C library; the same on every architecture.
SYS_OPEN_TREE, SYS_MOVE_MOUNT, SYS_MOUNT_SETATTR = 428, 429, 442
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15

# File systems on no block device of their own whose files a host should see, too.
CONTAINERS = (
    "/merged",
    "/rootfs",
)  # where Docker, Podman and containerd mount a container's root while it runs
DISKS = frozenset({"btrfs", "zfs", "bcachefs", "overlay", "nfs", "nfs4", "9p", "virtiofs", "ceph"})
# A host has its own of these.
OWN = ("/proc", "/sys", "/dev", "/run", "/tmp")
# The program of a host's first process, in the skeleton.
INIT = "/run/vtopo-init"

MASKED = (
    "a container's runtime hides parts of {} here, and the kernel then refuses a new one; "
    "run vtopo on the machine itself or in a privileged container"
)

libc = ctypes.PyDLL(None, use_errno=True)
libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]
libc.syscall.restype = ctypes.c_long


class SetupError(Exception):
    """A step of a set-up failed: `args` are errno and the text for people."""


def step(what: str, result: int, advice: str = "") -> int:
    """`result`, or a SetupError with the errno in words if it is negative."""
    if result < 0:
        number = ctypes.get_errno()
        text = f"{what}: {os.strerror(number)}"
        raise SetupError(number, f"{text}: {advice}" if advice and number == errno.EPERM else text)
    return result


def mount(
    source: str | None, target: str, fstype: str | None, flags: int = 0, data: str = "", advice: str = ""
) -> None:
    """mount(2)."""
    raw = [None if s is None else os.fsencode(s) for s in (source, target, fstype)]
    what = f"mount of {fstype or source} on {target}"
    step(what, libc.mount(raw[0], raw[1], raw[2], flags, os.fsencode(data)), advice)


class Disk:
    """A file system of the machine below /, which a host sees copy-on-write (or read-only, if overlayfs refuses it)."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.read_only = False


def unescape(field: str) -> str:
    """A field of mountinfo with its octal escapes resolved (proc_pid_mountinfo(5))."""
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, char)
    return field


def choose(mountinfo: str) -> tuple[list[Disk], list[str]]:
    """Which mounts a host sees, too, and which to detach, from the last mounted on."""
    kept: dict[str, str] = {}  # id -> path
    detach: list[str] = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        ident, parent, device, _, path, *_ = left.split(" ")
        path, fstype = unescape(path), right.split(" ")[0]
        if path == "/":
            kept = {ident: path}
        elif (
            (not device.startswith("0:") or fstype in DISKS)
            and parent in kept
            and not any(path == own or path.startswith(own + "/") for own in OWN)
            and not (fstype == "overlay" and path.endswith(CONTAINERS))
            and os.path.isdir(path)
        ):
            kept[ident] = path
        else:
            detach.append(path)
    disks = [Disk(path) for path in dict.fromkeys(kept.values()) if path != "/"]
    return disks, detach[::-1]


class Zygote:
    """What all hosts of one lab have in common."""

    def __init__(self, lab: str, wire: _socket.socket) -> None:
        self.lab = lab
        self.wire = wire
        self.disks: list[Disk] = []
        self.proc = -1  # the machine's /proc, which is no longer mounted
        self.home: list[tuple[int, int]] = []
        self.is_home = True
        self.devices: list[str] = []  # to bind, where none can be made: without root
        self.options = ""  # of every overlay

    def send(self, *fields: str) -> None:
        """One message to the process that started this one."""
        self.wire.send(os.fsencode("\0".join(fields)))

    def prepare(self, base: str) -> None:
        """Move into a private mount namespace with the machine's disks, read-only, and `base` as working folder.

        What stays out of it need not be copied into every host's namespace, and no mount made here
        ever shows on the machine.
        """
        step("unshare of the mount namespace", libc.unshare(CLONE_NEWNS))
        mount(None, "/", None, MS_REC | MS_PRIVATE)
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as f:
            self.disks, detach = choose(f.read())
        folders, self.devices = without_root(base)
        if folders:  # what the user namespace was given cannot be detached
            self.disks, detach = [Disk(path) for path in folders], []
            self.options = ",userxattr"
        self.proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.home = [
            (os.open(f"/proc/self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC), kind) for name, kind in KINDS
        ]
        flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE
        tree = step(f"open_tree of {base}", libc.syscall(SYS_OPEN_TREE, AT_FDCWD, os.fsencode(base), flags))
        for path in detach:
            libc.umount2(os.fsencode(path), MNT_DETACH)  # one that went with its parent is no error
        moved = libc.syscall(SYS_MOVE_MOUNT, tree, b"", AT_FDCWD, b"/proc", MOVE_MOUNT_F_EMPTY_PATH)
        step(f"move_mount of {base}", moved)
        os.close(tree)
        os.chdir("/proc")
        for disk in self.disks:
            disk.read_only = not self.can_overlay(disk)
        for path in ("/", *(disk.path for disk in self.disks if not folders)):
            make_read_only(path)

    def can_overlay(self, disk: Disk) -> bool:
        """Whether overlayfs takes the disk as its lower layer (it refuses vfat, for one)."""
        lower = disk.path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")
        data = os.fsencode(f"lowerdir=skeleton:{lower}{self.options}")
        if libc.mount(b"vtopo", b"root", b"overlay", 0, data) < 0:
            return False
        step("umount of a trial overlay", libc.umount2(b"root", MNT_DETACH))
        return True

    def make(self, index: str, node: str, hostname: str) -> None:
        """Make one host and tell what became of it."""
        pid = 0
        try:
            self.go_home()
            step("unshare", libc.unshare(ISOLATED))
            self.is_home = False
            self.build(node, hostname)
            pid = self.start_init(node)
            finish(hostname, self.devices)
            self.send("up", index, str(pid), *self.identity(pid))
        except SetupError as e:
            self.send("failed", index, str(e.args[0]), e.args[1])
        except OSError as e:
            self.send("failed", index, str(e.errno), f"{e.filename or 'set-up'}: {e.strerror}")
        else:
            return
        if pid:
            os.kill(pid, signal.SIGKILL)

    def go_home(self) -> None:
        """Return to the zygote's own namespaces, and so let go of the last host's."""
        if not self.is_home:
            for fd, kind in self.home:
                step("setns", libc.setns(fd, kind))
            self.is_home = True

    def identity(self, pid: int) -> tuple[str, str]:
        """Start time of the host's init (field 22 of proc_pid_stat(5)) and inode of its network namespace."""
        fd = os.open(f"{pid}/stat", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.proc)
        start = os.read(fd, 1024).rpartition(b")")[2].split()[19].decode()
        os.close(fd)
        return start, str(os.stat(f"{pid}/ns/net", dir_fd=self.proc).st_ino)

    def build(self, node: str, hostname: str) -> None:
        """Give this process, fresh from unshare, the host's root."""
        os.chdir("/proc")
        layer = f"hosts/{node}"
        upper = f"{layer}/upper"
        for folder in (layer, upper, f"{layer}/work", f"{upper}/etc"):
            os.mkdir(folder, 0o755)
        write(f"{upper}/etc/hostname", f"{hostname}\n")
        mark = f"vtopo:{self.lab}:{node}"
        lower = "skeleton" if self.options else "skeleton:/"
        layers = f"lowerdir={lower},upperdir={upper},workdir={layer}/work{self.options}"
        mount(mark, "root", "overlay", 0, layers)
        for name in self.devices:
            mount(f"devices/{name}", f"root/dev/{name}", None, MS_BIND)
        for number, disk in enumerate(self.disks):
            self.show(disk, mark, f"{layer}/{number}")
        # As an initramfs hands over: the new root covers the old one, which nothing can reach any more.
        # pivot_root and an umount would end the same way, but the umount waits 10 ms for the kernel.
        os.chdir("root")
        mount(".", "/", None, MS_MOVE)
        os.chroot(".")
        os.chdir("/")

    def start_init(self, node: str) -> int:
        """Start the host's first process, which mounts its /proc; its pid on the machine."""
        ours, theirs = os.pipe()
        try:
            pid = self.spawn(f"vtopo-init {self.lab} {node}", theirs)
        finally:
            os.close(theirs)
        try:
            answer = os.read(ours, 4)
        finally:
            os.close(ours)
        if len(answer) < 4:
            raise SetupError(errno.ECHILD, "its init was killed during set-up")
        number = -int.from_bytes(answer, sys.byteorder, signed=True)
        if number:
            os.kill(pid, signal.SIGKILL)
            ctypes.set_errno(number)
            step("mount of proc on /proc", -1, MASKED.format("/proc"))
        return pid

    def spawn(self, title: str, pipe: int) -> int:
        """A process that has nothing open but /dev/null and, until it has answered, the pipe as descriptor 3."""
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDWR, 0),
            *((os.POSIX_SPAWN_DUP2, 0, fd) for fd in (1, 2)),
            (os.POSIX_SPAWN_DUP2, pipe, 3),
        ]
        try:
            return os.posix_spawn(INIT, [title], os.environ, file_actions=actions, setsid=True)
        except FileNotFoundError:
            pass  # there is none for this machine's processor
        pid = os.fork()
        if pid == 0:
            try:
                stay(pipe)
            finally:
                os._exit(1)
        return pid

    def show(self, disk: Disk, mark: str, layer: str) -> None:
        """Put one of the machine's other disks into the new root."""
        target = f"root{disk.path}"
        if disk.read_only:
            mount(disk.path, target, None, MS_BIND)
            make_read_only(target)
            return
        for folder in (layer, f"{layer}/upper", f"{layer}/work"):
            os.mkdir(folder, 0o755)
        copy_owner(disk.path, f"{layer}/upper")
        lower = disk.path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")
        if disk.path == "/etc":  # without root
            lower = f"skeleton/etc:{lower}"
            os.rename(f"{layer[: layer.rindex('/')]}/upper/etc/hostname", f"{layer}/upper/hostname")
        layers = f"lowerdir={lower},upperdir={layer}/upper,workdir={layer}/work{self.options}"
        mount(mark, target, "overlay", 0, layers)


def copy_owner(path: str, to: str) -> None:
    """Give an upper layer's root the owner and mode of the folder that it covers."""
    status = os.stat(path)
    try:
        os.chown(to, status.st_uid, status.st_gid)
    except OSError as e:
        if e.errno != errno.EINVAL:  # an owner whom the user namespace does not have
            raise
    os.chmod(to, status.st_mode & 0o7777)


def without_root(base: str) -> tuple[list[str], list[str]]:
    """The folders that a host sees and the devices to bind, as the lab's tmpfs lists them where there is no root."""
    try:
        with open(f"{base}/shown", encoding="utf-8", errors="surrogateescape") as f:
            lines = [line.rstrip("\n") for line in f]
    except FileNotFoundError:
        return [], []
    return [line for line in lines if line[0] == "/"], [line for line in lines if line[0] != "/"]


def make_read_only(path: str) -> None:
    """mount_setattr(2), which leaves flags alone that a user namespace may not take from a mount."""
    attr = struct.pack("=QQQQ", MS_RDONLY, 0, 0, 0)
    what = f"mount_setattr of {path}"
    step(what, libc.syscall(SYS_MOUNT_SETATTR, AT_FDCWD, os.fsencode(path), 0, attr, len(attr)))


def finish(hostname: str, devices: list[str]) -> None:
    """What is left to do in a host's namespaces once it has a root and a /proc."""
    mount("/proc/sys", "/proc/sys", None, MS_BIND)
    mount(None, "/proc/sys", None, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_SAFE)
    mount("/proc/sys/net", "/proc/sys/net", None, MS_BIND)
    mount(None, "/proc/sys/net", None, MS_BIND | MS_REMOUNT | MS_SAFE)
    if os.path.exists("/proc/sysrq-trigger"):  # it would act on the whole machine
        mount("/dev/null", "/proc/sysrq-trigger", None, MS_BIND)
    mount("sysfs", "/sys", "sysfs", MS_SAFE, advice=MASKED.format("/sys"))
    mount(None, "/sys", None, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_SAFE)
    terminals = "newinstance,ptmxmode=0666,mode=620"
    try:
        mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, f"{terminals},gid=5")
    except SetupError:  # without root there may be no group tty
        mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, terminals)
    if devices:
        mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
    mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
    raw = os.fsencode(hostname)
    step("sethostname", libc.sethostname(raw, len(raw)))
    loopback_up()
    stop_forwarding()
    skip_duplicate_detection()
    keep_other_addresses()


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


def keep_other_addresses() -> None:
    """Taking away an interface's first address leaves the others of its subnet (promote_secondaries, ip-sysctl.rst)."""
    fd = os.open("/proc/sys/net/ipv4/conf/all/promote_secondaries", os.O_WRONLY | os.O_CLOEXEC)
    os.write(fd, b"1")
    os.close(fd)


def write(path: str, text: str) -> None:
    """A new file with `text`."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    os.write(fd, text.encode())
    os.close(fd)


def loopback_up() -> None:
    """Bring `lo` up with an ioctl, netdevice(7)."""
    s = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    flags = struct.unpack_from(
        "=h", fcntl.ioctl(s.fileno(), SIOCGIFFLAGS, struct.pack("=16s24x", b"lo")), 16
    )[0]
    fcntl.ioctl(s.fileno(), SIOCSIFFLAGS, struct.pack("=16sh22x", b"lo", flags | IFF_UP))
    s.close()


def stay(pipe: int) -> None:
    """Do in a fork of this program what the program `INIT` does."""
    result = libc.mount(b"proc", b"/proc", b"proc", MS_SAFE, None)
    answer = -ctypes.get_errno() if result < 0 else 0
    os.write(pipe, answer.to_bytes(4, sys.byteorder, signed=True))
    os.setsid()
    null = os.open("/dev/null", os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    os.closerange(3, 1 << 30)
    libc.prctl(PR_SET_NAME, b"vtopo-init", 0, 0, 0)
    while True:
        signal.pause()


def serve(zygote: Zygote) -> None:
    """Answer messages until the other end closes."""
    while message := zygote.wire.recv(1 << 16):
        verb, *fields = os.fsdecode(message).split("\0")
        if verb == "base":
            zygote.prepare(fields[0])
            zygote.send("ready")
            continue
        for i in range(0, len(fields), 3):
            zygote.make(*fields[i : i + 3])
        zygote.go_home()


def main() -> None:
    """Run until the socket on standard input closes; the last message tells of what ended it otherwise."""
    # A run that is killed makes no more hosts from that moment on: another may follow at once.
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    os.umask(0o022)
    zygote = Zygote(os.environ["VTOPO_LAB"], _socket.socket(fileno=0))
    try:
        serve(zygote)
    except SetupError as e:
        zygote.send("broken", str(e.args[0]), e.args[1])
    except OSError as e:
        if e.errno not in (errno.EPIPE, errno.ECONNRESET):
            zygote.send("broken", str(e.errno), f"{e.filename or 'zygote'}: {e.strerror}")
            sys.exit(1)


if __name__ == "__main__":
    main()
