#!/usr/bin/env python3
"""Says whether KVM can run a guest here: a /dev/kvm that opens is not enough (containers, broken nesting, a KVM
that emulates in software and gives up at an instruction that it does not know).

usage: kvm_works.py       exit status 0 and "KVM works", or 1 and the reason
Wants the processor's virtualization (VMX or SVM), runs two instructions at the reset vector of a fresh VM and expects their port write within ten seconds.
"""
import ctypes
import fcntl
import mmap
import os
import signal
import struct
import sys

KVM_GET_API_VERSION, KVM_CREATE_VM, KVM_GET_VCPU_MMAP_SIZE = 0xAE00, 0xAE01, 0xAE04
KVM_CREATE_VCPU, KVM_SET_TSS_ADDR, KVM_RUN = 0xAE41, 0xAE47, 0xAE80
KVM_SET_USER_MEMORY_REGION = 0x4020AE46
KVM_EXIT_IO = 2
CODE = bytes([0xB0, 0x4B, 0xE6, 0x10])  # mov al, 'K'; out 0x10, al


def check_processor() -> None:
    with open('/proc/cpuinfo', encoding='ascii', errors='replace') as file:
        flags = next((line.split() for line in file if line.startswith('flags')), [])
    if 'vmx' not in flags and 'svm' not in flags:
        raise OSError('the processor shows neither VMX nor SVM')


def run_guest() -> None:
    version = fcntl.ioctl(kvm := os.open('/dev/kvm', os.O_RDWR | os.O_CLOEXEC), KVM_GET_API_VERSION)
    if version != 12:
        raise OSError(f'/dev/kvm has API version {version}, not 12')
    vm = fcntl.ioctl(kvm, KVM_CREATE_VM, 0)
    fcntl.ioctl(vm, KVM_SET_TSS_ADDR, 0x7FFBD000)  # older Intel processors need a place for it
    page = mmap.mmap(-1, 4096)
    page[0xFF0:0xFF0 + len(CODE)] = CODE
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    fcntl.ioctl(vm, KVM_SET_USER_MEMORY_REGION, struct.pack('=IIQQQ', 0, 0, 0xFFFFF000, 4096, address))
    vcpu = fcntl.ioctl(vm, KVM_CREATE_VCPU, 0)
    run = mmap.mmap(vcpu, fcntl.ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE))
    signal.signal(signal.SIGALRM, lambda *_: None)  # only interrupts the ioctl
    signal.alarm(10)
    try:
        fcntl.ioctl(vcpu, KVM_RUN, 0)
    except InterruptedError:
        raise OSError('a guest did not execute two instructions within 10 s') from None
    signal.alarm(0)
    reason = struct.unpack_from('=I', run, 8)[0]
    if reason != KVM_EXIT_IO:
        raise OSError(f'a guest ended with exit reason {reason} instead of its port write')


def main() -> int:
    try:
        check_processor()
        run_guest()
    except OSError as error:
        print(f'KVM does not work here: {error}')
        return 1
    print('KVM works')
    return 0


if __name__ == '__main__':
    sys.exit(main())
