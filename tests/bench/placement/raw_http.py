"""A small HTTP/1.1 client for measuring: one connection, kept open as long as the server keeps it, no parsing of what does not matter."""
import socket
import urllib.parse


class Connection:
    def __init__(self, url, timeout=600):
        parts = urllib.parse.urlsplit(url)
        self.address = (parts.hostname, parts.port or 80)
        self.prefix = parts.path.rstrip("/")
        self.timeout, self.socket = timeout, None
        self.headers = f"Host: {parts.netloc}\r\nX-Auth-Token: admin\r\nOpenStack-API-Version: placement 1.39\r\nAccept: application/json\r\n"

    def request(self, method, path, body=None):
        """(status, body bytes). `body` is bytes. One more try when a kept connection turns out to be closed."""
        head = f"{method} {self.prefix}{path} HTTP/1.1\r\n{self.headers}"
        if body is not None:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        message = head.encode() + b"\r\n" + (body or b"")
        fresh = self.socket is None
        while True:
            if self.socket is None:
                self.socket = socket.create_connection(self.address, self.timeout)
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                self.socket.sendall(message)
                return self.read_answer(method)
            except (ConnectionError, BrokenPipeError):
                self.close()
                if fresh:
                    raise
                fresh = True

    def read_answer(self, method):
        data = bytearray()
        while (end := data.find(b"\r\n\r\n")) < 0:
            self.receive(data)
        head = bytes(data[:end]).decode("latin-1").lower()
        status = int(head.split(" ", 2)[1])
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        del data[:end + 4]
        if status in (204, 304):
            pass
        elif "content-length" in fields:
            while len(data) < int(fields["content-length"]):
                self.receive(data)
        elif fields.get("transfer-encoding") == "chunked":
            data = self.read_chunks(data)
        else:  # the end of the connection ends the answer
            while chunk := self.socket.recv(1 << 20):
                data += chunk
            self.close()
            return status, bytes(data)
        if fields.get("connection") == "close":
            self.close()
        return status, bytes(data)

    def read_chunks(self, data):
        out = bytearray()
        while True:
            while (end := data.find(b"\r\n")) < 0:
                self.receive(data)
            size = int(bytes(data[:end]), 16)
            while len(data) < end + 2 + size + 2:
                self.receive(data)
            out += data[end + 2:end + 2 + size]
            del data[:end + 2 + size + 2]
            if size == 0:
                return out

    def receive(self, data):
        chunk = self.socket.recv(1 << 20)
        if not chunk:
            raise ConnectionError("the server closed the connection")
        data += chunk

    def close(self):
        if self.socket is not None:
            self.socket.close()
            self.socket = None
