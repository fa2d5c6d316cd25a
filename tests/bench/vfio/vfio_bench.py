#!/usr/bin/env python3
"""Devices of the host in guests of berth-vmm beside QEMU's vfio-pci, in the lab, by turns.

usage, inside the lab: vfio_bench.py --kernel FILE --initramfs FILE --vmm FILE --qemu FILE --out FILE.json
                                     [--rounds N] [--mib 1024,2048,4096] [--only map,network,viommu]

  map      system calls that map a guest's memory for a VF, and the time in them, by strace, for ordinary and for huge pages
  network  a VF: 32 MiB fetched over the wire, and round trips of ping, which two interrupts of the guest are part of
  viommu   the same behind each one's virtio-iommu with iommu.strict=1: each packet is mapped and unmapped by itself

A line for each measurement on stdout, all of them as JSON in FILE.json, with ratios (above 1: berth-vmm is better). Run by
run.sh. Times of an emulated machine: only the ratios mean something.
"""
import argparse
import base64
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

SYSFS = '/sys/bus/pci/devices/'
PF, VF, PEER = '0000:21:00.0', '0000:21:10.0', '0000:61:00.0'
MAC = '52:54:00:aa:00:00'
GUEST = f'''
for n in /sys/class/net/*; do [ "$(cat $n/address)" = {MAC} ] && vf=${{n##*/}}; done
ip addr add 10.9.0.2/24 dev $vf; ip link set $vf up
ping -c 3 -W 30 10.9.0.1 > /dev/null || echo "bench: no network"
now() {{ cut -d" " -f1 /proc/uptime; }}
packets() {{ echo $(($(cat /sys/class/net/$vf/statistics/rx_packets) + $(cat /sys/class/net/$vf/statistics/tx_packets))); }}
for i in 1 2 3; do
    a=$(now) p=$(packets)
    wget -q -O /dev/null http://10.9.0.1:8000/data && echo "bench: fetch $a $(now) $(($(packets) - p))"
done
ping -q -c 200 -A -W 30 10.9.0.1 | sed -n "s/^round-trip/bench: ping/p"
echo "bench: iommu $(ls /sys/kernel/iommu_groups | wc -l)"
'''


def write(path: str, text: str) -> None:
    with open(path, 'w', encoding='ascii') as file:
        file.write(text)


def netdev(address: str) -> str:
    return os.listdir(f'{SYSFS}{address}/net')[0]


def prepare(work: str) -> None:
    def ip(*words: str) -> None:
        subprocess.run(['ip', *words], check=True)
    pf, peer = netdev(PF), netdev(PEER)
    ip('link', 'set', pf, 'up')
    ip('link', 'set', peer, 'up')
    ip('addr', 'add', '10.9.0.1/24', 'dev', peer)
    write(f'{SYSFS}{PF}/sriov_drivers_autoprobe', '0')
    write(f'{SYSFS}{PF}/sriov_numvfs', '1')
    ip('link', 'set', pf, 'vf', '0', 'mac', MAC)
    write(f'{SYSFS}{VF}/driver_override', 'vfio-pci')
    write('/sys/bus/pci/drivers_probe', VF)
    os.mkdir(f'{work}/www')
    with open(f'{work}/www/data', 'wb') as file:
        file.write(os.urandom(32 << 20))


