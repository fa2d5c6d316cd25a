#include "vmm/virtio/pci_transport.h"

#include <errno.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/log.h"
#include "vmm/virtio/event_fd.h"

namespace berth::vmm {
namespace {

constexpr uint16_t kVendor = 0x1af4;
constexpr uint16_t kFirstDevice = 0x1040;
constexpr uint32_t kBar = 0;
constexpr uint16_t kNoVector = 0xffff;
constexpr uint32_t kFailuresLogged = 16;  // for each device, because a guest can cause them at will

// virtio 1.2, 2.1: device status.
constexpr uint8_t kAcknowledge = 1;
constexpr uint8_t kDriver = 2;
constexpr uint8_t kDriverOk = 4;
constexpr uint8_t kFeaturesOk = 8;
constexpr uint8_t kNeedsReset = 64;
constexpr uint8_t kFailed = 128;
constexpr uint8_t kDriverBits = kAcknowledge | kDriver | kDriverOk | kFeaturesOk | kFailed;

constexpr uint8_t kIsrQueue = 1;
constexpr uint8_t kIsrConfig = 2;

// virtio 1.2, 4.1.4: vendor capability types.
constexpr uint8_t kCommonCapability = 1;
constexpr uint8_t kNotifyCapability = 2;
constexpr uint8_t kIsrCapability = 3;
constexpr uint8_t kDeviceCapability = 4;
constexpr uint8_t kWindowCapability = 5;
constexpr uint32_t kWindowBar = 4;  // offsets in the capability
constexpr uint32_t kWindowOffset = 8;
constexpr uint32_t kWindowLength = 12;
constexpr uint32_t kWindowData = 16;

// virtio 1.2, 4.1.4.3: common configuration.
enum Common : uint64_t {
  kDeviceFeatureSelect = 0,
  kDeviceFeature = 4,
  kDriverFeatureSelect = 8,
  kDriverFeature = 12,
  kConfigVector = 16,
  kQueueCount = 18,
  kStatus = 20,
  kGeneration = 21,
  kQueueSelect = 22,
  kQueueSize = 24,
  kQueueVector = 26,
  kQueueEnable = 28,
  kQueueNotifyOffset = 30,
  kQueueDescriptors = 32,
  kQueueDriver = 40,
  kQueueDevice = 48,
  kCommonSize = 56,
};

// Width of the field that starts at `offset`, 0 when none does. The 64-bit addresses are two fields each.
size_t FieldWidth(uint64_t offset) {
  switch (offset) {
    case kStatus:
    case kGeneration:
      return 1;
    case kConfigVector:
    case kQueueCount:
    case kQueueSelect:
    case kQueueSize:
    case kQueueVector:
    case kQueueEnable:
    case kQueueNotifyOffset:
      return 2;
    default:
      return offset < kCommonSize && offset % 4 == 0 ? 4 : 0;
  }
}

uint32_t ClassCode(uint16_t type) {
  if (type == kVirtioNet) return 0x020000;    // network, Ethernet
  if (type == kVirtioBlock) return 0x018000;  // mass storage, other
  if (type == kVirtioIommu) return 0x080600;  // base system peripheral, IOMMU
  return 0xff0000;
}

void SetHalf(uint64_t& value, bool upper, uint32_t half) {
  const int shift = upper ? 32 : 0;
  value = (value & ~(uint64_t{0xffffffff} << shift)) | uint64_t{half} << shift;
}

bool Overlaps(uint32_t offset, size_t size, uint32_t at, uint32_t length) {
  return offset < at + length && at < offset + size;
}

}  // namespace

VirtioPciTransport::Interrupts::Interrupts(std::unique_ptr<Msix> msix_table, size_t queues,
                                           uint16_t device_type)
    : msix(std::move(msix_table)),
      config_vector(kNoVector),
      queue_vectors(queues),
      device_type_(device_type) {
  for (auto& vector : queue_vectors) vector = kNoVector;
}

void VirtioPciTransport::Interrupts::SignalQueue(uint16_t queue) {
  isr.fetch_or(kIsrQueue);
  msix->Trigger(queue_vectors.at(queue));  // "no vector" is one that does not exist
}

void VirtioPciTransport::Interrupts::SignalConfig() {
  generation.fetch_add(1);
  isr.fetch_or(kIsrConfig);
  msix->Trigger(config_vector);
}

void VirtioPciTransport::Interrupts::Fail(const Status& reason) {
  status.fetch_or(kNeedsReset);
  if (logged_.fetch_add(1) < kFailuresLogged) {
    LOG(kWarning, "virtio_device_failed", {{"type", device_type_}, {"reason", reason}});
  }
  SignalConfig();
}

Result<std::shared_ptr<VirtioPciTransport>> VirtioPciTransport::Create(
    std::shared_ptr<VirtioDevice> device, const GuestMemory& memory, MsiController& interrupts,
    IoEventRegistry& io_events, std::shared_ptr<AddressTranslator> translator, bool restricted) {
  const auto sizes = device->queue_sizes();
  CHECK(!sizes.empty() && sizes.size() <= kWindowSize / kNotifyMultiplier);
  TRY_ASSIGN(auto msix, Msix::Create(interrupts, static_cast<uint16_t>(sizes.size() + 1)));
  CHECK(msix->table_size() <= kMsixPbaOffset - kMsixTableOffset);
  std::shared_ptr<VirtioPciTransport> transport(new VirtioPciTransport(
      std::move(device), memory, std::move(msix), io_events, std::move(translator), restricted));
  for (Queue& queue : transport->queues_) {
    queue.kick.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!queue.kick.valid()) return ErrnoStatus("eventfd of a virtio queue", errno);
  }
  return transport;
}

