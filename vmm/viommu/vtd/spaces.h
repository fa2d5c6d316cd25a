#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "vmm/memory/guest_memory.h"
#include "vmm/viommu/domains.h"
#include "vmm/viommu/vtd/invalidation.h"
#include "vmm/viommu/vtd/tables.h"

namespace berth::vmm::vtd {

// Keeps the domains of the mapping engine what the guest's tables say. Each table that devices of the unit
// use is a domain; the guest tells of every change of its tables by an invalidation (caching mode), upon
// which the part that it names is read and compared with what is mapped. Thread-compatible. The references
// outlive it.
class Spaces {
 public:
  // Endpoints of the domains are numbered by segment << 16 | bus, slot and function.
  Spaces(IommuDomains& domains, const GuestMemory& memory, const Limits& limits, uint32_t segment)
      : domains_(domains), memory_(memory), limits_(limits), segment_(segment) {}

  // A device that is an endpoint of the domains already, or is so no longer.
  void AddDevice(uint16_t source);
  void RemoveDevice(uint16_t source);

  // Translation is on, with the root table at an address; or off: all devices bypass the unit.
  void SetRoot(std::optional<uint64_t> root);
  // Of the kinds kContext and kMappings.
  void Invalidate(const Invalidation& what);

  // Tables that were read since the last call.
  uint64_t TakeWork() { return std::exchange(work_, 0); }
  // Pages of the guest's tables that could not be mapped, because they are no RAM or the host has no room.
  uint64_t not_mapped() const { return not_mapped_; }

 private:
  using TableKey = std::pair<uint64_t, uint32_t>;  // address and levels
  struct Space {
    uint32_t domain = 0;  // of the engine
    std::set<uint16_t> devices{};
  };
  struct Device {
    enum class State { kBypass, kBlocked, kSpace };
    State state = State::kBypass;
    TableKey table{};           // of kSpace
    uint16_t guest_domain = 0;  // DID
  };

  uint32_t EndpointOf(uint16_t source) const { return segment_ << 16 | source; }
  // Reads the device's context entry and puts it where it says.
  void Update(uint16_t source, Device& device);
  void Bypass(uint16_t source, Device& device);
  void Block(uint16_t source, Device& device);
  void Enter(uint16_t source, Device& device, const Context& context);
  void Leave(uint16_t source, Device& device);
  // Makes the mappings in [first, last], and those that reach into it, what the table says.
  void Sync(const TableKey& key, const Space& space, uint64_t first, uint64_t last);
  void Map(uint32_t domain, const IommuMapping& mapping);
  void CountNotMapped(const IommuMapping& mapping, const Status& why);

  IommuDomains& domains_;
  const GuestMemory& memory_;
  const Limits limits_;
  const uint32_t segment_;
  std::optional<uint64_t> root_;
  std::map<uint16_t, Device> devices_;
  std::map<TableKey, Space> spaces_;
  uint32_t last_domain_ = 0;
  uint64_t work_ = 0;
  uint64_t not_mapped_ = 0;
  uint64_t told_ = 0;  // of these, in the log
};

}  // namespace berth::vmm::vtd
