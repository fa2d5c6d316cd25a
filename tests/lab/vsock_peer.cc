// vsock_peer - one connection of a guest over AF_VSOCK, for the lab's tests. Static, so that an initramfs can
// hold it.
//
// usage: vsock_peer listen PORT        takes one connection and sends back what comes, until its end
//        vsock_peer send PORT BYTES    connects to the host (CID 2), sends so many bytes, ends its half, and
//        counts the reply
//
// Prints "vsock: listening", "vsock: echoed N", or "vsock: sent N, got M, equal|different". Status 0, or 1
// and the reason.

#include <linux/vm_sockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

unsigned char Byte(size_t at) {
  return static_cast<unsigned char>(at * 7 + (at >> 8));
}

int Fail(const char* what) {
  perror(what);
  return 1;
}

bool SendAll(int peer, const unsigned char* data, size_t size) {
  while (size > 0) {
    const ssize_t sent = send(peer, data, size, MSG_NOSIGNAL);
    if (sent < 0) return false;
    data += sent;
    size -= static_cast<size_t>(sent);
  }
  return true;
}

int Listen(sockaddr_vm address) {
  address.svm_cid = VMADDR_CID_ANY;
  const int listener = socket(AF_VSOCK, SOCK_STREAM, 0);
  if (listener < 0 || bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      listen(listener, 1) != 0)
    return Fail("vsock: listen");
  puts("vsock: listening");
  fflush(stdout);
  const int peer = accept(listener, nullptr, nullptr);
  if (peer < 0) return Fail("vsock: accept");
  static unsigned char data[65536];
  size_t total = 0;
  for (ssize_t got = 0; (got = recv(peer, data, sizeof data, 0)) != 0;) {
    if (got < 0 || !SendAll(peer, data, static_cast<size_t>(got))) return Fail("vsock: echo");
    total += static_cast<size_t>(got);
  }
  close(peer);
  printf("vsock: echoed %zu\n", total);
  return 0;
}

int Send(sockaddr_vm address, size_t bytes) {
  address.svm_cid = VMADDR_CID_HOST;
  const int peer = socket(AF_VSOCK, SOCK_STREAM, 0);
  if (peer < 0 || connect(peer, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    return Fail("vsock: connect");
  static unsigned char data[65536];
  bool equal = true;
  size_t got = 0;
  for (size_t sent = 0; sent < bytes;) {  // turn by turn: neither side's buffers need to hold it all
    const size_t size = bytes - sent < sizeof data ? bytes - sent : sizeof data;
    for (size_t i = 0; i < size; ++i) data[i] = Byte(sent + i);
    if (!SendAll(peer, data, size)) return Fail("vsock: send");
    sent += size;
    if (sent == bytes && shutdown(peer, SHUT_WR) != 0) return Fail("vsock: shutdown");
    while (got < sent) {
      const ssize_t more = recv(peer, data, sizeof data, 0);
      if (more <= 0) return Fail("vsock: recv");
      for (ssize_t i = 0; i < more; ++i) equal &= data[i] == Byte(got + static_cast<size_t>(i));
      got += static_cast<size_t>(more);
    }
  }
  equal &= recv(peer, data, sizeof data, 0) == 0;  // the end
  printf("vsock: sent %zu, got %zu, %s\n", bytes, got, equal ? "equal" : "different");
  return equal ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  sockaddr_vm address{};
  address.svm_family = AF_VSOCK;
  if (argc == 3 && strcmp(argv[1], "listen") == 0) {
    address.svm_port = static_cast<unsigned>(atoi(argv[2]));
    return Listen(address);
  }
  if (argc == 4 && strcmp(argv[1], "send") == 0) {
    address.svm_port = static_cast<unsigned>(atoi(argv[2]));
    return Send(address, strtoul(argv[3], nullptr, 10));
  }
  fputs("usage: vsock_peer listen PORT | send PORT BYTES\n", stderr);
  return 2;
}