VirtioPciTransport::VirtioPciTransport(std::shared_ptr<VirtioDevice> device, const GuestMemory& memory,
                                       std::unique_ptr<Msix> msix, IoEventRegistry& io_events,
                                       std::shared_ptr<AddressTranslator> translator, bool restricted)
    : device_(std::move(device)),
      memory_(memory),
      io_events_(io_events),
      translator_(std::move(translator)),
      features_(device_->features() | device_->ring_features() |
                (translator_ != nullptr || restricted ? kVirtioAccessPlatform : 0)),
      interrupts_(std::move(msix), device_->queue_sizes().size(), device_->type()),
      config_(PciIdentity{.vendor = kVendor,
                          .device = static_cast<uint16_t>(kFirstDevice + device_->type()),
                          .subsystem_vendor = kVendor,
                          .subsystem = static_cast<uint16_t>(kFirstDevice + device_->type()),
                          .class_code = ClassCode(device_->type()),
                          .revision = 1}) {
  for (uint16_t size : device_->queue_sizes()) {
    Queue& queue = queues_.emplace_back();
    queue.size_max = queue.size = size;
  }
  AddCapabilities();
}

VirtioPciTransport::~VirtioPciTransport() {
  std::lock_guard lock(mutex_);
  ResetDevice();
}

void VirtioPciTransport::AddCapabilities() {
  config_.AddBar(kBar, BarKind::kMemory64, kBarSize, false);
  AddVirtioCapability(kCommonCapability, kCommonOffset, kCommonSize, {}, false);
  AddVirtioCapability(kIsrCapability, kIsrOffset, 1, {}, false);
  AddVirtioCapability(kDeviceCapability, kDeviceOffset, kWindowSize, {}, false);
  uint8_t multiplier[4] = {kNotifyMultiplier, 0, 0, 0};
  AddVirtioCapability(kNotifyCapability, kNotifyOffset, kNotifyMultiplier * queues_.size(), multiplier,
                      false);
  const uint8_t data[4] = {};
  AddVirtioCapability(kWindowCapability, 0, 0, data, true);
  msix_capability_ = config_.AddCapability(
      PciConfigSpace::kMsixCapability,
      interrupts_.msix->CapabilityBody(kBar, kMsixTableOffset, kMsixPbaOffset), Msix::CapabilityWritable());
}

void VirtioPciTransport::AddVirtioCapability(uint8_t type, uint64_t offset, uint64_t length,
                                             std::span<const uint8_t> extra, bool writable) {
  // struct virtio_pci_cap without its first two bytes: length, type, bar, id, padding[2], offset, length.
  std::vector<uint8_t> body(14, 0);
  body[0] = static_cast<uint8_t>(16 + extra.size());
  body[1] = type;
  body[2] = kBar;
  std::memcpy(&body[6], &offset, 4);
  std::memcpy(&body[10], &length, 4);
  body.insert(body.end(), extra.begin(), extra.end());
  std::vector<uint8_t> mask(body.size(), 0);
  if (writable) {
    mask[2] = 0xff;
    std::fill(mask.begin() + 6, mask.end(), uint8_t{0xff});
  }
  const uint8_t at = config_.AddCapability(PciConfigSpace::kVendorCapability, body, mask);
  if (writable) window_capability_ = at;
}

