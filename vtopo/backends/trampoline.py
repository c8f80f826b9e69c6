"""A program of a few bytes that makes the system calls of a list, and becomes another by the last of them.

A child of fork(2) that is to enter a host is a copy of the Python that it came from: its page tables, then most of its
pages, and all of that taken apart again as it becomes the program. This costs more than all that is done in it. What
posix_spawn(3) starts is no copy; but it can enter nothing on the way, and that is what this program does then. It is
started with the arguments and the environment of what it becomes, and reads its list from descriptor 0:

    read(0, list, SIZE);
    for (call = list->first;; call++) {
        result = syscall(call->number, call->arguments...);  // execve: with argv and envp of this program
        if (result >= 0 || call->mode == ALWAYS) continue;
        if (call->mode == TRY && (result == -ENOENT || result == -ENOTDIR)) continue;
        list->result = result;
        if (call->mode == MUST) call = list->failing - 1;
    }

On machines for which there is no code here, a fork does the same.
"""

from __future__ import annotations

import errno
import os
import struct

MUST, ALWAYS, TRY = 0, 1, 2
"""What follows if a call fails: the calls for that case; the next one; the next one, and why is told at the end."""

_BASE, _LIST, _SIZE = 0x400000, 0x10000000, 1 << 20
_HEADERS = 64 + 2 * 56
_HEAD, _ENTRY = struct.Struct("<qqqq"), struct.Struct("<7q")
_RECORD, _RECORDS = struct.Struct("<qq"), 256  # of a failure: the list's name, and minus the errno
_CODE = {
    "x86_64": bytes.fromhex(
        "4c8d6c2408"  # lea r13, [rsp + 8]      argv
        "488b0424"  # mov rax, [rsp]          argc
        "4d8d64c508"  # lea r12, [r13 + rax * 8 + 8]  envp
        "31c0"  # xor eax, eax            read
        "31ff"  # xor edi, edi
        "be00000010"  # mov esi, _LIST
        "ba00001000"  # mov edx, _SIZE
        "0f05"  # syscall
        "488b1c2518000010"  # mov rbx, [_LIST + 24]   first
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
        "7806"  # js to the second cmp
        "4883c338"  # add rbx, 56             the next
        "ebd1"  # jmp to the loop
        "48837b3001"  # cmp qword [rbx + 48], ALWAYS
        "74f3"  # je to the next
        "7216"  # jb to what follows a MUST
        "4883f8fe"  # cmp rax, -ENOENT
        "74eb"  # je to the next
        "4883f8ec"  # cmp rax, -ENOTDIR
        "74e5"  # je to the next
        "4889042508000010"  # mov [_LIST + 8], rax    result
        "ebdb"  # jmp to the next
        "4889042508000010"  # mov [_LIST + 8], rax
        "488b1c2510000010"  # mov rbx, [_LIST + 16]   failing
        "eba0"  # jmp to the loop
    )
}
# Numbers of the system calls that a list may have.
_NUMBERS = {
    "x86_64": {
        "write": 1,
        "rt_sigaction": 13,
        "pwrite64": 18,
        "dup2": 33,
        "execve": 59,
        "chdir": 80,
        "umask": 95,
        "setgroups": 116,
        "setresuid": 117,
        "setresgid": 119,
        "prctl": 157,
        "setrlimit": 160,
        "exit_group": 231,
        "setns": 308,
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
    data = struct.pack("<IIQQQQQQ", 1, 6, 0, _LIST, _LIST, 0, _SIZE, 0x1000)
    return header + text + data + code


class Calls:
    """A list for that program, as it grows; who reads its failures knows it by `name`."""

    def __init__(self, machine: str, name: int, failures: int) -> None:
        """`failures` is the descriptor of a file that `failure` reads."""
        self._numbers = _NUMBERS[machine]
        self._data = b""
        self._calls = b""
        self._name = name
        self._failures = failures

    def at(self, data: bytes) -> int:
        """The address that data will have."""
        self._data += bytes(-len(self._data) % 8)
        place = _LIST + _HEAD.size + len(self._data)
        self._data += data
        return place

    def call(self, name: str, *arguments: int, mode: int = MUST) -> None:
        """A system call by its name, with up to five arguments."""
        self._calls += _ENTRY.pack(
            self._numbers[name], *arguments, *(0 for _ in range(5 - len(arguments))), mode
        )

    def execute(self, argv0: str, path: str) -> None:
        """execvpe(3): what the program becomes, looked for along `path` if it is a name without a slash."""
        if "/" in argv0:
            self.call("execve", self.at(os.fsencode(argv0) + b"\0"))
            return
        for folder in path.split(":"):
            self.call("execve", self.at(os.fsencode(f"{folder or '.'}/{argv0}") + b"\0"), mode=TRY)

    def list(self, status: int) -> bytes:
        """As the program reads it; OSError if it is too long. What fails ends it with an exit status."""
        first = _LIST + _HEAD.size + len(self._data)
        failing = first + len(self._calls)
        self.call("pwrite64", self._failures, _LIST, _RECORD.size, _place(self._name), mode=ALWAYS)
        self.call("exit_group", status)
        whole = _HEAD.pack(self._name, -errno.ENOENT, failing, first) + self._data + self._calls
        if len(whole) > _SIZE:
            raise OSError(errno.E2BIG, os.strerror(errno.E2BIG))
        return whole


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
