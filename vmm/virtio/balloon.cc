#include "vmm/virtio/balloon.h"

#include <sys/epoll.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/log.h"
#include "vmm/memory/zone_backing.h"
#include "vmm/virtio/event_fd.h"
#include "vmm/virtio/serve_queue.h"

namespace berth::vmm {
namespace {

// virtio 1.2, 5.5.3.
constexpr uint64_t kDeflateOnOom = 1 << 2;
constexpr uint64_t kReporting = 1 << 5;
constexpr uint16_t kInflateQueue = 0;
constexpr uint16_t kDeflateQueue = 1;
// Queues of features that are not offered have no number: reporting comes right behind.
constexpr uint16_t kReportingQueue = 2;

constexpr uint16_t kQueueSizes[] = {128, 128, 128};
constexpr uint32_t kBudget = 16;
constexpr uint64_t kPage = 4096;
constexpr size_t kActualAt = 4;
constexpr uint64_t kRequestMax = 64 << 10;  // bytes of page numbers; others wait for the loop meanwhile

}  // namespace

std::shared_ptr<VirtioBalloon> VirtioBalloon::Create(const Options& options, EventLoop& loop) {
  return std::shared_ptr<VirtioBalloon>(new VirtioBalloon(options, loop));
}

VirtioBalloon::VirtioBalloon(const Options& options, EventLoop& loop)
    : options_(options), loop_(loop), requested_pages_(static_cast<uint32_t>(options.bytes / kPage)) {}

void VirtioBalloon::Request(uint64_t bytes) {
  std::lock_guard lock(mutex_);
  const auto pages = static_cast<uint32_t>(std::min<uint64_t>(bytes / kPage, UINT32_MAX));
  if (std::exchange(requested_pages_, pages) != pages && interrupt_ != nullptr) interrupt_->SignalConfig();
}

uint64_t VirtioBalloon::requested() const {
  std::lock_guard lock(mutex_);
  return uint64_t{requested_pages_} * kPage;
}

uint64_t VirtioBalloon::features() const {
  return (options_.deflate_on_oom ? kDeflateOnOom : 0) | (options_.free_page_reporting ? kReporting : 0);
}

std::span<const uint16_t> VirtioBalloon::queue_sizes() const {
  return std::span(kQueueSizes).first(options_.free_page_reporting ? 3 : 2);
}

void VirtioBalloon::ReadConfig(uint64_t offset, std::span<uint8_t> data) {
  uint32_t config[2] = {0, actual_pages_.load()};
  {
    std::lock_guard lock(mutex_);
    config[0] = requested_pages_;
  }
  uint8_t bytes[sizeof config];
  std::memcpy(bytes, config, sizeof config);
  for (size_t i = 0; i < data.size(); ++i) data[i] = offset + i < sizeof bytes ? bytes[offset + i] : 0;
}

void VirtioBalloon::WriteConfig(uint64_t offset, std::span<const uint8_t> data) {
  uint32_t actual = 0;
  if (offset != kActualAt || data.size() != sizeof actual) return;
  std::memcpy(&actual, data.data(), sizeof actual);
  actual_pages_ = actual;
}

Status VirtioBalloon::Activate(VirtioActivation activation) {
  if (!activation.queues[kInflateQueue].ring || !activation.queues[kDeflateQueue].ring) {
    return InvalidArgument("the driver has not enabled the queues for pages that come and go");
  }
  active_ = std::move(activation);
  failed_ = false;
  const auto count = static_cast<uint16_t>(active_->queues.size());
  for (uint16_t queue = 0; queue < count; ++queue) {
    if (!active_->queues[queue].ring) continue;
    Status added =
        loop_.Add(active_->queues[queue].kick_fd, EPOLLIN, [this, queue](uint32_t) { Serve(queue); });
    if (!added.ok()) {
      Reset();
      return added;
    }
  }
  std::lock_guard lock(mutex_);
  interrupt_ = active_->interrupt;
  return OkStatus();
}

void VirtioBalloon::Reset() {
  if (!active_) return;
  static_cast<void>(Suspend());
  actual_pages_ = 0;
}

Result<VirtioActivation> VirtioBalloon::Suspend() {
  {
    std::lock_guard lock(mutex_);
    interrupt_ = nullptr;
  }
  // All of them, also after a failure: Remove waits for the callback that may still run.
  for (const auto& queue : active_->queues) loop_.Remove(queue.kick_fd);
  return *std::exchange(active_, std::nullopt);
}

void VirtioBalloon::Save(StateWriter& out) {
  std::lock_guard lock(mutex_);
  out.Put(requested_pages_);
  out.Put(actual_pages_.load());
}

void VirtioBalloon::Load(StateReader& in) {
  std::lock_guard lock(mutex_);
  in.Get(requested_pages_);
  actual_pages_ = in.Get<uint32_t>();
}

void VirtioBalloon::Serve(uint16_t queue) {
  auto& [ring, kick] = active_->queues[queue];
  DrainEvent(kick);
  if (failed_) return;  // by another queue, while this one was not watched yet
  auto more = ServeQueue(
      *ring, chain_, kBudget,
      [this, queue](const DescriptorChain& chain) -> Result<uint32_t> {
        if (queue == kInflateQueue) return Inflate(chain);
        if (queue == kReportingQueue) return Report(chain);
        return 0;  // the guest takes pages back by touching them
      },
      [this, queue] { active_->interrupt->SignalQueue(queue); });
  if (!more) {
    failed_ = true;
    for (const auto& other : active_->queues) loop_.Remove(other.kick_fd);
    return active_->interrupt->Fail(more.error());
  }
  if (*more) SignalEvent(kick);
}

// An array of page numbers; neighbours are given back together.
Result<uint32_t> VirtioBalloon::Inflate(const DescriptorChain& chain) {
  if (chain.readable.size() % sizeof(uint32_t) != 0 || chain.readable.size() > kRequestMax) {
    return InvalidArgument("balloon request of " + std::to_string(chain.readable.size()) + " bytes");
  }
  uint64_t first = 0, count = 0;
  for (uint64_t at = 0; at < chain.readable.size();) {
    uint32_t pages[256];
    const size_t bytes = chain.readable.CopyOut(at, {reinterpret_cast<uint8_t*>(pages), sizeof pages});
    for (size_t i = 0; i < bytes / sizeof pages[0]; ++i) {
      const uint64_t page = pages[i];
      if (count > 0 && page == first + count) {
        ++count;
      } else if (count > 0 && page + 1 == first) {
        --first;
        ++count;
      } else {
        if (count > 0) Discard(Gpa{first * kPage}, count * kPage);
        first = page;
        count = 1;
      }
    }
    at += bytes;
  }
  if (count > 0) Discard(Gpa{first * kPage}, count * kPage);
  return 0;
}

// The buffers themselves are the free pages.
Result<uint32_t> VirtioBalloon::Report(const DescriptorChain& chain) {
  buffers_.clear();
  chain.writable.AppendIovecs(0, chain.writable.size(), buffers_);
  for (const iovec& buffer : buffers_) {
    const auto part =
        active_->memory->PartAtHost(static_cast<const uint8_t*>(buffer.iov_base), buffer.iov_len);
    if (!part || part->keeps_pages()) continue;
    if (DiscardPages(*part).ok()) reported_ += part->size;
  }
  return 0;
}

void VirtioBalloon::Discard(Gpa gpa, uint64_t bytes) {
  // What is not RAM is left alone: the guest only harms itself.
  const auto part = active_->memory->PartAt(gpa, bytes);
  if (!part || part->keeps_pages()) return;
  if (Status status = DiscardPages(*part); !status.ok()) {
    LOG(kDebug, "balloon_page_not_given_back", {{"reason", status}});
  }
}

}  // namespace berth::vmm