std::optional<VirtioPciTransport::Window> VirtioPciTransport::ConfigWindow() const {
  const Window window{config_.Read32(window_capability_ + kWindowOffset),
                      config_.Read32(window_capability_ + kWindowLength)};
  const uint32_t bar = config_.Read32(window_capability_ + kWindowBar) & 0xff;
  const bool width = window.length == 1 || window.length == 2 || window.length == 4;
  if (bar != kBar || !width || window.offset % window.length != 0) return std::nullopt;
  if (window.offset > kBarSize - window.length) return std::nullopt;
  return window;
}

void VirtioPciTransport::ReadConfig(uint32_t offset, std::span<uint8_t> data) {
  if (offset == window_capability_ + kWindowData) {
    if (auto window = ConfigWindow()) {
      uint32_t value = 0;
      Read(window->offset, {reinterpret_cast<uint8_t*>(&value), window->length});
      config_.Set32(window_capability_ + kWindowData, value);
    }
  }
  config_.Read(offset, data);
}

void VirtioPciTransport::WriteConfig(uint32_t offset, std::span<const uint8_t> data) {
  config_.Write(offset, data);
  if (Overlaps(offset, data.size(), msix_capability_ + 2u, 2)) {
    interrupts_.msix->SetControl(config_.Read16(msix_capability_ + 2u));
  }
  if (offset != window_capability_ + kWindowData) return;
  if (auto window = ConfigWindow()) {
    const uint32_t value = config_.Read32(window_capability_ + kWindowData);
    Write(window->offset, {reinterpret_cast<const uint8_t*>(&value), window->length});
  }
}

std::shared_ptr<BusDevice> VirtioPciTransport::BarDevice(uint32_t) {
  return shared_from_this();
}

void VirtioPciTransport::BarMoved(uint32_t, std::optional<uint64_t> base) {
  std::lock_guard lock(mutex_);
  bar_base_ = base;
  SyncIoEvents();
}

void VirtioPciTransport::SyncIoEvents() {
  for (const auto& [address, fd] : registered_) {
    const Status removed = io_events_.Remove(address, fd);
    if (!removed.ok()) LOG(kWarning, "virtio_notification_not_removed", {{"reason", removed}});
  }
  registered_.clear();
  if (!active_ || !bar_base_) return;
  for (size_t i = 0; i < queues_.size(); ++i) {
    const uint64_t address = *bar_base_ + kNotifyOffset + kNotifyMultiplier * i;
    // Where the kernel cannot take it, the write arrives at NotifyQueue.
    if (!queues_[i].enabled || !io_events_.Add(address, queues_[i].kick.get()).ok()) continue;
    registered_.emplace_back(address, queues_[i].kick.get());
  }
}

void VirtioPciTransport::Read(uint64_t offset, std::span<uint8_t> data) {
  std::fill(data.begin(), data.end(), uint8_t{0});
  if (offset >= kMsixTableOffset && offset < kMsixPbaOffset) {
    return interrupts_.msix->ReadTable(offset - kMsixTableOffset, data);
  }
  if (offset >= kMsixPbaOffset) return interrupts_.msix->ReadPba(offset - kMsixPbaOffset, data);
  if (offset == kIsrOffset) {
    data[0] = interrupts_.isr.exchange(0);
    return;
  }
  std::lock_guard lock(mutex_);
  if (offset >= kDeviceOffset && offset < kDeviceOffset + kWindowSize) {
    return device_->ReadConfig(offset - kDeviceOffset, data);
  }
  if (offset == kQueueDescriptors || offset == kQueueDriver || offset == kQueueDevice) {
    if (data.size() == 8) {
      const uint64_t value = ReadCommon(offset) | ReadCommon(offset + 4) << 32;
      std::memcpy(data.data(), &value, 8);
      return;
    }
  }
  if (data.size() != FieldWidth(offset)) return;
  const uint64_t value = ReadCommon(offset);
  std::memcpy(data.data(), &value, data.size());
}

