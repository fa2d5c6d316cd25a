#!/usr/bin/env python3
"""vmm_bench.py - berth-vmm beside qemu-system-x86_64 (microvm and q35), on the same host with the same kernel,
initramfs, backends and guest, in alternating order; prints a table and writes every sample as JSON.

usage: vmm_bench.py --vmm BERTH-VMM --qemu QEMU --kernel BZIMAGE --initramfs CPIO [--out FILE] [--iterations N]
                    [--only start,halted,init,boot,devices,io] [--vmms berth,microvm,q35] [--memory MIB]
                    [--load GUEST_LOAD] [--init-kernel NAME=BZIMAGE]... [--init-initramfs CPIO]
       vmm_bench.py --sum FOLDER           one table, the goals, and FOLDER/vmm.json out of the files of earlier runs

  start    exec to API (or QMP) answers: wall and CPU time; and to the machine that is built, which for QEMU, stopped
           before its first instruction (-S), is the same
  halted   memory without guest RAM and threads around a guest that is a halted processor (under QEMU: a stopped one);
           runs where no Linux can
  init     exec to the first words of a guest's /init, which is all that its initramfs has, with each of the kernels;
           also beside q35-iommu, q35 with all that is its default, and a vIOMMU (q35 elsewhere has what it can be
           without turned off)
  boot     exec to the user space of a guest with modules; then memory without guest RAM, and threads
  devices  the same memory and threads with 4 disks and 4 network devices
  io       disk reads and writes and TCP streams in the guest, by guest_load in the initramfs; --load runs on the host

What needs a running guest works where KVM runs Linux: on hardware, or in the lab (run.sh does that). Times from the
emulated lab say something only in relation to each other, so the table has ratios.
"""
import argparse
import base64
import json
import os
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

RAM_MAPPING_KB = 64 << 10  # a mapping of this size or more is guest RAM


class Sample(dict):
    """name -> number, of one run."""


