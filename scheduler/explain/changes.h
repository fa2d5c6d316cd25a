#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "scheduler/explain/known_host.h"
#include "scheduler/explain/reasons.h"
#include "scheduler/request/alias.h"
#include "scheduler/request/extra_specs.h"
#include "scheduler/request/resolve.h"

namespace berth::scheduler {

// What people ask for, before it is resolved.
struct Wish {
  Flavor flavor;
  Properties image;
  std::vector<PortRequest> ports;
};

enum class ChangeKind { kRelaxPolicy, kChangeSetting, kShrink, kFreeDevice, kMoveInstance };

// One change after which a wish that no host can take fits on one.
struct Change {
  ChangeKind kind = ChangeKind::kRelaxPolicy;
  // What is changed: an extra spec, "memory_mib", "vcpus", "pci_passthrough:alias", a port's id; a device's
  // address; an instance's name.
  std::string subject;
  std::string from;      // its value now; of kMoveInstance the host that it is on
  std::string to;        // the value that would do; of kMoveInstance the host that takes it, empty: none does
  std::string host;      // one that fits then, the first by name
  uint32_t hosts = 0;    // how many fit then; of kFreeDevice and kMoveInstance: 1
  std::string instance;  // of kFreeDevice: who holds the device
  std::string text;      // one sentence for people
};

struct ChangeOptions {
  // Hosts that are taken apart (a claim or a device away) before the search for kFreeDevice, and again for
  // kMoveInstance, gives up. About 10 us each.
  uint32_t max_tries = 10'000;
};

struct Changes {
  std::vector<Change> changes;   // the cheapest first: by kind, then as little as possible
  uint32_t hosts_not_tried = 0;  // for kMoveInstance, since max_tries was reached
};

// Finds a flavor's request without image and ports; nullptr: no such flavor any more.
using FlavorSpecs = std::function<const RequestSpec*(const std::string& flavor)>;

// Of each kind of change the smallest ones that make the wish fit somewhere. Every one of them was tried with
// the exact solver. `spec` is the wish resolved, `reasons` those of its refusal by all of `hosts`.
Changes FindChanges(const KnownHosts& hosts, const Wish& wish, const RequestSpec& spec,
                    const AliasTable& aliases, const Reasons& reasons, const FlavorSpecs& flavors,
                    const ChangeOptions& options = {});

// Parts of it, in files of their own.
std::vector<Change> ChangesOfWish(const KnownHosts& hosts, const Wish& wish, const RequestSpec& spec,
                                  const AliasTable& aliases);
void ChangesOfHosts(const KnownHosts& hosts, const RequestSpec& spec, const Reasons& reasons,
                    const FlavorSpecs& flavors, const ChangeOptions& options, Changes& out);

}  // namespace berth::scheduler