void VirtioPciTransport::Write(uint64_t offset, std::span<const uint8_t> data) {
  if (offset >= kMsixTableOffset && offset < kMsixPbaOffset) {
    return interrupts_.msix->WriteTable(offset - kMsixTableOffset, data);
  }
  std::lock_guard lock(mutex_);
  if (offset >= kNotifyOffset && offset < kNotifyOffset + kWindowSize) {
    if (offset % kNotifyMultiplier == 0) NotifyQueue((offset - kNotifyOffset) / kNotifyMultiplier);
    return;
  }
  if (offset >= kDeviceOffset && offset < kDeviceOffset + kWindowSize) {
    return device_->WriteConfig(offset - kDeviceOffset, data);
  }
  uint64_t value = 0;
  std::memcpy(&value, data.data(), data.size());
  if (offset >= kQueueDescriptors && offset < kCommonSize && offset % 8 == 0 && data.size() == 8) {
    WriteCommon(offset, value & 0xffffffff);
    return WriteCommon(offset + 4, value >> 32);
  }
  if (data.size() == FieldWidth(offset)) WriteCommon(offset, value);
}

uint64_t VirtioPciTransport::ReadCommon(uint64_t offset) const {
  switch (offset) {
    case kDeviceFeatureSelect:
      return device_feature_select_;
    case kDeviceFeature:
      return device_feature_select_ < 2 ? features_ >> 32 * device_feature_select_ & 0xffffffff : 0;
    case kDriverFeatureSelect:
      return driver_feature_select_;
    case kDriverFeature:
      return driver_feature_select_ < 2 ? driver_features_ >> 32 * driver_feature_select_ & 0xffffffff : 0;
    case kConfigVector:
      return interrupts_.config_vector;
    case kQueueCount:
      return queues_.size();
    case kStatus:
      return interrupts_.status;
    case kGeneration:
      return interrupts_.generation;
    case kQueueSelect:
      return queue_select_;
    default:
      break;
  }
  if (queue_select_ >= queues_.size()) return offset == kQueueVector ? kNoVector : 0;
  const Queue& queue = queues_[queue_select_];
  switch (offset) {
    case kQueueSize:
      return queue.size;
    case kQueueVector:
      return interrupts_.queue_vectors[queue_select_];
    case kQueueEnable:
      return queue.enabled;
    case kQueueNotifyOffset:
      return queue_select_;
    case kQueueDescriptors:
    case kQueueDescriptors + 4:
      return queue.descriptors >> offset % 8 * 8 & 0xffffffff;
    case kQueueDriver:
    case kQueueDriver + 4:
      return queue.driver >> offset % 8 * 8 & 0xffffffff;
    case kQueueDevice:
    case kQueueDevice + 4:
      return queue.device >> offset % 8 * 8 & 0xffffffff;
    default:
      return 0;
  }
}

void VirtioPciTransport::WriteCommon(uint64_t offset, uint64_t value) {
  switch (offset) {
    case kDeviceFeatureSelect:
      device_feature_select_ = static_cast<uint32_t>(value);
      break;
    case kDriverFeatureSelect:
      driver_feature_select_ = static_cast<uint32_t>(value);
      break;
    case kDriverFeature:
      // After FEATURES_OK the choice is final (virtio 1.2, 3.1.1).
      if (driver_feature_select_ < 2 && !(interrupts_.status & kFeaturesOk)) {
        SetHalf(driver_features_, driver_feature_select_ == 1, static_cast<uint32_t>(value));
      }
      break;
    case kConfigVector:
      interrupts_.config_vector = CheckedVector(value);
      break;
    case kStatus:
      WriteStatus(static_cast<uint8_t>(value));
      break;
    case kQueueSelect:
      queue_select_ = static_cast<uint16_t>(value);
      break;
    default:
      WriteQueueField(offset, static_cast<uint32_t>(value));
  }
}

uint16_t VirtioPciTransport::CheckedVector(uint64_t value) const {
  return value < interrupts_.msix->vectors() ? static_cast<uint16_t>(value) : kNoVector;
}

void VirtioPciTransport::WriteQueueField(uint64_t offset, uint32_t value) {
  if (queue_select_ >= queues_.size()) return;
  if (offset == kQueueVector) {
    interrupts_.queue_vectors[queue_select_] = CheckedVector(value);
    return;
  }
  Queue& queue = queues_[queue_select_];
  if (active_ || queue.enabled) return;  // a queue in use does not change
  switch (offset) {
    case kQueueSize:
      if (value != 0 && value <= queue.size_max && (value & (value - 1)) == 0) {
        queue.size = static_cast<uint16_t>(value);
      }
      break;
    case kQueueEnable:
      queue.enabled = value == 1;
      break;
    case kQueueDescriptors:
    case kQueueDescriptors + 4:
      SetHalf(queue.descriptors, offset != kQueueDescriptors, value);
      break;
    case kQueueDriver:
    case kQueueDriver + 4:
      SetHalf(queue.driver, offset != kQueueDriver, value);
      break;
    case kQueueDevice:
    case kQueueDevice + 4:
      SetHalf(queue.device, offset != kQueueDevice, value);
      break;
    default:
      break;
  }
}