class Run:
    """One VMM process, with a guest or without, in a folder of its own."""

    def __init__(self, args, kind, disks=0, nets=0, command='', paused=False, firmware='', payload=None):
        self.args, self.kind, self.nets = args, kind, nets
        self.kernel, self.initramfs = payload or (args.kernel, args.initramfs)
        self.folder = tempfile.mkdtemp(prefix='vmm-bench-', dir='/dev/shm' if os.path.isdir('/dev/shm') else None)
        self.serial = os.path.join(self.folder, 'serial.log')
        self.socket = os.path.join(self.folder, 'api')
        self.disks = []
        for i in range(disks):
            path = os.path.join(self.folder, f'disk{i}')
            with open(path, 'wb') as file:
                file.write(os.urandom(1 << 20) * args.disk_mib)
            self.disks.append(path)
        code = base64.b64encode(command.encode()).decode()
        self.cmdline = ('console=ttyS0 quiet tsc=reliable no_timer_check panic=-1 '
                        + (f'berth.cmd={code}' if command else ''))
        self.firmware = firmware
        line = self.berth_line() if kind == 'berth' else self.qemu_line(paused)
        self.log = open(os.path.join(self.folder, 'log'), 'wb')
        self.start = time.monotonic()
        self.process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def taps(self):
        return [f'bench{i}' for i in range(self.nets)]

    def berth_line(self):
        a = self.args
        payload = ['--firmware', self.firmware] if self.firmware else [
            '--kernel', self.kernel, '--initramfs', self.initramfs, '--cmdline', self.cmdline]
        line = [a.vmm, *payload,
                '--cpus', f'boot={a.cpus}', '--memory', f'size={a.memory}M', '--serial', f'file={self.serial}',
                '--api-socket', self.socket, '--log-level', 'warning']
        if self.disks:
            line += ['--disk'] + [f'path={path}' for path in self.disks]
        if self.nets:
            line += ['--net'] + [f'tap={tap}' for tap in self.taps()]
        return line

    def qemu_line(self, paused):
        a = self.args
        machine = {
            'microvm': ['-M', 'microvm,acpi=on,pcie=on,x-option-roms=off,pit=off,pic=off,rtc=off,isa-serial=on'],
            'q35': ['-M', 'q35,smm=off,hpet=off,vmport=off,i8042=off,usb=off,sata=off,smbus=off'],
            'q35-iommu': ['-M', 'q35,kernel-irqchip=split', '-device',
                          'intel-iommu,intremap=on,caching-mode=on,aw-bits=48,eim=on,device-iotlb=on'],
        }[self.kind]
        line = [a.qemu, *machine, '-accel', 'kvm', '-cpu', 'host,-svm,-arch-capabilities', '-m', str(a.memory),
                '-smp', str(a.cpus),
                '-nodefaults', '-no-user-config', '-display', 'none', '-monitor', 'none',
                '-serial', f'file:{self.serial}', '-qmp', f'unix:{self.socket},server=on,wait=off',
                '-object', 'rng-random,id=rng,filename=/dev/urandom', '-device', 'virtio-rng-pci,rng=rng',
                *(['-bios', self.firmware] if self.firmware else
                  ['-kernel', self.kernel, '-initrd', self.initramfs, '-append', self.cmdline])]
        if self.kind == 'microvm' and not self.firmware:
            line += ['-bios', 'qboot.rom']  # SeaBIOS, the default with ACPI, loads a kernel by an option ROM only
        if paused:
            line.append('-S')
        for i, path in enumerate(self.disks):
            line += ['-drive', f'if=none,id=d{i},format=raw,file={path},aio=io_uring',
                     '-device', f'virtio-blk-pci,drive=d{i}']
        for i, tap in enumerate(self.taps()):
            line += ['-netdev', f'tap,id=n{i},ifname={tap},script=no,downscript=no,vhost=off',
                     '-device', f'virtio-net-pci,netdev=n{i},romfile=']
        return line

    def ask(self, what):
        """What the API says; of QEMU, its greeting."""
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(10)
        try:
            client.connect(self.socket)
            if self.kind == 'berth':
                client.sendall(b'GET /api/v1/%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' % what)
            return client.recv(65536)
        except OSError:
            return b''
        finally:
            client.close()

    def answers(self):
        return bool(self.ask(b'vmm.ping'))

    def built(self):
        """Whether the machine is there: it runs, or, under QEMU, waits for the word to."""
        return self.kind != 'berth' or b'"state":"Running"' in self.ask(b'vm.info')

    def wait_for(self, what, seconds, step=0.0005):
        deadline = time.monotonic() + seconds
        while not what():
            if self.process.poll() is not None or time.monotonic() > deadline:
                with open(self.log.name, 'rb') as file:
                    tail = file.read()[-2000:].decode(errors='replace')
                raise RuntimeError(f'{self.kind} did not come so far (status {self.process.poll()}): {tail}'
                                   f'\n{self.said()[-2000:]}')
            time.sleep(step)
        return time.monotonic() - self.start

    def said(self):
        try:
            with open(self.serial, errors='replace') as file:
                return file.read()
        except OSError:
            return ''

    def tasks(self):
        folder = f'/proc/{self.process.pid}/task'
        return [os.path.join(folder, task) for task in os.listdir(folder)]

    def cpu_seconds(self):
        total = 0
        for task in self.tasks():
            with open(os.path.join(task, 'schedstat')) as file:
                total += int(file.read().split()[0])
        return total / 1e9

    def memory(self):
        """kB of the process without mappings of guest RAM: resident, proportional, private and dirty."""
        sums = {'rss_kb': 0, 'pss_kb': 0, 'dirty_kb': 0}
        names = {'Rss': 'rss_kb', 'Pss': 'pss_kb', 'Private_Dirty': 'dirty_kb'}
        ram = False
        with open(f'/proc/{self.process.pid}/smaps') as file:
            for line in file:
                match = re.match(r'(\w+): +(\d+) kB', line)
                if not match:
                    continue
                if match[1] == 'Size':
                    ram = int(match[2]) >= RAM_MAPPING_KB
                elif match[1] in names and not ram:
                    sums[names[match[1]]] += int(match[2])
        return sums

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def start(args, kind):
    # A processor that halts at its first instruction: what is measured is the VMM.
    run = Run(args, kind, paused=True, firmware=args.halt)
    try:
        wall = run.wait_for(run.answers, 60)
        sample = Sample(ready_ms=wall * 1e3, ready_cpu_ms=run.cpu_seconds() * 1e3)
        wall = run.wait_for(run.built, 60)
        sample.update(built_ms=wall * 1e3, built_cpu_ms=run.cpu_seconds() * 1e3)
        return sample
    finally:
        run.end()


