// vhost_net - a vhost-user back end of a network, for lab tests: packets between the first pair of queues of
// a guest and a TAP interface. It has no offloads, no merged buffers and no indirect descriptors, and looks
// into its rings every two milliseconds: right, and not fast. Every breach of the protocol by the front end
// ends it with status 1.
//
// usage: vhost_net SOCKET TAP
#include <signal.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <vector>

#include "tests/fakes/fake_vhost_backend.h"
#include "vmm/virtio/tap.h"

namespace berth::vmm {
namespace {

volatile sig_atomic_t ended = 0;

// Bytes written to the chain, or kNotYet.
int Move(int tap, uint32_t queue, const std::vector<FakeVhostBackend::Buffer>& buffers) {
  const bool receive = queue % 2 == 0;
  std::vector<iovec> parts;
  for (const auto& buffer : buffers) {
    if (buffer.at == nullptr || buffer.writable != receive) return 0;
    parts.push_back({buffer.at, buffer.length});
  }
  const auto count = static_cast<int>(parts.size());
  // Both sides have the same header in front of a packet.
  if (!receive)
    return writev(tap, parts.data(), count) < 0 && errno == EAGAIN ? FakeVhostBackend::kNotYet : 0;
  const ssize_t bytes = readv(tap, parts.data(), count);
  if (bytes < kVirtioNetHeaderBytes) return FakeVhostBackend::kNotYet;
  const uint16_t one = 1;  // num_buffers
  if (buffers[0].length >= kVirtioNetHeaderBytes) std::memcpy(buffers[0].at + 10, &one, sizeof one);
  return static_cast<int>(bytes);
}

int Main(const char* socket, const char* name) {
  auto tap = OpenTap(name);
  if (!tap.has_value()) {
    std::fprintf(stderr, "vhost_net: %s\n", tap.error().ToString().c_str());
    return 1;
  }
  FakeVhostBackend::Options options;
  options.features = (uint64_t{1} << 32) | vhost_user::kProtocolFeatures;
  options.protocol_features = vhost_user::kMultiQueue | vhost_user::kReplyAck;
  options.queues = 1;
  options.serve = [fd = tap->fd.get()](uint32_t queue, std::vector<FakeVhostBackend::Buffer>& buffers) {
    return Move(fd, queue, buffers);
  };
  FakeVhostBackend backend(socket, options);
  while (ended == 0 && backend.offences().empty()) usleep(20'000);
  for (const std::string& offence : backend.offences()) {
    std::fprintf(stderr, "vhost_net: %s\n", offence.c_str());
  }
  return backend.offences().empty() ? 0 : 1;
}

}  // namespace
}  // namespace berth::vmm

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: vhost_net SOCKET TAP\n");
    return 2;
  }
  signal(SIGTERM, [](int) { berth::vmm::ended = 1; });
  return berth::vmm::Main(argv[1], argv[2]);
}
