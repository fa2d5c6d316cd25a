#include "vmm/viommu/virtio_iommu.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "common/log.h"
#include "vmm/virtio/event_fd.h"
#include "vmm/virtio/serve_queue.h"

namespace berth::vmm {
namespace {

constexpr uint16_t kQueueSizes[] = {256, 64};  // requests, events
constexpr uint32_t kBudget = 256;
constexpr uint64_t kPageMask = 0xfff;
constexpr uint32_t kLastDomain = 0xffff;
constexpr uint32_t kProbeSize = 512;
constexpr size_t kFaultsWaiting = 64;
constexpr uint32_t kFaultsTold = 16;  // for each start of the driver, because a guest can cause them at will

// Features.
constexpr uint64_t kInputRange = 1 << 0;
constexpr uint64_t kDomainRange = 1 << 1;
constexpr uint64_t kMapUnmap = 1 << 2;
constexpr uint64_t kProbe = 1 << 4;
constexpr uint64_t kBypassConfig = 1 << 6;

constexpr uint64_t kBypassOffset = 36;

// Requests (5.13.6).
constexpr uint8_t kAttachRequest = 1;
constexpr uint8_t kDetachRequest = 2;
constexpr uint8_t kMapRequest = 3;
constexpr uint8_t kUnmapRequest = 4;
constexpr uint8_t kProbeRequest = 5;
constexpr uint32_t kAttachBypass = 1;
constexpr uint32_t kMapRead = 1;
constexpr uint32_t kMapWrite = 2;

enum Answer : uint8_t {
  kOk = 0,
  kIoError = 1,
  kUnsupported = 2,
  kDeviceError = 3,
  kInvalid = 4,
  kRange = 5,
  kNoEntry = 6,
  kNoMemory = 8,
};

uint8_t AnswerOf(const Status& status) {
  switch (status.code()) {
    case StatusCode::kOk:
      return kOk;
    case StatusCode::kInvalidArgument:
      return kInvalid;
    case StatusCode::kOutOfRange:
      return kRange;
    case StatusCode::kNotFound:
      return kNoEntry;
    case StatusCode::kResourceExhausted:
      return kNoMemory;
    default:
      return kDeviceError;
  }
}

struct __attribute__((packed)) AttachBody {
  uint32_t domain, endpoint, flags, reserved;
};
struct __attribute__((packed)) DetachBody {
  uint32_t domain, endpoint;
  uint64_t reserved;
};
struct __attribute__((packed)) MapBody {
  uint32_t domain;
  uint64_t first, last, gpa;
  uint32_t flags;
};
struct __attribute__((packed)) UnmapBody {
  uint32_t domain;
  uint64_t first, last;
  uint32_t reserved;
};
struct __attribute__((packed)) ReservedMemory {
  uint16_t type, length;
  uint8_t subtype, reserved[3];
  uint64_t first, last;
};
struct __attribute__((packed)) FaultEvent {
  uint8_t reason, reserved[3];
  uint32_t flags, endpoint, reserved2;
  uint64_t address;
};
constexpr uint8_t kFaultDomain = 1;
constexpr uint8_t kFaultMapping = 2;
constexpr uint32_t kFaultRead = 1 << 0;
constexpr uint32_t kFaultWrite = 1 << 1;
constexpr uint32_t kFaultAddress = 1 << 8;
static_assert(sizeof(FaultEvent) == 24);
constexpr uint8_t kReservedMemory = 1;
constexpr uint8_t kSubtypeReserved = 0;
constexpr uint8_t kSubtypeMsi = 1;
static_assert(sizeof(AttachBody) == 16 && sizeof(DetachBody) == 16 && sizeof(MapBody) == 32);
static_assert(sizeof(UnmapBody) == 24 && sizeof(ReservedMemory) == 24);

// What stands behind the four bytes of the head, copied once.
template <class Body>
std::optional<Body> BodyOf(const ByteList& request) {
  Body body;
  if (request.CopyOut(4, {reinterpret_cast<uint8_t*>(&body), sizeof body}) != sizeof body)
    return std::nullopt;
  return body;
}

// Without the part that is kept for interrupts, which is a property of its own.
std::vector<IovaRange> WithoutMsi(const std::vector<IovaRange>& ranges) {
  std::vector<IovaRange> rest;
  for (const IovaRange& range : ranges) {
    if (range.last < kMsiFirst || range.first > kMsiLast) {
      rest.push_back(range);
      continue;
    }
    if (range.first < kMsiFirst) rest.push_back({range.first, kMsiFirst - 1});
    if (range.last > kMsiLast) rest.push_back({kMsiLast + 1, range.last});
  }
  return rest;
}

}  // namespace

uint64_t VirtioIommu::features() const {
  return kInputRange | kDomainRange | kMapUnmap | kProbe | kBypassConfig;
}

std::span<const uint16_t> VirtioIommu::queue_sizes() const {
  return kQueueSizes;
}

void VirtioIommu::ReadConfig(uint64_t offset, std::span<uint8_t> data) {
  std::array<uint8_t, 40> config{};
  const uint64_t pages = ~kPageMask, first = 0;
  const uint32_t first_domain = 0;
  std::memcpy(&config[0], &pages, 8);
  std::memcpy(&config[8], &first, 8);
  std::memcpy(&config[16], &last_address_, 8);
  std::memcpy(&config[24], &first_domain, 4);
  std::memcpy(&config[28], &kLastDomain, 4);
  std::memcpy(&config[32], &kProbeSize, 4);
  config[kBypassOffset] = domains_.bypass() ? 1 : 0;
  for (size_t i = 0; i < data.size(); ++i) {
    data[i] = offset < config.size() && i < config.size() - offset ? config[offset + i] : 0;
  }
}

void VirtioIommu::WriteConfig(uint64_t offset, std::span<const uint8_t> data) {
  if (offset != kBypassOffset || data.size() != 1 || data[0] > 1) return;
  domains_.SetBypass(data[0] != 0);
}

Status VirtioIommu::Activate(VirtioActivation activation) {
  if (!activation.queues[0].ring) return InvalidArgument("the driver has not enabled the request queue");
  const int kick = activation.queues[0].kick_fd;
  active_ = std::move(activation);
  Status added = loop_.Add(kick, EPOLLIN, [this](uint32_t) { Serve(); });
  if (added.ok() && active_->queues[1].ring) {
    const int events = active_->queues[1].kick_fd;
    added = loop_.Add(events, EPOLLIN, [this](uint32_t) { DeliverFaults(); });
    if (!added.ok()) loop_.Remove(kick);
    std::lock_guard lock(fault_mutex_);
    fault_kick_ = added.ok() ? events : -1;
    loaded_ = false;
    told_ = 0;
  }
  if (!added.ok()) active_.reset();
  return added;
}

void VirtioIommu::Unwatch() {
  if (!active_) return;
  loop_.Remove(active_->queues[0].kick_fd);
  if (active_->queues[1].ring) loop_.Remove(active_->queues[1].kick_fd);
}

void VirtioIommu::Reset() {
  Unwatch();
  {
    std::lock_guard lock(fault_mutex_);
    fault_kick_ = -1;
    loaded_ = false;
    faults_.clear();
  }
  active_.reset();
  domains_.Reset(true);
}

void VirtioIommu::Fail(const Status& reason) {
  Unwatch();
  active_->interrupt->Fail(reason);
}

void VirtioIommu::Serve() {
  auto& [ring, kick] = active_->queues[0];
  DrainEvent(kick);
  auto more = ServeQueue(
      *ring, chain_, kBudget,
      [this](const DescriptorChain& chain) { return Handle(chain.readable, chain.writable); },
      [this] { active_->interrupt->SignalQueue(0); });
  if (!more) return Fail(more.error());
  if (*more) SignalEvent(kick);
}

// ---- Snapshots

Result<VirtioActivation> VirtioIommu::Suspend() {
  Unwatch();
  // Faults of devices that still work wait for the next start.
  return *std::exchange(active_, std::nullopt);
}

void VirtioIommu::Save(StateWriter& out) {
  std::lock_guard lock(fault_mutex_);
  out.Put(static_cast<uint32_t>(faults_.size()));
  for (const IommuFault& fault : faults_) {
    out.Put(fault.endpoint);
    out.Put(fault.address);
    out.Put(fault.write);
    out.Put(fault.reason == IommuFault::Reason::kDomain);
  }
}

void VirtioIommu::Load(StateReader& in) {
  std::lock_guard lock(fault_mutex_);
  // Devices go on in any order: one before this one may meet a fault.
  loaded_ = true;
  const uint32_t count = in.GetCount(kFaultsWaiting, 4 + 8 + 1 + 1);
  for (uint32_t i = 0; i < count; ++i) {
    IommuFault& fault = faults_.emplace_back();
    in.Get(fault.endpoint);
    in.Get(fault.address);
    in.Get(fault.write);
    fault.reason = in.Get<bool>() ? IommuFault::Reason::kDomain : IommuFault::Reason::kMapping;
  }
}

void VirtioIommu::Report(const IommuFault& fault) {
  bool tell = false;
  {
    std::lock_guard lock(fault_mutex_);
    ++fault_count_;
    tell = told_ < kFaultsTold;
    told_ += tell ? 1 : 0;
    if ((fault_kick_ >= 0 || loaded_) && faults_.size() < kFaultsWaiting) {
      faults_.push_back(fault);
      if (fault_kick_ >= 0) SignalEvent(fault_kick_);
    } else {
      ++dropped_;
    }
  }
  if (!tell) return;
  LOG(kWarning, "iommu_fault",
      {{"endpoint", fault.endpoint}, {"address", fault.address}, {"access", fault.write ? "write" : "read"}});
  if (on_fault_) on_fault_(fault);
}

void VirtioIommu::DeliverFaults() {
  auto& [ring, kick] = active_->queues[1];
  DrainEvent(kick);
  bool signal = false;
  for (;;) {
    IommuFault fault;
    {
      std::lock_guard lock(fault_mutex_);
      if (faults_.empty()) break;
      fault = faults_.front();
    }
    Result<bool> popped = ring->Pop(event_chain_);
    if (!popped.has_value()) return Fail(popped.error());
    if (!*popped) {
      if (ring->EnableNotifications()) continue;
      break;  // the driver's next buffer brings us back
    }
    FaultEvent event{};
    event.reason = fault.reason == IommuFault::Reason::kDomain ? kFaultDomain : kFaultMapping;
    event.flags = (fault.write ? kFaultWrite : kFaultRead) | kFaultAddress;
    event.endpoint = fault.endpoint;
    event.address = fault.address;
    const size_t written =
        event_chain_.writable.CopyIn(0, {reinterpret_cast<const uint8_t*>(&event), sizeof event});
    ring->Push(event_chain_.head, static_cast<uint32_t>(written));
    signal |= ring->NeedsInterrupt();
    std::lock_guard lock(fault_mutex_);
    if (!faults_.empty()) faults_.pop_front();
  }
  if (signal) active_->interrupt->SignalQueue(1);
}

VirtioDevice::CounterList VirtioIommu::Counters() const {
  std::lock_guard lock(fault_mutex_);
  return {{"requests", requests_}, {"faults", fault_count_}, {"faults_not_told", dropped_}};
}

Result<uint32_t> VirtioIommu::Handle(const ByteList& request, const ByteList& answer) {
  requests_.fetch_add(1, std::memory_order_relaxed);
  uint8_t type = 0;
  request.CopyOut(0, {&type, 1});
  if (type == kProbeRequest) return Probe(request, answer);
  const std::array<uint8_t, 4> tail = {Dispatch(type, request), 0, 0, 0};
  if (answer.CopyIn(0, tail) != tail.size()) {
    return InvalidArgument("a request to the IOMMU without room for its status");
  }
  return static_cast<uint32_t>(tail.size());
}

uint8_t VirtioIommu::Dispatch(uint8_t type, const ByteList& request) {
  switch (type) {
    case kAttachRequest: {
      const auto body = BodyOf<AttachBody>(request);
      if (!body || body->flags & ~kAttachBypass || body->reserved != 0) return kInvalid;
      if (body->domain > kLastDomain) return kRange;
      return AnswerOf(domains_.Attach(body->domain, body->endpoint, (body->flags & kAttachBypass) != 0));
    }
    case kDetachRequest: {
      const auto body = BodyOf<DetachBody>(request);
      return body ? AnswerOf(domains_.Detach(body->domain, body->endpoint)) : uint8_t{kInvalid};
    }
    case kMapRequest:
      return Map(request);
    case kUnmapRequest: {
      const auto body = BodyOf<UnmapBody>(request);
      return body ? AnswerOf(domains_.Unmap(body->domain, body->first, body->last)) : uint8_t{kInvalid};
    }
    default:
      return kUnsupported;
  }
}

uint8_t VirtioIommu::Map(const ByteList& request) {
  const auto body = BodyOf<MapBody>(request);
  if (!body || body->flags & ~(kMapRead | kMapWrite) || body->last < body->first) return kInvalid;
  // Whole pages (5.13.6.5.2), and an end that does not wrap.
  if ((body->first | body->gpa | (body->last + 1)) & kPageMask) return kRange;
  if (body->last > last_address_ || body->gpa > UINT64_MAX - (body->last - body->first)) return kRange;
  if (body->first <= kMsiLast && body->last >= kMsiFirst) return kInvalid;
  const IommuMapping mapping{body->first, body->last, body->gpa, (body->flags & kMapRead) != 0,
                             (body->flags & kMapWrite) != 0};
  return AnswerOf(domains_.Map(body->domain, mapping));
}

Result<uint32_t> VirtioIommu::Probe(const ByteList& request, const ByteList& answer) {
  std::array<uint8_t, kProbeSize + 4> reply{};
  uint32_t endpoint = 0;
  if (request.CopyOut(4, {reinterpret_cast<uint8_t*>(&endpoint), 4}) != 4) {
    reply[kProbeSize] = kInvalid;
  } else if (const auto reserved = domains_.Reserved(endpoint); !reserved.has_value()) {
    reply[kProbeSize] = kNoEntry;
  } else {
    size_t at = 0;
    auto add = [&](uint8_t subtype, uint64_t first, uint64_t last) {
      const ReservedMemory property{kReservedMemory, sizeof property - 4, subtype, {}, first, last};
      std::memcpy(&reply[at], &property, sizeof property);
      at += sizeof property;
    };
    // Without it Linux would choose a window for interrupts itself and map the controller's page there.
    add(kSubtypeMsi, kMsiFirst, kMsiLast);
    for (const IovaRange& range : WithoutMsi(*reserved)) {
      const bool last = at + 2 * sizeof(ReservedMemory) > kProbeSize;
      add(kSubtypeReserved, range.first, last ? reserved->back().last : range.last);
      if (last) break;  // no room for more: rather too much than too little
    }
  }
  if (answer.CopyIn(0, reply) != reply.size()) {
    return InvalidArgument("a probe of the IOMMU with too little room for the answer");
  }
  return static_cast<uint32_t>(reply.size());
}

}  // namespace berth::vmm
