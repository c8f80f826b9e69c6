"""A host's init as a program of a few bytes, which takes a page of memory where Python takes megabytes.

    long result = mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    write(3, &result, 4); close(3);
    prctl(PR_SET_NAME, "vtopo-init"); for (;;) pause();

Only a process inside a pid namespace can mount that namespace's /proc; all else is done for it. The program for hosts
without files of their own, or whose /proc is there already, begins with `result = 0`. It is started
with SIGCHLD ignored, so that the kernel reaps every orphan. On machines for which there is no code here, a
fork of the zygote does the same.
"""

from __future__ import annotations

import struct

_BASE = 0x400000
_HEADERS = 64 + 56
_CODE = {
    "x86_64": bytes.fromhex(
        "b8a5000000"  # mov eax, 165          mount
        "488d3d53000000"  # lea rdi, [rip + 83]   "proc"
        "488d354b000000"  # lea rsi, [rip + 75]   "/proc"
        "4889fa"  # mov rdx, rdi
        "41ba0e000000"  # mov r10d, 14          MS_NOSUID | MS_NODEV | MS_NOEXEC
        "4531c0"  # xor r8d, r8d
        "0f05"  # syscall
        "50"  # push rax
        "b801000000"  # mov eax, 1            write
        "bf03000000"  # mov edi, 3
        "4889e6"  # mov rsi, rsp
        "ba04000000"  # mov edx, 4
        "0f05"  # syscall
        "b803000000"  # mov eax, 3            close
        "bf03000000"  # mov edi, 3
        "0f05"  # syscall
        "b89d000000"  # mov eax, 157          prctl
        "bf0f000000"  # mov edi, 15           PR_SET_NAME
        "488d3511000000"  # lea rsi, [rip + 17]   "vtopo-init"
        "0f05"  # syscall
        "b822000000"  # mov eax, 34           pause
        "0f05"  # syscall
        "ebf7"  # jmp to the mov before
    )
    + b"/proc\0vtopo-init\0",
}
_MOUNT = {"x86_64": 33}
"""How many bytes the call of mount(2) takes, up to where its result is put down."""
_NO_MOUNT = {"x86_64": bytes.fromhex("31c0")}  # xor eax, eax
_ELF_MACHINE = {"x86_64": 62}


def program(machine: str, mounts_proc: bool = True) -> bytes | None:
    """The ELF file (elf(5)) for a machine as uname(2) calls it; None if there is none. One may leave /proc alone."""
    code = _CODE.get(machine)
    if code is None:
        return None
    if not mounts_proc:
        code = _NO_MOUNT[machine] + code[_MOUNT[machine] :]
    ident = b"\x7fELF" + bytes((2, 1, 1)) + bytes(9)  # 64 bits, little endian
    size = _HEADERS + len(code)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        ident,
        2,
        _ELF_MACHINE[machine],
        1,
        _BASE + _HEADERS,
        64,
        0,
        0,
        64,
        56,
        1,
        0,
        0,
        0,
    )
    segment = struct.pack(
        "<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000
    )  # PT_LOAD, readable and executable
    return header + segment + code
