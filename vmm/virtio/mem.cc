#include "vmm/virtio/mem.h"

#include <sys/epoll.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "common/byte_size.h"
#include "common/log.h"
#include "vmm/virtio/event_fd.h"
#include "vmm/virtio/serve_queue.h"

namespace berth::vmm {
namespace {

// virtio 1.2, 5.15.3 and 5.15.6.
constexpr uint64_t kAcpiPxm = 1 << 0;
constexpr uint64_t kUnpluggedInaccessible = 1 << 1;
constexpr uint16_t kRequestUnplug = 1;
constexpr uint16_t kRequestUnplugAll = 2;
constexpr uint16_t kRequestState = 3;
constexpr uint16_t kAck = 0;
constexpr uint16_t kNack = 1;
constexpr uint16_t kBusy = 2;
constexpr uint16_t kError = 3;
constexpr uint16_t kStatePlugged = 0;
constexpr uint16_t kStateUnplugged = 1;
constexpr uint16_t kStateMixed = 2;

constexpr uint16_t kQueueSizes[] = {128};
constexpr uint32_t kBudget = 16;
constexpr size_t kRequestBytes = 24;
constexpr size_t kResponseBytes = 10;

struct Config {
  uint64_t block_size;
  uint16_t node_id;
  uint8_t padding[6];
  uint64_t address;
  uint64_t region_size;
  uint64_t usable_region_size;
  uint64_t plugged_size;
  uint64_t requested_size;
};
static_assert(sizeof(Config) == 56);

}  // namespace

std::shared_ptr<VirtioMem> VirtioMem::Create(const MemoryRegion& area, std::optional<uint16_t> domain,
                                             MemoryPlugger& plugger, EventLoop& loop) {
  return std::shared_ptr<VirtioMem>(new VirtioMem(area, domain, plugger, loop));
}

VirtioMem::VirtioMem(const MemoryRegion& area, std::optional<uint16_t> domain, MemoryPlugger& plugger,
                     EventLoop& loop)
    : area_(area), domain_(domain), plugger_(plugger), loop_(loop) {
  CHECK(area.plug != nullptr);
}

Status VirtioMem::Request(uint64_t bytes) {
  if (bytes > area_.size || bytes % area_.plug->block() != 0) {
    return InvalidArgument("zone " + area_.zone + " can have 0 to " + ByteSize(area_.size).ToString() +
                               " added, in multiples of " + ByteSize(area_.plug->block()).ToString() +
                               ", not " + ByteSize(bytes).ToString(),
                           "desired_ram");
  }
  std::lock_guard lock(mutex_);
  if (std::exchange(requested_, bytes) != bytes && interrupt_ != nullptr) interrupt_->SignalConfig();
  return OkStatus();
}

uint64_t VirtioMem::requested() const {
  std::lock_guard lock(mutex_);
  return requested_;
}

uint64_t VirtioMem::features() const {
  return kUnpluggedInaccessible | (domain_ ? kAcpiPxm : 0);
}

std::span<const uint16_t> VirtioMem::queue_sizes() const {
  return kQueueSizes;
}

void VirtioMem::ReadConfig(uint64_t offset, std::span<uint8_t> data) {
  Config config{};
  config.block_size = area_.plug->block();
  config.node_id = domain_.value_or(0);
  config.address = Raw(area_.base);
  config.region_size = config.usable_region_size = area_.size;
  config.plugged_size = plugged();
  config.requested_size = requested();
  uint8_t bytes[sizeof config];
  std::memcpy(bytes, &config, sizeof config);
  for (size_t i = 0; i < data.size(); ++i) data[i] = offset + i < sizeof bytes ? bytes[offset + i] : 0;
}

Status VirtioMem::Activate(VirtioActivation activation) {
  if (!activation.queues[0].ring) return InvalidArgument("the driver has not enabled the request queue");
  if (!(activation.features & kUnpluggedInaccessible)) {
    return InvalidArgument("the driver does not know that unplugged memory is inaccessible");
  }
  const int kick = activation.queues[0].kick_fd;
  active_ = std::move(activation);
  Status added = loop_.Add(kick, EPOLLIN, [this](uint32_t) { Serve(); });
  if (!added.ok()) {
    active_.reset();
    return added;
  }
  std::lock_guard lock(mutex_);
  interrupt_ = active_->interrupt;
  return OkStatus();
}

void VirtioMem::Reset() {
  if (active_) static_cast<void>(Suspend());
}

Result<VirtioActivation> VirtioMem::Suspend() {
  {
    std::lock_guard lock(mutex_);
    interrupt_ = nullptr;
  }
  loop_.Remove(active_->queues[0].kick_fd);
  return *std::exchange(active_, std::nullopt);
}

void VirtioMem::Save(StateWriter& out) {
  out.Put(Raw(area_.base));
  out.Put(area_.size);
  out.Put(requested());
}

void VirtioMem::Load(StateReader& in) {
  const uint64_t base = in.Get<uint64_t>(), size = in.Get<uint64_t>(), wanted = in.Get<uint64_t>();
  if (!in.ok()) return;
  if (base != Raw(area_.base) || size != area_.size) {
    return in.Fail(InvalidArgument("the area of zone " + area_.zone + " lies elsewhere now"));
  }
  if (Status status = Request(wanted); !status.ok()) in.Fail(std::move(status));
}

void VirtioMem::Serve() {
  auto& [ring, kick] = active_->queues[0];
  DrainEvent(kick);
  auto more = ServeQueue(
      *ring, chain_, kBudget, [this](const DescriptorChain& chain) { return Handle(chain); },
      [this] { active_->interrupt->SignalQueue(0); });
  if (!more) {
    loop_.Remove(kick);
    return active_->interrupt->Fail(more.error());
  }
  if (*more) SignalEvent(kick);
}

Result<uint32_t> VirtioMem::Handle(const DescriptorChain& chain) {
  uint8_t request[kRequestBytes];
  if (chain.readable.CopyOut(0, request) != sizeof request) {
    return InvalidArgument("memory request that is cut short");
  }
  if (chain.writable.size() < kResponseBytes)
    return InvalidArgument("memory request without room for a response");
  uint16_t type = 0, blocks = 0;
  uint64_t address = 0;
  std::memcpy(&type, request, sizeof type);
  std::memcpy(&address, request + 8, sizeof address);
  std::memcpy(&blocks, request + 16, sizeof blocks);
  const Answer answer = Execute(type, address, blocks);
  uint8_t response[kResponseBytes] = {};
  std::memcpy(response, &answer.type, sizeof answer.type);
  std::memcpy(response + 8, &answer.state, sizeof answer.state);
  return static_cast<uint32_t>(chain.writable.CopyIn(0, response));
}

VirtioMem::Answer VirtioMem::Execute(uint16_t type, uint64_t address, uint16_t blocks) {
  if (type == kRequestUnplugAll) return UnplugAll();
  if (type > kRequestState) return {kError, 0};
  const uint64_t block = area_.plug->block();
  const uint64_t length = blocks * block;
  const uint64_t offset = address - Raw(area_.base);
  if (blocks == 0 || address < Raw(area_.base) || offset % block != 0 || offset >= area_.size ||
      length > area_.size - offset) {
    return {kError, 0};
  }
  if (type == kRequestState) {
    if (area_.plug->All(offset, length)) return {kAck, kStatePlugged};
    return {kAck, area_.plug->Any(offset, length) ? kStateMixed : kStateUnplugged};
  }
  return PlugOrUnplug(type != kRequestUnplug, offset, length);
}

VirtioMem::Answer VirtioMem::PlugOrUnplug(bool plug, uint64_t offset, uint64_t length) {
  if (plug ? area_.plug->Any(offset, length) : !area_.plug->All(offset, length)) return {kError, 0};
  if (plug && plugged() + length > requested()) return {kNack, 0};
  const Status done = plug ? plugger_.Plug(area_, offset, length) : plugger_.Unplug(area_, offset, length);
  if (done.ok()) return {kAck, 0};
  LOG(kWarning, "virtio_mem_request_failed", {{"zone", area_.zone}, {"plug", plug}, {"reason", done}});
  // The guest tries again after "busy": memory may come back, and those who use pages come to their end.
  const bool later = done.code() == StatusCode::kResourceExhausted || done.code() == StatusCode::kUnavailable;
  return {later ? kBusy : kError, 0};
}

VirtioMem::Answer VirtioMem::UnplugAll() {
  for (const PlugMap::Run& run : area_.plug->Runs()) {
    if (!plugger_.Unplug(area_, run.offset, run.length).ok()) return {kBusy, 0};
  }
  return {kAck, 0};
}

}  // namespace berth::vmm
