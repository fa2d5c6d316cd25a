#include "vmm/virtio/rng.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "vmm/virtio/event_fd.h"
#include "vmm/virtio/serve_queue.h"

namespace berth::vmm {
namespace {

constexpr uint16_t kQueueSizes[] = {64};
constexpr uint32_t kBudget = 64;  // requests before the loop's other devices have their turn

}  // namespace

Result<std::shared_ptr<VirtioRng>> VirtioRng::Open(const std::string& path, EventLoop& loop) {
  UniqueFd source(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!source.valid()) return ErrnoStatus("entropy source " + path, errno).WithField("rng");
  return std::shared_ptr<VirtioRng>(new VirtioRng(std::move(source), loop));
}

std::span<const uint16_t> VirtioRng::queue_sizes() const {
  return kQueueSizes;
}

void VirtioRng::ReadConfig(uint64_t, std::span<uint8_t> data) {
  std::fill(data.begin(), data.end(), uint8_t{0});
}

Status VirtioRng::Activate(VirtioActivation activation) {
  if (!activation.queues[0].ring) return InvalidArgument("the driver has not enabled the request queue");
  const int kick = activation.queues[0].kick_fd;
  active_ = std::move(activation);
  Status added = loop_.Add(kick, EPOLLIN, [this](uint32_t) { Serve(); });
  if (!added.ok()) active_.reset();
  return added;
}

void VirtioRng::Reset() {
  if (active_) static_cast<void>(Suspend());
}

Result<VirtioActivation> VirtioRng::Suspend() {
  loop_.Remove(active_->queues[0].kick_fd);
  return *std::exchange(active_, std::nullopt);
}

Result<uint32_t> VirtioRng::Fill(const DescriptorChain& chain) const {
  uint8_t bytes[kBytesPerRequest];
  const size_t wanted = std::min<uint64_t>(chain.writable.size(), sizeof bytes);
  ssize_t count = read(source_.get(), bytes, wanted);
  // At least one byte (virtio 1.2, 5.4.6.1): what a source that has run dry does not give, the kernel does.
  if (count <= 0) count = getrandom(bytes, wanted, GRND_NONBLOCK);
  if (count <= 0) return 0;
  return static_cast<uint32_t>(chain.writable.CopyIn(0, {bytes, static_cast<size_t>(count)}));
}

void VirtioRng::Serve() {
  auto& [ring, kick] = active_->queues[0];
  DrainEvent(kick);
  auto more = ServeQueue(
      *ring, chain_, kBudget, [this](const DescriptorChain& chain) { return Fill(chain); },
      [this] { active_->interrupt->SignalQueue(0); });
  if (!more) {
    loop_.Remove(kick);
    return active_->interrupt->Fail(more.error());
  }
  if (*more) SignalEvent(kick);
}

}  // namespace berth::vmm
