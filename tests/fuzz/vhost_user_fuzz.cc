// The front end of vhost-user against a back end that says anything: all that it answers is in the input,
// with a descriptor beside it. No call may crash or wait for ever, and no descriptor may be lost.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <vector>

#include "tests/fakes/virtio_driver.h"
#include "vmm/vhost_user/frontend.h"

namespace {

using namespace berth::vmm;
using berth::UniqueFd;
using vhost_user::Frontend;

void SendWithDescriptor(int socket, const uint8_t* data, size_t size, int fd) {
  iovec vector{const_cast<uint8_t*>(data), size};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)] = {};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  static_cast<void>(!sendmsg(socket, &message, MSG_DONTWAIT));
}

void Talk(UniqueFd socket, GuestRam& ram) {
  auto frontend = Frontend::Create(std::move(socket), ~uint64_t{0}, std::chrono::milliseconds(100));
  if (!frontend.has_value()) return;
  const DriverQueue queue(ram, 0x1000, 8);
  auto step = [](const auto& result) { return result.has_value(); };
  if (!step(frontend->ReadConfig(60)) || !step(frontend->MakeInflight(2, 16))) return;
  const MemoryRegion piece = ram.memory().regions()[0].Part(0x2000, 0x1000);
  if (frontend->memory_slots() > 0 && !frontend->AddMemory(piece).ok()) return;
  if (frontend->memory_slots() > 0 && !frontend->RemoveMemory(piece).ok()) return;
  if (!frontend->SetFeatures(frontend->features()).ok() || !frontend->SetMemory(ram.memory()).ok()) return;
  if (!frontend->StartRing(ram.memory(), 0, {.config = queue.Config()}).ok()) return;
  if (!frontend->EnableRing(0, true).ok()) return;
  auto requests = frontend->OpenRequests();
  if (requests.has_value()) static_cast<void>(frontend->StopRing(0).has_value());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static GuestRam ram({{0, 0x4000}}, /*shared=*/true);
  static const UniqueFd file(memfd_create("inflight", MFD_CLOEXEC));
  const UniqueFd before(fcntl(file.get(), F_DUPFD_CLOEXEC, 3));
  int ends[2];
  CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  {
    UniqueFd ours(ends[0]), theirs(ends[1]);
    if (size > 0) SendWithDescriptor(theirs.get(), data, size, file.get());
    shutdown(theirs.get(), SHUT_WR);
    Talk(std::move(ours), ram);
  }
  // The lowest free number is the same as before, so nothing was left open.
  const UniqueFd after(fcntl(file.get(), F_DUPFD_CLOEXEC, 3));
  CHECK(after.get() == ends[0]);
  return 0;
}
