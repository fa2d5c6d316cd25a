#!/usr/bin/env python3
"""send_once.py ADDRESS PORT FILE - sends the file to the first who connects"""
import socket
import sys

address, port, path = sys.argv[1:]
with socket.create_server((address, int(port))) as server, open(path, 'rb') as file:
    client, _ = server.accept()
    client.sendall(file.read())
    client.close()
