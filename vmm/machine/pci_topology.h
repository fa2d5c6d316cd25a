#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "common/status.h"
#include "vmm/bus/bar_allocator.h"
#include "vmm/bus/bus.h"
#include "vmm/bus/pci_root.h"
#include "vmm/devices/pci_hotplug.h"

namespace berth::vmm {

// Where a function sits: SSSS:00:DD.0.
struct PciPlace {
  uint32_t segment = 0;
  uint32_t slot = 0;

  std::string ToString() const;  // "0001:00:03.0"
  // Bus, slot and function in 16 bits.
  uint16_t function() const { return static_cast<uint16_t>(slot << 3); }
  friend bool operator==(const PciPlace&, const PciPlace&) = default;
};

// All PCI segments of a machine with the address space for their BARs, and the controller by which the guest
// learns of functions that come and gives back those that are to go. Thread-safe. The buses outlive it.
class PciTopology {
 public:
  struct Segment {
    PciWindow mmio32;
    PciWindow mmio64;
  };
  struct Events {
    // A slot was filled or is to be emptied: raise the event device's PCI bit.
    std::function<void()> notify_guest;
    // The guest has given the slot back. The function is off the bus and nobody else holds it; runs on a
    // vCPU's thread, so that whoever needs time to let go of it does that elsewhere.
    std::function<void(const std::string& id, std::shared_ptr<PciFunction> function)> on_removed;
    // The function has just been taken off its place, which may be another's from then on. Must be short and
    // must not call the topology.
    std::function<void(const PciPlace& place)> on_left = {};
  };

  // Inserts the configuration windows, the ports of segment 0 and the hot-plug registers at `hotplug_base`.
  static Result<std::unique_ptr<PciTopology>> Create(const std::vector<Segment>& segments, Bus& mmio,
                                                     Bus& ports, uint64_t hotplug_base, Events events);
  PciTopology(const PciTopology&) = delete;
  PciTopology& operator=(const PciTopology&) = delete;

  // Gives the function's BARs their addresses and puts it into a slot. Before the guest runs, or followed by
  // Announce. kNotFound: no such segment; kAlreadyExists: the id or the slot is taken; kResourceExhausted: no
  // slot, or no room for a BAR.
  Result<PciPlace> Add(std::shared_ptr<PciFunction> function, const std::string& id, uint32_t segment,
                       std::optional<uint32_t> slot = std::nullopt);
  // Undoes Add before the guest was told: the function is off the bus, without on_removed.
  void Withdraw(const std::string& id);
  // Tells the running guest of a function that was just added.
  Status Announce(const std::string& id);
  // Asks the guest to give the function back; on_removed follows when it has. kNotFound.
  Status RequestRemoval(const std::string& id);
  // Takes the function off the bus without the guest; on_removed follows. Nothing for an unknown id.
  void TakeAway(const std::string& id);

  std::optional<PciPlace> Find(const std::string& id) const;
  // ---- Snapshots
  // Stops the work of all functions. On an error, which names the function whose state cannot be taken, all
  // go on.
  Status Suspend();
  void Resume();
  // Where the functions sit comes first, because they must be added there before the rest is loaded.
  void SavePlaces(StateWriter& out);
  static std::map<std::string, PciPlace> LoadPlaces(StateReader& in);
  void Save(StateWriter& out);
  void Load(StateReader& in);

  // All functions but the host bridge.
  std::map<std::string, PciPlace> Places() const;

 private:
  struct SegmentState {
    std::shared_ptr<PciSegment> bus;
    BarAllocator bars;
  };
  struct Bar {
    uint64_t address;
    uint64_t size;
  };
  struct Function {
    PciPlace place;
    std::vector<Bar> bars;  // as they were placed; the guest may have moved them
  };

  explicit PciTopology(Events events) : events_(std::move(events)) {}
  using Functions = std::map<std::string, Function>;
  // Off the bus and out of the table; null when the slot is empty. mutex_ is held.
  std::shared_ptr<PciFunction> Take(Functions::iterator found);
  void Eject(uint32_t segment, uint32_t slot);

  const Events events_;
  std::shared_ptr<PciHotplug> hotplug_;
  std::shared_ptr<PciConfigPorts> ports_;
  mutable std::mutex mutex_;  // guards what follows; taken before the segments' locks
  std::vector<SegmentState> segments_;
  Functions functions_;
};

}  // namespace berth::vmm
