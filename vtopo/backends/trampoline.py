"""A program of a few bytes that makes the system calls of a list; most often it becomes another by the last of them.

A child of fork(2) that is to enter a host is a copy of the Python that it came from: its page tables, then most of its
pages, and all of that taken apart again as it becomes the program. This costs more than all that is done in it. What
posix_spawn(3) starts is no copy; but it can enter nothing on the way, and that is what this program does then. It is
started with the arguments and the environment of what it becomes, and reads its list from descriptor 0:

    read(0, list, SIZE);
    for (call = list->first;; call++) {
        result = syscall(call->number, call->arguments...);  // execve: with argv and envp of this program
        if (result > 0 && call->mode == FORK) {
            list->result = result;
            call = list->parent - 1;
        }
        if (result >= 0 || call->mode == ALWAYS) continue;
        if (call->mode == TRY && (result == -ENOENT || result == -ENOTDIR)) continue;
        list->result = result;
        if (call->mode == TRY) continue;
        if (call->mode == AGAIN) { call--; continue; }
        list->failed = call;
        call = list->failing - 1;
    }

On machines for which there is no code here, a fork does the same.
"""

from __future__ import annotations

import errno
import os
import struct

MUST, ALWAYS, TRY, FORK, AGAIN = 0, 1, 2, 3, 4
"""What follows if a call fails: the calls for that case; the next one; the next one, and why is told at the end.

After one that forks, the child goes on with the next, and the parent with the calls for that case. One that is to
be made again is so for as long as it fails.
"""
PROGRAM = "vtopo-calls"
"""The program's file in a lab's tmpfs. Whenever lists change it gets another name: a lab may be older than vtopo is."""

_BASE, LIST, _SIZE = 0x400000, 0x10000000, 1 << 20
_HEADERS = 64 + 2 * 56
_HEAD, _ENTRY = struct.Struct("<6q"), struct.Struct("<7q")
_FAILURE = struct.Struct("<4q")
PID, PID_SIZE = LIST + 8, 8
"""Where the list has the pid of a child, for the parent after a fork; it fits into a C int, little endian."""
FAILURE, FAILURE_SIZE = LIST + 8, _FAILURE.size
"""Where it has what `failed` reads, once a call has failed that must not."""
_MFD_NOEXEC_SEAL = 8
_NUMBER = struct.Struct("<q")
_RECORD, _RECORDS = struct.Struct("<qq"), 256  # of a failure: the list's name, and minus the errno
_CODE = {
    "x86_64": bytes.fromhex(
        "4c8d6c2408"  # lea r13, [rsp + 8]      argv
        "488b0424"  # mov rax, [rsp]          argc
        "4d8d64c508"  # lea r12, [r13 + rax * 8 + 8]  envp
        "31c0"  # xor eax, eax            read
        "31ff"  # xor edi, edi
        "be00000010"  # mov esi, LIST
        "ba00001000"  # mov edx, _SIZE
        "0f05"  # syscall
        "488b1c2518000010"  # mov rbx, [LIST + 24]   first
        "488b03"  # mov rax, [rbx]          the loop
        "488b7b08"  # mov rdi, [rbx + 8]
        "488b7310"  # mov rsi, [rbx + 16]
        "488b5318"  # mov rdx, [rbx + 24]
        "4c8b5320"  # mov r10, [rbx + 32]
        "4c8b4328"  # mov r8, [rbx + 40]
        "83f83b"  # cmp eax, 59             execve
        "7506"  # jne to the syscall
        "4c89ee"  # mov rsi, r13
        "4c89e2"  # mov rdx, r12
        "0f05"  # syscall
        "4885c0"  # test rax, rax
        "7824"  # js to what follows a failure
        "48837b3003"  # cmp qword [rbx + 48], FORK
        "7406"  # je to what follows a fork
        "4883c338"  # add rbx, 56             the next
        "ebca"  # jmp to the loop
        "4885c0"  # test rax, rax           a fork
        "74f5"  # je to the next, in the child
        "4889042508000010"  # mov [LIST + 8], rax    result
        "488b1c2528000010"  # mov rbx, [LIST + 40]   parent
        "ebb3"  # jmp to the loop
        "48837b3004"  # cmp qword [rbx + 48], AGAIN   a failure
        "74ac"  # je to the loop
        "48837b3001"  # cmp qword [rbx + 48], ALWAYS
        "74d5"  # je to the next
        "721d"  # jb to what follows a MUST
        "48837b3002"  # cmp qword [rbx + 48], TRY
        "7516"  # jne to what follows a MUST
        "4883f8fe"  # cmp rax, -ENOENT
        "74c6"  # je to the next
        "4883f8ec"  # cmp rax, -ENOTDIR
        "74c0"  # je to the next
        "4889042508000010"  # mov [LIST + 8], rax    result
        "ebb6"  # jmp to the next
        "4889042508000010"  # mov [LIST + 8], rax    a MUST
        "48891c2520000010"  # mov [LIST + 32], rbx   failed
        "488b1c2510000010"  # mov rbx, [LIST + 16]   failing
        "e969ffffff"  # jmp to the loop
    )
}
# Numbers of the system calls that a list may have.
_NUMBERS = {
    "x86_64": {
        "read": 0,
        "write": 1,
        "open": 2,
        "close": 3,
        "rt_sigaction": 13,
        "ioctl": 16,
        "pwrite64": 18,
        "dup2": 33,
        "pause": 34,
        "socket": 41,
        "clone": 56,
        "execve": 59,
        "chdir": 80,
        "fchdir": 81,
        "umask": 95,
        "setsid": 112,
        "setgroups": 116,
        "setresuid": 117,
        "setresgid": 119,
        "pivot_root": 155,
        "prctl": 157,
        "setrlimit": 160,
        "mount": 165,
        "umount2": 166,
        "sethostname": 170,
        "exit_group": 231,
        "unshare": 272,
        "setns": 308,
        "open_tree": 428,
        "move_mount": 429,
        "close_range": 436,
    }
}
_ELF_MACHINE = {"x86_64": 62}


