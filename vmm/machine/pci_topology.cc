#include "vmm/machine/pci_topology.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <utility>

#include "vmm/bus/layout.h"

namespace berth::vmm {
namespace {

constexpr uint32_t kFunctionsMax = 96 * 32;
constexpr size_t kIdMax = 4096;

}  // namespace

std::string PciPlace::ToString() const {
  char text[32];
  std::snprintf(text, sizeof text, "%04x:00:%02x.0", segment, slot);
  return text;
}

Result<std::unique_ptr<PciTopology>> PciTopology::Create(const std::vector<Segment>& segments, Bus& mmio,
                                                         Bus& ports, uint64_t hotplug_base, Events events) {
  std::unique_ptr<PciTopology> self(new PciTopology(std::move(events)));
  for (size_t i = 0; i < segments.size(); ++i) {
    const Segment& windows = segments[i];
    // Ports belong to segment 0 alone.
    const PciWindow io = i == 0 ? PciWindow{layout::kPciIoBase, layout::kPciIoSize} : PciWindow{};
    auto bus = std::make_shared<PciSegment>(static_cast<uint16_t>(i), mmio,
                                            std::vector{windows.mmio32, windows.mmio64},
                                            PciSegment::IoSpace{i == 0 ? &ports : nullptr, io});
    TRY(mmio.Insert(layout::kPciConfigBase + i * layout::kPciConfigSegmentSize, layout::kPciConfigSegmentSize,
                    bus, "pci-config-" + std::to_string(i)));
    self->segments_.push_back({std::move(bus), BarAllocator(windows.mmio32, windows.mmio64, io)});
  }
  CHECK(!self->segments_.empty());
  TRY(self->segments_[0].bus->Add(MakeHostBridge(), "host-bridge", 0));
  self->ports_ = std::make_shared<PciConfigPorts>(self->segments_[0].bus);
  TRY(ports.Insert(layout::kPciConfigAddressPort, layout::kPciConfigPortSize, self->ports_, "pci-ports"));
  self->hotplug_ = std::make_shared<PciHotplug>(
      static_cast<uint32_t>(segments.size()),
      [raw = self.get()](uint32_t segment, uint32_t slot) { raw->Eject(segment, slot); });
  TRY(mmio.Insert(hotplug_base, layout::kPciHotplugSize, self->hotplug_, "pci-hotplug"));
  return self;
}

Result<PciPlace> PciTopology::Add(std::shared_ptr<PciFunction> function, const std::string& id,
                                  uint32_t segment, std::optional<uint32_t> slot) {
  std::lock_guard lock(mutex_);
  if (segment >= segments_.size()) {
    return NotFound("no PCI segment " + std::to_string(segment) + ", the machine has 0 to " +
                        std::to_string(segments_.size() - 1),
                    "pci_segment");
  }
  if (functions_.contains(id)) return AlreadyExists("device " + id + " exists already", "id");
  SegmentState& state = segments_[segment];
  Function record;
  auto give_back = [&] {
    for (const Bar& bar : record.bars) state.bars.Free(bar.address, bar.size);
  };
  for (uint32_t index = 0; index < PciConfigSpace::kBars; ++index) {
    const auto bar = function->config().bar(index);
    if (!bar) continue;
    Result<uint64_t> address = state.bars.Allocate(bar->kind, bar->size);
    if (!address.has_value()) {
      give_back();
      return std::move(address).error().WithContext("device " + id);
    }
    record.bars.push_back({*address, bar->size});
    function->config().SetBarAddress(index, *address);
  }
  Result<uint32_t> added = state.bus->Add(std::move(function), id, slot);
  if (!added.has_value()) {
    give_back();
    return added.error();
  }
  record.place = {segment, *added};
  const PciPlace place = record.place;
  functions_.emplace(id, std::move(record));
  return place;
}

Status PciTopology::Announce(const std::string& id) {
  const std::optional<PciPlace> place = Find(id);
  if (!place) return NotFound("no device " + id, "id");
  hotplug_->Insert(place->segment, place->slot);
  events_.notify_guest();
  return OkStatus();
}

Status PciTopology::RequestRemoval(const std::string& id) {
  const std::optional<PciPlace> place = Find(id);
  if (!place) return NotFound("no device " + id, "id");
  hotplug_->RequestRemoval(place->segment, place->slot);
  events_.notify_guest();
  return OkStatus();
}

void PciTopology::TakeAway(const std::string& id) {
  if (const std::optional<PciPlace> place = Find(id)) Eject(place->segment, place->slot);
}

std::optional<PciPlace> PciTopology::Find(const std::string& id) const {
  std::lock_guard lock(mutex_);
  auto found = functions_.find(id);
  if (found == functions_.end()) return std::nullopt;
  return found->second.place;
}

std::map<std::string, PciPlace> PciTopology::Places() const {
  std::lock_guard lock(mutex_);
  std::map<std::string, PciPlace> places;
  for (const auto& [id, function] : functions_) places.emplace(id, function.place);
  return places;
}

std::shared_ptr<PciFunction> PciTopology::Take(Functions::iterator found) {
  const PciPlace place = found->second.place;
  SegmentState& segment = segments_[place.segment];
  Result<std::shared_ptr<PciFunction>> removed = segment.bus->Remove(place.slot);
  if (!removed.has_value()) return nullptr;
  for (const Bar& bar : found->second.bars) segment.bars.Free(bar.address, bar.size);
  functions_.erase(found);
  if (events_.on_left) events_.on_left(place);
  return *std::move(removed);
}

void PciTopology::Withdraw(const std::string& id) {
  std::shared_ptr<PciFunction> function;  // let go of without the lock
  std::lock_guard lock(mutex_);
  auto found = functions_.find(id);
  if (found != functions_.end()) function = Take(found);
}

void PciTopology::Eject(uint32_t segment, uint32_t slot) {
  std::string id;
  std::shared_ptr<PciFunction> function;
  {
    std::lock_guard lock(mutex_);
    auto found = std::find_if(functions_.begin(), functions_.end(), [&](const auto& entry) {
      return entry.second.place == PciPlace{segment, slot};
    });
    if (found == functions_.end()) return;  // an empty slot, or the host bridge
    id = found->first;
    function = Take(found);
    if (function == nullptr) return;
  }
  events_.on_removed(id, std::move(function));
}

// ---- Snapshots

Status PciTopology::Suspend() {
  std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<PciFunction>> suspended;
  for (const auto& [id, function] : functions_) {
    auto held = segments_[function.place.segment].bus->function(function.place.slot);
    Status status = held->stateful() != nullptr
                        ? held->stateful()->Suspend()
                        : FailedPrecondition("the state of this device cannot be taken");
    if (status.ok()) {
      suspended.push_back(std::move(held));
      continue;
    }
    for (const auto& other : suspended) other->stateful()->Resume();
    return std::move(status).WithContext("device " + id);
  }
  return OkStatus();
}

void PciTopology::Resume() {
  std::lock_guard lock(mutex_);
  for (const auto& [id, function] : functions_) {
    segments_[function.place.segment].bus->function(function.place.slot)->stateful()->Resume();
  }
}

void PciTopology::SavePlaces(StateWriter& out) {
  std::lock_guard lock(mutex_);
  out.Put(static_cast<uint32_t>(functions_.size()));
  for (const auto& [id, function] : functions_) {
    out.PutText(id);
    out.Put(function.place.segment);
    out.Put(function.place.slot);
  }
}

std::map<std::string, PciPlace> PciTopology::LoadPlaces(StateReader& in) {
  std::map<std::string, PciPlace> places;
  constexpr size_t kLeast = 12;
  const uint32_t count = in.GetCount(kFunctionsMax, kLeast);
  for (uint32_t i = 0; i < count; ++i) {
    const std::string id = in.GetText(kIdMax);
    const auto segment = in.Get<uint32_t>();
    const auto slot = in.Get<uint32_t>();
    if (in.ok() && !places.emplace(id, PciPlace{segment, slot}).second) {
      in.Fail(InvalidArgument("device " + id + " stands twice"));
    }
  }
  return places;
}

void PciTopology::Save(StateWriter& out) {
  std::lock_guard lock(mutex_);
  hotplug_->Save(out);
  ports_->Save(out);
  segments_[0].bus->Save(0, out);
  for (const auto& [id, function] : functions_) {
    out.PutPart(id, 1, [&, place = function.place, &bars = function.bars](StateWriter& part) {
      part.Put(static_cast<uint32_t>(bars.size()));
      for (const Bar& bar : bars) {
        part.Put(bar.address);
        part.Put(bar.size);
      }
      segments_[place.segment].bus->Save(place.slot, part);
    });
  }
}

void PciTopology::Load(StateReader& in) {
  std::lock_guard lock(mutex_);
  hotplug_->Load(in);
  ports_->Load(in);
  segments_[0].bus->Load(0, in);
  // The places for BARs were given away in another order than the saved machine did.
  for (auto& [id, function] : functions_) {
    for (const Bar& bar : function.bars) segments_[function.place.segment].bars.Free(bar.address, bar.size);
    function.bars.clear();
  }
  for (auto& [id, function] : functions_) {
    if (!in.ok()) return;
    SegmentState& segment = segments_[function.place.segment];
    StateReader part = in.GetPart(id, 1);
    const uint32_t bars = part.GetCount(PciConfigSpace::kBars, 16);
    for (uint32_t i = 0; part.ok() && i < bars; ++i) {
      const Bar bar{part.Get<uint64_t>(), part.Get<uint64_t>()};
      Status reserved = std::has_single_bit(bar.size) && bar.address % bar.size == 0
                            ? segment.bars.Reserve(bar.address, bar.size)
                            : InvalidArgument("a BAR of " + std::to_string(bar.size) + " bytes");
      if (reserved.ok()) {
        function.bars.push_back(bar);
      } else {
        part.Fail(std::move(reserved));
      }
    }
    if (part.ok()) segment.bus->Load(function.place.slot, part);
    in.Leave(part);
  }
}

}  // namespace berth::vmm