def gone(group: int) -> None:
    """Waits until a process group that was killed has given the device back: it ends behind its tracer."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise RuntimeError(f'process group {group} does not end')


class Bench:
    def __init__(self, options: argparse.Namespace, work: str):
        self.options = options
        self.work = work
        self.results: list[dict] = []

    def command(self, who: str, mib: int, append: str, huge: bool, viommu: bool) -> list[str]:
        line = f'console=ttyS0 quiet tsc=reliable no_timer_check panic=-1 {append}'
        boot = ['-kernel', self.options.kernel, '-initrd', f'{self.work}/initramfs', '-append', line]
        if who == 'berth-vmm':
            memory = f'size={mib}M' + (',hugepages=on,hugepage_size=2M' if huge else '')
            device = f'path={SYSFS}{VF},id=vf' + (',iommu=on' if viommu else '')
            return [self.options.vmm, '--kernel', self.options.kernel, '--initramfs', f'{self.work}/initramfs',
                    '--memory', memory, '--device', device, '--serial', 'tty', '--cmdline', line]
        memory = ['-m', str(mib)]
        machine = 'q35,smm=off,hpet=off,vmport=off,i8042=off,usb=off,sata=off,smbus=off'
        if huge:
            memory += ['-object', f'memory-backend-memfd,id=m,size={mib}M,hugetlb=on,hugetlbsize=2M']
            machine += ',memory-backend=m'
        return [self.options.qemu, '-no-user-config', '-nodefaults', '-display', 'none', '-no-reboot', '-accel', 'kvm',
                '-cpu', 'host,-svm', '-machine', machine, *memory, '-serial', 'stdio',
                *(['-device', 'virtio-iommu-pci'] if viommu else []), '-device', f'vfio-pci,host={VF}', *boot]

    def add(self, what: str, who: str, values: dict) -> None:
        self.results.append({'bench': what, 'who': who, **values})
        print(json.dumps(self.results[-1]), flush=True)

    @staticmethod
    def runs(trace: str) -> bool:
        if not os.path.exists(trace):
            return False
        with open(trace, 'rb') as file:
            return b'KVM_RUN' in file.read()

    def map_cost(self, who: str, mib: int, huge: bool) -> dict:
        trace = f'{self.work}/trace'
        command = self.command(who, mib, '', huge, False)
        if os.path.exists(trace):
            os.remove(trace)
        command = ['strace', '-f', '-T', '-e', 'trace=ioctl', '-o', trace, *command]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              start_new_session=True) as running:
            # all is mapped before a vCPU runs
            end = time.monotonic() + 120
            while time.monotonic() < end and running.poll() is None and not self.runs(trace):
                time.sleep(0.2)
            os.killpg(running.pid, signal.SIGKILL)
        gone(running.pid)
        took = []
        with open(trace, encoding='utf-8', errors='replace') as file:
            for line in file:
                if re.search(r'VFIO_IOMMU_MAP_DMA|0x3b, 0x71|0x3b71', line) and 'HOT_RESET_INFO' not in line:
                    end = re.search(r'<([0-9.]+)>$', line)
                    took.append(float(end.group(1)) if end else 0.0)
        if not took:
            raise RuntimeError(f'{who} has mapped nothing')
        return {'calls': len(took), 'ms': round(sum(took) * 1000, 1)}

    def network(self, what: str, who: str, viommu: bool) -> None:
        code = base64.b64encode(b'sh /run.sh').decode()
        append = f'berth.cmd={code}' + (' iommu.strict=1' if viommu else '')
        command = ['timeout', '400', *self.command(who, 256, append, False, viommu)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        text = done.stdout.decode(errors='replace').replace('\r', '')
        fetches = [tuple(map(float, m)) for m in re.findall(r'^bench: fetch (\S+) (\S+) (\d+)', text, re.M)]
        ping = re.search(r'^bench: ping min/avg/max = ([0-9.]+)/([0-9.]+)/', text, re.M)
        if len(fetches) != 3 or not ping:
            print(text[-3000:], file=sys.stderr)
            raise RuntimeError(f'{what}, {who}: the guest did not come to its end')
        if viommu and not re.search(r'^bench: iommu [1-9]', text, re.M):
            raise RuntimeError(f'{what}, {who}: the guest has no IOMMU')
        self.add(what, who, {
            'mib_per_s': round(statistics.median(32 / (b - a) for a, b, _ in fetches), 2),
            'packets_per_s': round(statistics.median(n / (b - a) for a, b, n in fetches)),
            'ping_min_ms': float(ping.group(1)), 'ping_avg_ms': float(ping.group(2))})

    def ratios(self) -> list[dict]:
        better_when_larger = {'mib_per_s': True, 'packets_per_s': True, 'ping_min_ms': False, 'ping_avg_ms': False,
                              'calls': False, 'ms': False}
        lines = []
        for what in dict.fromkeys(r['bench'] for r in self.results):
            line = {'bench': what}
            for key, larger in better_when_larger.items():
                ours, theirs = ([r[key] for r in self.results if r['bench'] == what and r['who'] == who and key in r]
                                for who in ('berth-vmm', 'QEMU'))
                if ours and theirs and statistics.median(ours) and statistics.median(theirs):
                    a, b = statistics.median(ours), statistics.median(theirs)
                    line[key] = {'berth-vmm': a, 'QEMU': b, 'ratio': round(a / b if larger else b / a, 2)}
            lines.append(line)
        return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ('kernel', 'initramfs', 'vmm', 'qemu', 'out'):
        parser.add_argument(f'--{name}', required=True)
    parser.add_argument('--rounds', type=int, default=2)
    parser.add_argument('--mib', default='1024,2048,4096')
    parser.add_argument('--only', default='map,network,viommu')
    options = parser.parse_args()
    only = options.only.split(',')
    with tempfile.TemporaryDirectory() as work:
        prepare(work)
        # the load in an archive behind the guest's own: too long for a command line
        write(f'{work}/run.sh', GUEST)
        with open(f'{work}/initramfs', 'wb') as file, open(options.initramfs, 'rb') as initramfs:
            file.write(initramfs.read())
            file.flush()
            subprocess.run('echo run.sh | cpio --quiet -o -H newc', shell=True, cwd=work, stdout=file, check=True)
        bench = Bench(options, work)
        with subprocess.Popen(['python3', '-m', 'http.server', '--directory', f'{work}/www', '--bind', '10.9.0.1', '8000'],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
            time.sleep(2)
            try:
                if 'map' in only:
                    # The lab's memory is not there before it is used: whoever is first would pay for that.
                    bench.map_cost('QEMU', max(map(int, options.mib.split(','))), False)
                for number in range(options.rounds):
                    turn = ('berth-vmm', 'QEMU') if number % 2 == 0 else ('QEMU', 'berth-vmm')
                    if 'map' in only:
                        for mib in map(int, options.mib.split(',')):
                            for huge in (False, True):
                                write('/proc/sys/vm/nr_hugepages', str(mib // 2 if huge else 0))
                                pages = '2 MiB' if huge else '4 KiB'
                                for who in turn:
                                    bench.add(f'map {mib} MiB of {pages} pages', who, bench.map_cost(who, mib, huge))
                        write('/proc/sys/vm/nr_hugepages', '0')
                    for what in ('network', 'viommu'):
                        for who in turn if what in only else ():
                            bench.network(what, who, what == 'viommu')
            finally:
                server.terminate()
        ratios = bench.ratios()
        for line in ratios:
            print(json.dumps(line))
        with open(options.out, 'w', encoding='ascii') as file:
            json.dump({'samples': bench.results, 'medians': ratios}, file, indent=1)
    return 0


if __name__ == '__main__':
    sys.exit(main())