def program(machine: str) -> bytes | None:
    """The ELF file (elf(5)) for a machine as uname(2) calls it; None if there is none."""
    code = _CODE.get(machine)
    if code is None:
        return None
    ident = b"\x7fELF" + bytes((2, 1, 1)) + bytes(9)  # 64 bits, little endian
    start, size = _BASE + _HEADERS, _HEADERS + len(code)
    sizes = (64, 56, 2, 0, 0, 0)  # of the headers, and how many there are
    header = struct.pack("<16sHHIQQQIHHHHHH", ident, 2, _ELF_MACHINE[machine], 1, start, 64, 0, 0, *sizes)
    # Two of PT_LOAD: the code, readable and executable; the list, readable and writable, with nothing in it yet.
    text = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    data = struct.pack("<IIQQQQQQ", 1, 6, 0, LIST, LIST, 0, _SIZE, 0x1000)
    return header + text + data + code


class Calls:
    """A list for that program, as it grows."""

    def __init__(self, machine: str, name: int = 0) -> None:
        self._numbers = _NUMBERS[machine]
        self._data = b""
        self._first: list[bytes] = []
        self._parent: list[bytes] = []
        self._failing: list[bytes] = []
        self._name = name

    def at(self, data: bytes) -> int:
        """The address that data will have."""
        self._data += bytes(-len(self._data) % 8)
        place = LIST + _HEAD.size + len(self._data)
        self._data += data
        return place

    def text(self, text: str) -> int:
        """The address that a text will have, with a NUL at its end."""
        return self.at(os.fsencode(text) + b"\0")

    def _entry(self, name: str, arguments: tuple[int, ...], mode: int = MUST) -> bytes:
        return _ENTRY.pack(self._numbers[name], *arguments, *(0 for _ in range(5 - len(arguments))), mode)

    def call(self, name: str, *arguments: int, mode: int = MUST) -> int:
        """A system call by its name, with up to five arguments; which one it is, from 0."""
        self._first.append(self._entry(name, arguments, mode))
        return len(self._first) - 1

    def in_parent(self, name: str, *arguments: int) -> None:
        """One that the parent makes after a fork; what comes with `call` after that is the child's."""
        self._parent.append(self._entry(name, arguments))

    def if_failed(self, name: str, *arguments: int) -> None:
        """One that is made once a call has failed that must not."""
        self._failing.append(self._entry(name, arguments, ALWAYS))

    def record(self, failures: int) -> None:
        """Have a failure told in a file that `failure` reads, where it is known by the list's name."""
        self.if_failed("pwrite64", failures, LIST, _RECORD.size, _place(self._name))

    def execute(self, argv0: str, path: str) -> None:
        """execvpe(3): what the program becomes, looked for along `path` if it is a name without a slash."""
        if "/" in argv0:
            self.call("execve", self.text(argv0))
            return
        for folder in path.split(":"):
            self.call("execve", self.text(f"{folder or '.'}/{argv0}"), mode=TRY)

    def argument(self, call: int, number: int) -> int:
        """Where in the list a call has its argument of that number, from 0."""
        return _HEAD.size + len(self._data) + call * _ENTRY.size + (1 + number) * 8

    def list(self, status: int) -> bytes:
        """As the program reads it; OSError if it is too long. What fails ends it with an exit status."""
        self.if_failed("exit_group", status)
        first = LIST + _HEAD.size + len(self._data)
        parent = first + len(self._first) * _ENTRY.size
        failing = parent + len(self._parent) * _ENTRY.size
        head = _HEAD.pack(self._name, -errno.ENOENT, failing, first, 0, parent)
        whole = b"".join((head, self._data, *self._first, *self._parent, *self._failing))
        if len(whole) > _SIZE:
            raise OSError(errno.E2BIG, os.strerror(errno.E2BIG))
        return whole


def failed(told: bytes) -> tuple[int, int]:
    """Which call of a list failed, as `call` counted it, and the errno."""
    result, _, first, at = _FAILURE.unpack(told)
    return (at - first) // _ENTRY.size, -result


def sheet(data: bytes | bytearray) -> int:
    """A file in memory to be read from its beginning."""
    try:
        fd = os.memfd_create("calls", os.MFD_CLOEXEC)
    except PermissionError:  # a machine where such files may never be programs: vm.memfd_noexec
        fd = os.memfd_create("calls", os.MFD_CLOEXEC | _MFD_NOEXEC_SEAL)
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def renamed(whole: bytes, name: int) -> bytes:
    """A list that ends with `record` and with nothing after it, under another name."""
    at = len(whole) - 2 * _ENTRY.size + 4 * 8  # where the record goes
    return b"".join((_NUMBER.pack(name), whole[8:at], _NUMBER.pack(_place(name)), whole[at + 8 :]))


def failures() -> int:
    """A file for the failures of many lists.

    All of it is there from the beginning: where a host's memory is full, nothing can be added to any file.
    """
    fd = os.memfd_create("failures", os.MFD_CLOEXEC)
    os.write(fd, bytes(_RECORDS * _RECORD.size))
    return fd


def failure(file: int, name: int) -> int:
    """The errno with which the list of that name failed; 0 if it did not, or that was many failures ago."""
    whose, result = _RECORD.unpack(os.pread(file, _RECORD.size, _place(name)))
    return -result if whose == name else 0


def _place(name: int) -> int:
    return name % _RECORDS * _RECORD.size
