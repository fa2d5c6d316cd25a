#include "vmm/machine/pci_topology.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "vmm/bus/layout.h"

namespace berth::vmm {

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
  TRY(ports.Insert(layout::kPciConfigAddressPort, layout::kPciConfigPortSize,
                   std::make_shared<PciConfigPorts>(self->segments_[0].bus), "pci-ports"));
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

void PciTopology::Eject(uint32_t segment, uint32_t slot) {
  std::string id;
  std::shared_ptr<PciFunction> function;
  {
    std::lock_guard lock(mutex_);
    auto found = std::find_if(functions_.begin(), functions_.end(), [&](const auto& entry) {
      return entry.second.place == PciPlace{segment, slot};
    });
    if (found == functions_.end()) return;  // an empty slot, or the host bridge
    Result<std::shared_ptr<PciFunction>> removed = segments_[segment].bus->Remove(slot);
    if (!removed.has_value()) return;
    for (const Bar& bar : found->second.bars) segments_[segment].bars.Free(bar.address, bar.size);
    function = *std::move(removed);
    id = found->first;
    functions_.erase(found);
  }
  events_.on_removed(id, std::move(function));
}

}  // namespace berth::vmm