void VirtioPciTransport::WriteStatus(uint8_t value) {
  if (value == 0) return ResetDevice();
  const uint8_t current = interrupts_.status;
  // A driver may add bits, but not take them back (virtio 1.2, 2.1.1).
  if (current & kDriverBits & ~value) return;
  uint8_t added = value & kDriverBits & ~current;
  if (added & kFeaturesOk) {
    const uint64_t needed = kVirtioVersion1 | (features_ & kVirtioAccessPlatform);
    const bool acceptable = !(driver_features_ & ~features_) && (driver_features_ & needed) == needed;
    if (!acceptable) added &= static_cast<uint8_t>(~kFeaturesOk);
  }
  if (!((added | current) & kFeaturesOk)) added &= static_cast<uint8_t>(~kDriverOk);
  interrupts_.status.fetch_or(added);
  if (!(added & kDriverOk)) return;
  Status activated = Activate();
  if (!activated.ok()) interrupts_.Fail(activated);
}

Status VirtioPciTransport::Activate() {
  TRY_ASSIGN(VirtioActivation activation, MakeActivation({}));
  TRY(device_->Activate(std::move(activation)));
  active_ = true;
  SyncIoEvents();
  return OkStatus();
}

Result<VirtioActivation> VirtioPciTransport::MakeActivation(
    const std::vector<SplitQueue::Position>& positions) {
  VirtioActivation activation;
  activation.memory = &memory_;
  activation.features = driver_features_;
  activation.interrupt = &interrupts_;
  for (const Queue& queue : queues_) {
    auto& handed = activation.queues.emplace_back();
    handed.kick_fd = queue.kick.get();
    if (!queue.enabled) continue;
    QueueConfig config{.size = queue.size,
                       .descriptors = Gpa{queue.descriptors},
                       .driver = Gpa{queue.driver},
                       .device = Gpa{queue.device},
                       .indirect = (driver_features_ & kVirtioIndirect) != 0,
                       .event_idx = (driver_features_ & kVirtioEventIdx) != 0,
                       .translator = translator_.get()};
    TRY_ASSIGN(SplitQueue ring, SplitQueue::Create(memory_, config));
    handed.ring = std::make_unique<SplitQueue>(std::move(ring));
    if (!positions.empty()) handed.ring->Seek(positions.at(activation.queues.size() - 1));
  }
  return activation;
}

void VirtioPciTransport::ResetDevice() {
  if (std::exchange(active_, false)) {
    SyncIoEvents();
    device_->Reset();
    suspended_.reset();
    lost_.reset();
    idle_ = false;
  }
  for (Queue& queue : queues_) {
    DrainEvent(queue.kick.get());
    queue.size = queue.size_max;
    queue.enabled = false;
    queue.descriptors = queue.driver = queue.device = 0;
  }
  for (auto& vector : interrupts_.queue_vectors) vector = kNoVector;
  interrupts_.config_vector = kNoVector;
  interrupts_.msix->ClearPending();
  interrupts_.isr = 0;
  device_feature_select_ = driver_feature_select_ = 0;
  driver_features_ = 0;
  queue_select_ = 0;
  interrupts_.status = 0;
}

void VirtioPciTransport::NotifyQueue(uint64_t index) {
  if (active_ && index < queues_.size() && queues_[index].enabled) SignalEvent(queues_[index].kick.get());
}

// ---- Snapshots

Status VirtioPciTransport::Suspend() {
  std::lock_guard lock(mutex_);
  if (!active_ || suspended_ || idle_) return OkStatus();
  TRY_ASSIGN(suspended_, device_->Suspend());
  return OkStatus();
}

void VirtioPciTransport::Resume() {
  std::lock_guard lock(mutex_);
  if (lost_) return interrupts_.Fail(*std::exchange(lost_, std::nullopt));
  // A device that has failed waits for its driver to reset it.
  if (!suspended_ || (interrupts_.status & kNeedsReset)) return;
  VirtioActivation activation = *std::exchange(suspended_, std::nullopt);
  SyncIoEvents();
  if (Status activated = device_->Activate(std::move(activation)); !activated.ok()) {
    idle_ = true;
    return interrupts_.Fail(activated);
  }
  // What has come in the meantime was not notified.
  for (size_t i = 0; i < queues_.size(); ++i) NotifyQueue(i);
}

