#!/usr/bin/python3
"""Takes the ELF kernel out of a bzImage, to boot it by its PVH entry point.

usage: vmlinux.py BZIMAGE VMLINUX       needs the program that the kernel was packed with: xz, zstd, gzip or lz4
"""
import subprocess
import sys

TOOLS = {b'\xfd7zXZ': ['xz', '-dc'], b'\x28\xb5\x2f\xfd': ['zstd', '-dcq'], b'\x1f\x8b': ['gzip', '-dc'],
         b'\x02\x21\x4c\x18': ['lz4', '-dcq']}


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    image = open(sys.argv[1], 'rb').read()
    if image[0x202:0x206] != b'HdrS' and image[0x1fe:0x200] != b'\x55\xaa':
        sys.exit(f'vmlinux.py: {sys.argv[1]} is no bzImage')
    # Linux boot protocol 2.08: setup_sects, payload_offset, payload_length
    start = (image[0x1f1] + 1) * 512 + int.from_bytes(image[0x248:0x24c], 'little')
    payload = image[start:start + int.from_bytes(image[0x24c:0x250], 'little')]
    tool = next((tool for magic, tool in TOOLS.items() if payload.startswith(magic)), None)
    if tool is None:
        sys.exit(f'vmlinux.py: packed in an unknown way ({payload[:6].hex()})')
    # What follows the packed data makes some programs complain: what counts is that an ELF file comes out.
    elf = subprocess.run(tool, input=payload, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout
    if not elf.startswith(b'\x7fELF'):
        sys.exit(f'vmlinux.py: {tool[0]} yields no ELF file')
    open(sys.argv[2], 'wb').write(elf)


if __name__ == '__main__':
    main()
