#!/usr/bin/env python3
"""Shows where a process really runs and where its memory really lies, as the kernel says it.

usage: where.py PID [MIN_MIB]        only mappings of at least MIN_MIB (default 16) of present memory are listed
Lines, made to be matched by test scripts:
  thread TID NAME cpus LIST                     from /proc/PID/task/TID/status (Cpus_allowed_list)
  memory ADDRESS policy POLICY page_kib K nodes N0=MIB,N2=MIB    from /proc/PID/numa_maps
  total N0=MIB,N2=MIB                           of all mappings, small ones too
"""
import collections
import os
import re
import sys


def status_field(path: str, field: str) -> str:
    with open(path, encoding='utf-8', errors='replace') as file:
        for line in file:
            if line.startswith(field + ':'):
                return line.split(':', 1)[1].strip()
    return 'unknown'


def nodes_text(kib: dict[int, int]) -> str:
    return ','.join(f'N{node}={amount // 1024}' for node, amount in sorted(kib.items())) or 'none'


def main() -> int:
    if len(sys.argv) not in (2, 3) or not all(argument.isdigit() for argument in sys.argv[1:]):
        print(__doc__, file=sys.stderr)
        return 2
    root = f'/proc/{sys.argv[1]}'
    least_kib = 1024 * (int(sys.argv[2]) if len(sys.argv) == 3 else 16)
    total = collections.Counter()
    try:
        for tid in sorted(os.listdir(f'{root}/task'), key=int):
            status = f'{root}/task/{tid}/status'
            print(f'thread {tid} {status_field(status, "Name")} cpus {status_field(status, "Cpus_allowed_list")}')
        with open(f'{root}/numa_maps', encoding='utf-8', errors='replace') as maps:
            for line in maps:
                address, policy = line.split()[:2]
                page_kib = int((re.search(r'kernelpagesize_kB=(\d+)', line) or [0, 4])[1])
                kib = {int(node): int(pages) * page_kib for node, pages in re.findall(r' N(\d+)=(\d+)', line)}
                total.update(kib)
                if sum(kib.values()) >= least_kib:
                    print(f'memory {address} policy {policy} page_kib {page_kib} nodes {nodes_text(kib)}')
    except OSError as error:
        print(f'where.py: {error}', file=sys.stderr)
        return 1
    print(f'total {nodes_text(total)}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