def halted(args, kind):
    sample = Sample()
    for count in (0, 4):
        run = Run(args, kind, disks=count, nets=count, paused=True, firmware=args.halt)
        try:
            run.wait_for(run.answers, 60)
            run.wait_for(run.built, 60)
            time.sleep(1)
            for name, value in idle(run).items():
                if name in ('rss_kb', 'dirty_kb', 'threads'):
                    sample[f'halted_{name}' + ('_4x4' if count else '')] = value
        finally:
            run.end()
    return sample


def idle(run):
    sample = Sample(run.memory())
    names = []
    for task in run.tasks():
        with open(os.path.join(task, 'comm')) as file:
            names.append(file.read().strip())
    # KVM adds one of the kernel's own to each process, which gives huge pages back.
    names = [name for name in names if not name.startswith('kvm-nx-lpage')]
    sample['threads'] = len(names)
    return sample


def init(args, kind):
    sample = Sample()
    for name, kernel in args.init_kernels.items():
        run = Run(args, kind, disks=1, nets=1, payload=(kernel, args.init_initramfs))
        try:
            sample[f'init_s_{name}'] = run.wait_for(lambda run=run: 'berth-guest: init' in run.said(), args.patience,
                                                    0.005)
        finally:
            run.end()
    return sample


def boot(args, kind, disks=1, nets=1):
    run = Run(args, kind, disks=disks, nets=nets, command='sleep 100000')
    try:
        up = run.wait_for(lambda: 'berth-guest: up' in run.said(), args.patience, 0.005)
        time.sleep(2)
        return Sample(user_space_s=up, **idle(run))
    finally:
        run.end()


def devices(args, kind):
    sample = boot(args, kind, disks=4, nets=4)
    return Sample({name + '_4x4': sample[name] for name in ('rss_kb', 'pss_kb', 'dirty_kb', 'threads')})


LOAD = '''
ip addr add 10.78.0.2/24 dev eth0; ip link set eth0 up
for i in 1 2; do
    echo "bench: seq_read_mib_s $(guest_load seq /dev/vda {mib})"
    echo "bench: rand_read_iops $(guest_load rand /dev/vda {seconds} 8)"
    echo "bench: seq_write_mib_s $(guest_load seq /dev/vda {mib} write)"
    echo "bench: rand_write_iops $(guest_load rand /dev/vda {seconds} 8 write)"
    echo "bench: net_send_mbit_s $(guest_load send 10.78.0.1 5001 {net})"
    echo "bench: net_recv_mbit_s $(guest_load recv 10.78.0.1 5002)"
done
echo "bench: end"
'''


def io(args, kind):
    load = LOAD.format(mib=args.disk_mib, seconds=args.seconds, net=args.net_mib)
    servers = [subprocess.Popen([args.load, 'sink', '5001']),
               subprocess.Popen([args.load, 'source', '5002', str(args.net_mib)])]
    run = Run(args, kind, disks=1, nets=1, command=load)
    try:
        run.wait_for(lambda: 'bench: end' in run.said(), args.patience, 0.05)
        # The second round, with everything warm.
        return Sample({name: float(value)
                       for name, value in re.findall(r'bench: (\w+) ([0-9.]+)', run.said())})
    finally:
        run.end()
        for server in servers:
            server.kill()
            server.wait()


SCENARIOS = {'start': start, 'halted': halted, 'init': init, 'boot': boot, 'devices': devices, 'io': io}