void VirtioPciTransport::Save(StateWriter& out) {
  std::lock_guard lock(mutex_);
  out.Put(device_->type());
  config_.Save(out);
  interrupts_.msix->Save(out);
  out.Put(interrupts_.status.load());
  out.Put(interrupts_.isr.load());
  out.Put(interrupts_.generation.load());
  out.Put(interrupts_.config_vector.load());
  out.Put(device_feature_select_);
  out.Put(driver_feature_select_);
  out.Put(driver_features_);
  out.Put(queue_select_);
  out.Put(active_);
  out.Put(static_cast<uint32_t>(queues_.size()));
  for (size_t i = 0; i < queues_.size(); ++i) {
    const Queue& queue = queues_[i];
    out.Put(queue.size);
    out.Put(queue.enabled);
    for (uint64_t address : {queue.descriptors, queue.driver, queue.device}) out.Put(address);
    out.Put(interrupts_.queue_vectors[i].load());
    SplitQueue::Position at;
    if (suspended_ && suspended_->queues[i].ring) at = suspended_->queues[i].ring->position();
    for (uint16_t index : {at.next_available, at.next_used, at.signalled_used}) out.Put(index);
  }
  out.PutPart("device", 1, [this](StateWriter& part) { device_->Save(part); });
}

void VirtioPciTransport::LoadRegisters(StateReader& in) {
  if (in.Get<uint16_t>() != device_->type()) return in.Fail(InvalidArgument("a device of another type"));
  config_.Load(in);
  interrupts_.msix->Load(in);
  interrupts_.status = in.Get<uint8_t>() & (kDriverBits | kNeedsReset);
  interrupts_.isr = in.Get<uint8_t>();
  interrupts_.generation = in.Get<uint8_t>();
  interrupts_.config_vector = CheckedVector(in.Get<uint16_t>());
  in.Get(device_feature_select_);
  in.Get(driver_feature_select_);
  in.Get(driver_features_);
  in.Get(queue_select_);
  in.Get(active_);
  const bool chosen = (interrupts_.status & kFeaturesOk) != 0;
  if (in.ok() && chosen && (driver_features_ & ~features_) != 0) {
    in.Fail(FailedPrecondition("the guest uses features that the device does not have here"));
  }
}

std::vector<SplitQueue::Position> VirtioPciTransport::LoadQueues(StateReader& in) {
  std::vector<SplitQueue::Position> positions;
  if (in.Get<uint32_t>() != queues_.size()) {
    in.Fail(InvalidArgument("another number of queues than " + std::to_string(queues_.size())));
  }
  for (size_t i = 0; in.ok() && i < queues_.size(); ++i) {
    Queue& queue = queues_[i];
    in.Get(queue.size);
    in.Get(queue.enabled);
    for (uint64_t* address : {&queue.descriptors, &queue.driver, &queue.device}) in.Get(*address);
    interrupts_.queue_vectors[i] = CheckedVector(in.Get<uint16_t>());
    SplitQueue::Position& at = positions.emplace_back();
    for (uint16_t* index : {&at.next_available, &at.next_used, &at.signalled_used}) in.Get(*index);
    if (queue.size == 0 || queue.size > queue.size_max || (queue.size & (queue.size - 1)) != 0) {
      in.Fail(InvalidArgument("a queue of " + std::to_string(queue.size) + " entries, at most " +
                              std::to_string(queue.size_max) + " are possible"));
    }
  }
  return positions;
}

void VirtioPciTransport::Load(StateReader& in) {
  std::lock_guard lock(mutex_);
  LoadRegisters(in);
  const std::vector<SplitQueue::Position> positions = LoadQueues(in);
  StateReader part = in.GetPart("device", 1);
  device_->Load(part);
  in.Leave(part);
  if (!in.ok()) {
    active_ = false;
    return;
  }
  interrupts_.msix->SetControl(config_.Read16(msix_capability_ + 2u));
  if (!active_) return;
  Result<VirtioActivation> activation = MakeActivation(positions);
  if (activation.has_value()) {
    suspended_ = *std::move(activation);
  } else if ((interrupts_.status & kNeedsReset) != 0) {
    idle_ = true;  // a device that has failed may well have rings that make no sense
  } else if (translator_ != nullptr) {
    // The driver has unmapped them, which the device had no reason to notice.
    idle_ = true;
    lost_ = activation.error();
  } else {
    active_ = false;
    in.Fail(activation.error());
  }
}

}  // namespace berth::vmm
