#!/usr/bin/python3
"""Talks to a guest over the serial port and the virtio console of berth-vmm, each served as asked.

usage: terminals.py SERIAL CONSOLE CTL WORK BERTH-VMM OPTION...      SERIAL, CONSOLE: socket, pty or tty (one of them)

The guest repeats each line that it reads as "guest: TERMINAL LENGTH MD5" and ends with "quit" (vmm_devices_test.sh). A short
line and one of 3,000 bytes go over each terminal, over a socket once more after it was left and joined again. Prints a line
for each answer; status 1 and the reason when one does not come.
"""
import atexit
import hashlib
import json
import os
import pty
import select
import socket
import subprocess
import sys
import time

PATIENCE = 300


class Terminal:
    """A descriptor to the guest, and what came from it so far."""

    def __init__(self, name, fd):
        self.name, self.fd, self.seen = name, fd, b''

    def wait_for(self, text):
        end = time.monotonic() + PATIENCE
        while text not in self.seen:
            if not select.select([self.fd], [], [], max(0, end - time.monotonic()))[0]:
                sys.exit(f'{self.name}: no {text!r} in {self.seen[-400:]!r}')
            data = os.read(self.fd, 65536)
            if not data:
                sys.exit(f'{self.name}: the end, before {text!r}, after {self.seen[-400:]!r}')
            self.seen += data

    def ask(self, line):
        data = line + b'\n'
        while data:
            data = data[os.write(self.fd, data):]
        answer = b'guest: %s %d %s' % (self.name.encode(), len(line), hashlib.md5(line).hexdigest().encode())
        self.wait_for(answer)
        print(f'{self.name}: {len(line)} bytes', flush=True)
        self.seen = b''


kinds = {'ttyS0': sys.argv[1], 'hvc0': sys.argv[2]}
ctl, work, line = sys.argv[3], sys.argv[4], sys.argv[5:]
api = os.path.join(work, 'api')
ours, theirs = pty.openpty()
for name, option in (('ttyS0', '--serial'), ('hvc0', '--console')):
    line += [option, f'socket={work}/{name}' if kinds[name] == 'socket' else kinds[name]]
vmm = subprocess.Popen(line + ['--api-socket', api], stdin=theirs, stdout=theirs, start_new_session=True)
os.close(theirs)
atexit.register(vmm.kill)


def info():
    done = subprocess.run([ctl, '--api-socket', api, 'info'], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else None


def open_terminal(name):
    if kinds[name] == 'tty':
        return ours
    if kinds[name] == 'pty':
        return os.open(machine['config']['serial' if name == 'ttyS0' else 'console']['file'], os.O_RDWR | os.O_NOCTTY)
    client = socket.socket(socket.AF_UNIX)
    client.connect(f'{work}/{name}')
    return client.detach()


until = time.monotonic() + PATIENCE
while (machine := info()) is None or machine['state'] != 'Running':
    if time.monotonic() > until or vmm.poll() is not None:
        sys.exit('berth-vmm does not run')
    time.sleep(0.05)
terminals = [Terminal(name, open_terminal(name)) for name in kinds]
LONG = bytes(ord('a') + i * i % 26 for i in range(3000))
terminals[1].wait_for(b'guest: hvc0 listens')
for terminal in terminals:
    terminal.ask(b'short')
    terminal.ask(LONG)
    if kinds[terminal.name] == 'socket':
        os.close(terminal.fd)
        terminal.fd = open_terminal(terminal.name)
        terminal.ask(b'joined again')
        terminal.ask(b'again' + LONG)  # what was said before is told once more to one who joins
for terminal in terminals:
    os.write(terminal.fd, b'quit\n')
print('exit status', vmm.wait(timeout=PATIENCE))