# What berth-vmm is to keep to: figure, largest value, or with one of QEMU's machines as its measure, largest ratio to
# it. Of `io` the smallest ratio counts. `init_s` is one figure for each kernel.
GOALS = [
    ('ready_ms', None, 10), ('ready_cpu_ms', None, 8), ('init_s', 'microvm', 1.0), ('init_s', 'q35-iommu', 0.5),
    ('halted_rss_kb', None, 5 << 10), ('halted_rss_kb_4x4', None, 10 << 10), ('halted_threads', None, 5),
    ('rss_kb', None, 5 << 10), ('rss_kb_4x4', None, 10 << 10), ('threads', None, 5),
    ('seq_read_mib_s', 'microvm', -1.0), ('rand_read_iops', 'microvm', -1.0), ('net_send_mbit_s', 'microvm', -1.0),
    ('net_recv_mbit_s', 'microvm', -1.0), ('seq_read_mib_s', 'q35', -1.0), ('rand_read_iops', 'q35', -1.0),
    ('net_send_mbit_s', 'q35', -1.0), ('net_recv_mbit_s', 'q35', -1.0),
    ('seq_write_mib_s', 'microvm', -1.0), ('rand_write_iops', 'microvm', -1.0), ('seq_write_mib_s', 'q35', -1.0),
    ('rand_write_iops', 'q35', -1.0),
]
BINARY_GOAL = 4 << 20


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def verdicts(result):
    """(text, met) of each goal that there are figures for."""
    lines = []
    kernels = [name for name in result['samples'] if name.startswith('init_s_')]
    goals = [(each, measure, limit) for name, measure, limit in GOALS
             for each in (kernels if name == 'init_s' else [name])]
    for name, measure, limit in goals:
        values = result['samples'].get(name, {})
        if not values.get('berth') or (measure and not values.get(measure)):
            continue
        figure = statistics.median(values['berth'])
        if measure:
            figure /= statistics.median(values[measure])
        met = figure >= -limit if limit < 0 else figure <= limit
        sign = '>=' if limit < 0 else '<='
        of = f' / {measure}' if measure else ''
        lines.append((f'{name + of:28} {figure:10.4g} {sign} {abs(limit):g}', met))
    size = result['binaries'].get('berth', {}).get('stripped_bytes')
    if size:
        lines.append((f'{"stripped_bytes":28} {size:10d} <= {BINARY_GOAL}', size <= BINARY_GOAL))
    return lines


def tell(result, kinds):
    print()
    print(table(result['samples'], kinds))
    for name, facts in result['binaries'].items():
        print(f'{name}: {facts["stripped_bytes"] / (1 << 20):.2f} MiB stripped, '
              f'{facts["shared_libraries"]} shared libraries')
    print('\ngoals')
    for text, met in verdicts(result):
        print(f'{text:50} {"met" if met else "MISSED"}')


def add_up(folder):
    """Files of single scenarios -> one."""
    whole = {'hosts': {}, 'binaries': {}, 'samples': {}}
    for scenario in SCENARIOS:
        path = os.path.join(folder, scenario + '.json')
        if not os.path.exists(path):
            continue
        with open(path) as file:
            part = json.load(file)
        whole['hosts'][scenario] = part['host']
        whole['guest'] = part['guest']
        whole['binaries'].update(part['binaries'])
        for name, values in part['samples'].items():
            if name != 'failed':
                whole['samples'].setdefault(name, {}).update(values)
    whole['medians'] = {name: {kind: statistics.median(list_) for kind, list_ in values.items()}
                        for name, values in whole['samples'].items()}
    whole['p95'] = {name: {kind: percentile(list_, 0.95) for kind, list_ in values.items()}
                    for name, values in whole['samples'].items()}
    whole['goals'] = [{'goal': text, 'met': met} for text, met in verdicts(whole)]
    with open(os.path.join(folder, 'vmm.json'), 'w') as file:
        json.dump(whole, file, indent=1)
    tell(whole, ['berth', 'microvm', 'q35', 'q35-iommu'])


def halting_firmware():
    """Two pages whose reset vector is a halt."""
    with tempfile.NamedTemporaryFile(prefix='vmm-bench-', suffix='.halt', delete=False) as file:
        file.write(b'\xf4' * (65536 - 16) + b'\xf4\xeb\xfd' + b'\xf4' * 13)
    return file.name


def make_taps(count):
    for i in range(count):
        tap = f'bench{i}'
        if os.path.exists(f'/sys/class/net/{tap}'):
            continue
        subprocess.run(['ip', 'tuntap', 'add', tap, 'mode', 'tap'], check=True)
        subprocess.run(['ip', 'addr', 'add', f'10.78.{i}.1/24', 'dev', tap], check=True)
        subprocess.run(['ip', 'link', 'set', tap, 'up'], check=True)


def binaries(args):
    """Bytes of each program, stripped, and how many shared libraries it loads."""
    facts = {}
    for name, path in (('berth', args.vmm), ('qemu', args.qemu_binary or args.qemu)):
        real = os.path.realpath(shutil.which(path) or path)
        stripped = os.path.getsize(real)
        if shutil.which('strip'):
            with tempfile.NamedTemporaryFile() as copy:
                if subprocess.run(['strip', '-o', copy.name, real], stderr=subprocess.DEVNULL).returncode == 0:
                    stripped = os.path.getsize(copy.name)
        libraries = subprocess.run(['ldd', real], capture_output=True, text=True, check=False).stdout.count('=>')
        facts[name] = {'stripped_bytes': stripped, 'shared_libraries': libraries}
    return facts


