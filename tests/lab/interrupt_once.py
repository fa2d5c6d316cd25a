#!/usr/bin/env python3
"""Counts the interrupts that a guest of KVM takes against those that it was given.

usage: interrupt_once.py SECONDS       exit status 0 if both are the same, else 1

The guest is two dozen instructions in real mode: its main program does nothing but tell by a port write that it can take
an interrupt; the handler counts, works for a while, and notes when it finds itself interrupted by itself, which a
processor rules out, for its interrupt flag is clear.
"""
import ctypes
import fcntl
import mmap
import os
import struct
import sys
import time

KVM_CREATE_VM, KVM_GET_VCPU_MMAP_SIZE = 0xAE01, 0xAE04
KVM_CREATE_VCPU, KVM_SET_TSS_ADDR, KVM_RUN = 0xAE41, 0xAE47, 0xAE80
KVM_SET_USER_MEMORY_REGION, KVM_INTERRUPT = 0x4020AE46, 0x4004AE86
KVM_EXIT_IO = 2
VECTOR, TAKEN, BUSY, NESTED = 0x20, 0x500, 0x504, 0x508
MAIN = bytes.fromhex('fb'             # sti
                     'e610 ebfc')     # 1: out 0x10, al; jmp 1b
HANDLER = bytes.fromhex('66ff060005'  # incl TAKEN
                        '803e040500'  # cmpb $0, BUSY
                        '7405'        # je 1f
                        '66ff060805'  # incl NESTED
                        'c606040501'  # 1: movb $1, BUSY
                        'bb2000'      # mov $32, %bx
                        'b90000'      # 2: mov $0, %cx (65,536 rounds)
                        'e2fe'        # 3: loop 3b
                        '4b75f8'      # dec %bx; jnz 2b
                        'c606040500'  # movb $0, BUSY
                        'cf')         # iret


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    kvm = os.open('/dev/kvm', os.O_RDWR | os.O_CLOEXEC)
    vm = fcntl.ioctl(kvm, KVM_CREATE_VM, 0)
    fcntl.ioctl(vm, KVM_SET_TSS_ADDR, 0x7FFBD000)
    ram, reset = mmap.mmap(-1, 0x10000), mmap.mmap(-1, 0x1000)
    reset[0xFF0:0xFF5] = bytes.fromhex('ea00100000')  # ljmp $0, $0x1000
    ram[0x1000:0x1000 + len(MAIN)] = MAIN
    ram[0x1100:0x1100 + len(HANDLER)] = HANDLER
    struct.pack_into('<HH', ram, 4 * VECTOR, 0x1100, 0)
    for slot, (memory, address) in enumerate(((ram, 0), (reset, 0xFFFFF000))):
        host = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        fcntl.ioctl(vm, KVM_SET_USER_MEMORY_REGION, struct.pack('=IIQQQ', slot, 0, address, len(memory), host))
    vcpu = fcntl.ioctl(vm, KVM_CREATE_VCPU, 0)
    run = mmap.mmap(vcpu, fcntl.ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE))
    given, end = 0, time.monotonic() + float(sys.argv[1])
    while True:
        fcntl.ioctl(vcpu, KVM_RUN, 0)
        reason = struct.unpack_from('=I', run, 8)[0]
        if reason != KVM_EXIT_IO:
            print(f'the guest ended with exit reason {reason}')
            return 1
        if time.monotonic() > end:
            break
        fcntl.ioctl(vcpu, KVM_INTERRUPT, struct.pack('=I', VECTOR))
        given += 1
    taken, nested = (struct.unpack_from('<I', ram, place)[0] for place in (TAKEN, NESTED))
    print(f'given {given}, taken {taken}, of these {nested} within the handler')
    return int(given < 100 or taken != given or nested != 0)


if __name__ == '__main__':
    sys.exit(main())
