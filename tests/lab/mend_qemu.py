#!/usr/bin/env python3
"""Mends one fault of QEMU's emulated SVM in a copy of its program, so that a guest of KVM gets an interrupt once.

usage: mend_qemu.py FILE      FILE is qemu-system-x86_64 and is changed in place; says what it did

The fault: helper_vmrun (target/i386/tcg/system/svm_helper.c, at least to 11.1) delivers an injected interrupt at once, but has
written its vector into CPUState.exception_index before, where it stays. A CPU that is then called out of its loop
takes it for an exception that is yet to be delivered (cpu_handle_exception): the guest gets the interrupt a second time, even
with its interrupt flag clear. Seen so: a Linux guest of one CPU whose timer interrupt was interrupted by the timer's
interrupt, and which waited for ever for the timers' lock that it held. While a VF was plugged and unplugged this came in
rounds 4 and 35; with the mending, 300 rounds went through.

The mending: the store of the vector becomes a NOP of the same six bytes. Delivery does not read it. The program is changed
only if the place is found beyond doubt: the functions by their names in the table of dynamic symbols, and in
helper_vmrun one call of do_interrupt_x86_hardirq with one 32-bit store to a negative offset in the bytes before it.
(CPUState lies right before the registers that the function's pointer means; all else is stored behind.)
"""
import struct
import sys

NOP6 = bytes.fromhex('660f1f440000')


def sections(image: bytes) -> list[tuple[int, ...]]:
    """Type, address, offset, size, link of each section of a 64-bit little-endian ELF file."""
    if image[:6] != b'\x7fELF\x02\x01':
        raise ValueError('not a 64-bit little-endian ELF file')
    table, = struct.unpack_from('<Q', image, 0x28)
    size, count = struct.unpack_from('<HH', image, 0x3A)
    found = []
    for i in range(count):
        _, kind, _, address, offset, length, link = struct.unpack_from('<IIQQQQI', image, table + i * size)
        found.append((kind, address, offset, length, link))
    return found


def functions(image: bytes, names: set[str]) -> dict[str, tuple[int, int]]:
    """Address and size of each of `names` that is in the table of dynamic symbols."""
    all_sections, found = sections(image), {}
    for kind, _, offset, length, link in all_sections:
        if kind != 11:  # SHT_DYNSYM
            continue
        strings = all_sections[link][2]
        for at in range(offset, offset + length, 24):
            name, _, _, _, address, size = struct.unpack_from('<IBBHQQ', image, at)
            text = image[strings + name:image.index(b'\0', strings + name)].decode(errors='replace')
            if text in names:
                found[text] = (address, size)
    return found


def place_of_store(image: bytes) -> int:
    """File offset of the store."""
    names = {'helper_vmrun', 'do_interrupt_x86_hardirq'}
    found = functions(image, names)
    if set(found) != names:
        raise ValueError(f'no symbol {", ".join(sorted(names - set(found)))}')
    address, size = found['helper_vmrun']
    target = found['do_interrupt_x86_hardirq'][0]
    start = next(offset + address - at for kind, at, offset, length, _ in sections(image)
                 if kind == 1 and at <= address < at + length)  # SHT_PROGBITS
    code = image[start:start + size]
    calls = [i for i in range(size - 5) if code[i] == 0xE8
             and address + i + 5 + struct.unpack_from('<i', code, i + 1)[0] == target]
    if len(calls) != 1:
        raise ValueError(f'{len(calls)} calls of do_interrupt_x86_hardirq in helper_vmrun, not one')
    before = range(max(calls[0] - 80, 0), calls[0] - 5)
    # mov %reg, disp32(%base) without a prefix: 89 /r, mod 10, no SIB byte
    stores = [i for i in before if code[i] == 0x89 and code[i + 1] >> 6 == 2 and code[i + 1] & 7 != 4
              and code[i - 1] & 0xF0 != 0x40 and -0x10000 < struct.unpack_from('<i', code, i + 2)[0] < 0]
    if len(stores) != 1:
        raise ValueError(f'{len(stores)} stores before the call, not one')
    return start + stores[0]


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    with open(sys.argv[1], 'r+b') as file:
        image = file.read()
        try:
            place = place_of_store(image)
        except ValueError as error:
            print(f'QEMU is left as it is, its guests may get an interrupt twice: {error}')
            return 0
        file.seek(place)
        file.write(NOP6)
    print(f'QEMU mended: a guest gets an injected interrupt once (six bytes at {place:#x})')
    return 0


if __name__ == '__main__':
    sys.exit(main())