def measure(args):
    samples = {}
    for scenario in args.only:
        count = args.iterations if scenario in ('start', 'init', 'io') else 1
        if scenario == 'start':
            count = max(count, args.starts)
        for iteration in range(count):
            vmms = args.vmms + (['q35-iommu'] if scenario == 'init' and 'q35' in args.vmms else [])
            for kind in vmms[iteration % len(vmms):] + vmms[:iteration % len(vmms)]:
                try:
                    sample = SCENARIOS[scenario](args, kind)
                except RuntimeError as error:
                    print(f'vmm_bench: {scenario}: {error}', file=sys.stderr)
                    sample = {'failed': 1}
                for name, value in sample.items():
                    samples.setdefault(name, {}).setdefault(kind, []).append(value)
                print(f'{scenario} {iteration} {kind}: '
                      + ', '.join(f'{name} {value:.4g}' for name, value in sample.items()), flush=True)
    return samples


def table(samples, kinds):
    lines = [f'{"median":24}' + ''.join(f'{kind:>12}' for kind in kinds)
             + ''.join(f'{"/ " + kind:>12}' for kind in kinds if kind != 'berth')]
    for name, values in samples.items():
        medians = {kind: statistics.median(values[kind]) for kind in kinds if values.get(kind)}
        line = f'{name:24}' + ''.join(f'{medians[kind]:12.4g}' if kind in medians else f'{"-":>12}' for kind in kinds)
        for kind in kinds:
            if kind != 'berth':
                both = 'berth' in medians and medians.get(kind)
                line += f'{medians["berth"] / medians[kind]:12.2f}' if both else f'{"-":>12}'
        lines.append(line)
    return '\n'.join(lines)


def main():
    parser = argparse.ArgumentParser(usage=__doc__, add_help=False)
    parser.add_argument('--sum', default='')
    parser.add_argument('--vmm', default='berth-vmm')
    parser.add_argument('--qemu', default='qemu-system-x86_64')
    parser.add_argument('--qemu-binary', default='')
    parser.add_argument('--kernel', default='')
    parser.add_argument('--initramfs', default='')
    parser.add_argument('--init-kernel', default=[], action='append', dest='init_kernels')
    parser.add_argument('--init-initramfs', default='')
    parser.add_argument('--out', default='')
    parser.add_argument('--iterations', type=int, default=10)
    parser.add_argument('--starts', type=int, default=10)
    parser.add_argument('--only', default=','.join(SCENARIOS), type=lambda text: text.split(','))
    parser.add_argument('--vmms', default='berth,microvm,q35', type=lambda text: text.split(','))
    parser.add_argument('--memory', type=int, default=256)
    parser.add_argument('--cpus', type=int, default=1)
    parser.add_argument('--load', default='guest_load')
    parser.add_argument('--disk-mib', type=int, default=64)
    parser.add_argument('--net-mib', type=int, default=192)
    parser.add_argument('--seconds', type=float, default=5)
    parser.add_argument('--patience', type=float, default=400)
    args = parser.parse_args()
    if args.sum:
        add_up(args.sum)
        return 0
    args.init_kernels = dict(text.split('=', 1) for text in args.init_kernels)
    args.halt = halting_firmware()
    if set(args.only) & {'halted', 'init', 'boot', 'devices', 'io'}:
        make_taps(4 if set(args.only) & {'halted', 'devices'} else 1)
    # The page cache has what is measured: one run of each that does not count.
    for kernel in args.init_kernels.values():
        with open(kernel, 'rb') as file:
            file.read()
    for kind in args.vmms if 'start' in args.only else []:
        start(args, kind)
    samples = measure(args)
    result = {
        'host': {'kernel': platform.release(), 'cpus': os.cpu_count(), 'time': time.strftime('%Y-%m-%dT%H:%M:%SZ',
                                                                                             time.gmtime())},
        'guest': {'kernel': args.kernel, 'memory_mib': args.memory, 'cpus': args.cpus},
        'binaries': binaries(args),
        'samples': samples,
    }
    os.unlink(args.halt)
    tell(result, args.vmms + (['q35-iommu'] if 'init' in args.only else []))
    if args.out:
        with open(args.out, 'w') as file:
            json.dump(result, file, indent=1)
    return 1 if 'failed' in samples else 0


if __name__ == '__main__':
    sys.exit(main())
