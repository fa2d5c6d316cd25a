#!/usr/bin/python3
"""The host's side of a guest's vsock: echoes one connection that the guest makes, then makes one to the guest.

usage: vsock_host.py SOCKET GUEST_PORT HOST_PORT BYTES

SOCKET is that of berth-vmm's --vsock: the guest's connections to HOST_PORT come to SOCKET_HOST_PORT, and CONNECT and a port
lead into it. Prints "host: echoed N" and "host: sent N, got M, equal|different". Status 1 for what is different.
"""
import os
import socket
import sys
import threading

path, guest_port, host_port, size = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
listener = socket.socket(socket.AF_UNIX)
listener.bind(f'{path}_{host_port}')
listener.listen(1)
print('host: listening', flush=True)
peer, _ = listener.accept()
total = 0
while data := peer.recv(65536):
    peer.sendall(data)
    total += len(data)
peer.close()
print(f'host: echoed {total}', flush=True)

client = socket.socket(socket.AF_UNIX)
client.settimeout(120)
client.connect(path)
client.sendall(f'CONNECT {guest_port}\n'.encode())
answer = b''
while not answer.endswith(b'\n'):
    byte = client.recv(1)
    if not byte:
        sys.exit('host: the connection to the guest was refused')
    answer += byte
if not answer.startswith(b'OK '):
    sys.exit(f'host: the answer to CONNECT is {answer}')
sent = os.urandom(size)


def send():
    client.sendall(sent)
    client.shutdown(socket.SHUT_WR)


sender = threading.Thread(target=send)
sender.start()
got = b''
while data := client.recv(65536):
    got += data
sender.join()
print(f'host: sent {size}, got {len(got)}, {"equal" if got == sent else "different"}', flush=True)
sys.exit(got != sent)
