"""A host's init as a program of a few bytes: it waits for ever, in a page of memory where Python takes megabytes.

    prctl(PR_SET_NAME, "vtopo-init"); for (;;) pause();

It is started with SIGCHLD ignored, so that the kernel reaps every orphan. On machines for which there is no
code here, a host's first process remains the clone of the zygote, which does the same.
"""

from __future__ import annotations

import struct

_BASE = 0x400000
_HEADERS = 64 + 56
_CODE = {
    "x86_64": bytes.fromhex(
        "b89d000000"  # mov eax, 157   prctl
        "bf0f000000"  # mov edi, 15    PR_SET_NAME
        "488d350b000000"  # lea rsi, [rip + 11]
        "0f05"  # syscall
        "b822000000"  # mov eax, 34    pause
        "0f05"  # syscall
        "ebf7"  # jmp to the mov before
    )
    + b"vtopo-init\0",
}
_ELF_MACHINE = {"x86_64": 62}


def program(machine: str) -> bytes | None:
    """The ELF file (elf(5)) for a machine as uname(2) calls it; None if there is none."""
    code = _CODE.get(machine)
    if code is None:
        return None
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
