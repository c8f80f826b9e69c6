"""Runs a few million instructions in a guest of KVM and says `runs`; started on its own, since a broken KVM hangs.

The guest starts in real mode as a firmware does, enters protected and then long mode with paging, and counts down in
a loop. A KVM that cannot do that says why not; one that emulates instruction by instruction does not get done in time.
Documentation/virt/kvm/api.rst describes the ioctls.
"""

import ctypes
import fcntl
import mmap
import os
import struct
import sys

GET_API_VERSION, CREATE_VM, GET_VCPU_MMAP_SIZE, CREATE_VCPU = 0xAE00, 0xAE01, 0xAE04, 0xAE41
SET_TSS_ADDR, SET_USER_MEMORY_REGION, RUN = 0xAE47, 0x4020AE46, 0xAE80
GET_SREGS, SET_SREGS, SET_REGS = 0x8138AE83, 0x4138AE84, 0x4090AE82
GET_SUPPORTED_CPUID, SET_CPUID2 = 0xC008AE05, 0x4008AE90
EXIT_IO, EXIT_HLT = 2, 5

SIZE = 0x200000
START = 0x1000
ROUNDS = 4_000_000
"""A CPU does them in some 10 ms; emulated they take many seconds."""

# Assembled from what stands beside it.
CODE = bytes.fromhex(
    "660f0116b810"  # lgdtl gdtr                     real mode
    "0f20c0"  # mov %cr0, %eax
    "0c01"  # or $1, %al
    "0f22c0"  # mov %eax, %cr0
    "66ea161000000800"  # ljmpl $8, $prot
    "b810000000"  # prot: mov $16, %eax              protected mode
    "8ed8"  # mov %eax, %ds
    "8ed0"  # mov %eax, %ss
    "bc00600000"  # mov $0x6000, %esp
    "b032"  # mov $0x32, %al
    "e610"  # out %al, $0x10
    "c7050020000003300000"  # movl $0x3003, 0x2000   page tables: the first 2 MiB as they are
    "c7050030000003400000"  # movl $0x4003, 0x3000
    "c7050040000083000000"  # movl $0x83, 0x4000
    "0f20e0"  # mov %cr4, %eax
    "83c820"  # or $0x20, %eax
    "0f22e0"  # mov %eax, %cr4
    "b800200000"  # mov $0x2000, %eax
    "0f22d8"  # mov %eax, %cr3
    "b9800000c0"  # mov $0xC0000080, %ecx            EFER
    "0f32"  # rdmsr
    "0d00010000"  # or $0x100, %eax
    "0f30"  # wrmsr
    "0f20c0"  # mov %cr0, %eax
    "0d00000080"  # or $0x80000000, %eax
    "0f22c0"  # mov %eax, %cr0
    "ea771000001800"  # ljmp $24, $long
    "48c7c400700000"  # long: mov $0x7000, %rsp      long mode
    "b9_count_"  # mov $4000000, %ecx
    "51"  # 1: push %rcx
    "59"  # pop %rcx
    "e2fc"  # loop 1b
    "31c0"  # xor %eax, %eax
    "0fa2"  # cpuid
    "0f20d8"  # mov %cr3, %rax
    "0f22d8"  # mov %rax, %cr3
    "b064"  # mov $0x64, %al
    "e610"  # out %al, $0x10
    "f4"  # hlt
    "6690"  # (to a multiple of 8)
    "0000000000000000ffff0000009bcf00"  # gdt: null, code of 32 bits,
    "ffff00000093cf00ffff0000009baf00"  # data, code of 64 bits
    "1f0098100000".replace("_count_", struct.pack("<I", ROUNDS).hex())  # gdtr
)


def main() -> str:
    """`runs`, or what is wrong."""
    kvm = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    if fcntl.ioctl(kvm, GET_API_VERSION, 0) != 12:
        return "it has another interface than vtopo knows"
    vm = fcntl.ioctl(kvm, CREATE_VM, 0)
    memory = mmap.mmap(-1, SIZE)
    memory[START : START + len(CODE)] = CODE
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    fcntl.ioctl(vm, SET_TSS_ADDR, 0x7FFBD000)
    fcntl.ioctl(vm, SET_USER_MEMORY_REGION, struct.pack("=IIQQQ", 0, 0, 0, SIZE, address))
    vcpu = fcntl.ioctl(vm, CREATE_VCPU, 0)
    run = mmap.mmap(vcpu, fcntl.ioctl(kvm, GET_VCPU_MMAP_SIZE, 0))
    _set_registers(kvm, vcpu)
    seen = []
    for _ in range(16):
        fcntl.ioctl(vcpu, RUN, 0)
        reason = struct.unpack_from("=I", run, 8)[0]
        if reason == EXIT_HLT:
            break
        if reason != EXIT_IO:
            return f"a guest that does nothing special ends with exit reason {reason}"
        seen.append(run[struct.unpack_from("=Q", run, 40)[0]])
    return "runs" if seen == [0x32, 0x64] else f"a guest goes astray: {seen}"


def _set_registers(kvm: int, vcpu: int) -> None:
    features = bytearray(8 + 40 * 256)
    struct.pack_into("=I", features, 0, 256)
    fcntl.ioctl(kvm, GET_SUPPORTED_CPUID, features, True)
    fcntl.ioctl(vcpu, SET_CPUID2, features, True)
    special = bytearray(312)
    fcntl.ioctl(vcpu, GET_SREGS, special, True)
    struct.pack_into("=QIH", special, 0, 0, 0xFFFF, 0)  # the code segment begins at 0
    fcntl.ioctl(vcpu, SET_SREGS, bytes(special))
    general = [0] * 16 + [START, 2]  # rip, rflags
    fcntl.ioctl(vcpu, SET_REGS, struct.pack("=18Q", *general))


if __name__ == "__main__":
    try:
        print(main())
    except OSError as e:
        print(e.strerror)
        sys.exit(1)
