#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "placement/model/usage.h"
#include "scheduler/explain/changes.h"
#include "scheduler/explain/known_host.h"

namespace berth::scheduler {

// A few hosts with instances on them, placed by the solver and checked as placement checks them.
class SmallFleet {
 public:
  // A host of `cells` cells on a socket each: `dedicated` CPUs for pinning, 4 shared ones, `mib` MiB in base
  // pages and half of that in pages of 2 MiB.
  void AddHost(const std::string& name, uint32_t cells, uint32_t dedicated, uint64_t mib);
  // `count` devices of type-PCI on a node of the host added last.
  void AddDevices(uint32_t count, const std::string& product, std::optional<placement::NumaNode> node);
  // A PF, not assignable, with `count` assignable VFs.
  void AddVfs(uint32_t count, const std::string& product, placement::NumaNode node);

  // Places the instance on the host; fails the test if it does not fit.
  void Place(const std::string& host, const std::string& name, const Wish& wish,
             const AliasTable& aliases = {});
  // On the host added last, if it fits.
  void TryPlaceOnLast(const std::string& name, const RequestSpec& spec) {
    TryPlace(hosts_.back(), name, "f", spec);
  }
  // Places as many as fit, one after another.
  uint64_t PlaceAll(const std::string& host, const RequestSpec& spec);

  // Makes the instance a member of the group.
  void Join(const std::string& name, const placement::ServerGroup& group);

  // The host runs no guests any more, as one that an operator took out.
  void TakeOut(const std::string& host);

  KnownHosts Known();
  const placement::Claim& claim(const std::string& name) const;

 private:
  struct Host {
    placement::HostReport report;
    placement::HostUsage usage;
    FitHost fit;
    FitStatePtr state;
    KnownHost::Claims claims;
  };
  Host& Find(const std::string& name);
  // Empty: the request fits, and is placed.
  std::string TryPlace(Host& host, const std::string& name, const std::string& flavor,
                       const RequestSpec& spec);

  std::deque<Host> hosts_;
  uint8_t bus_ = 0x10;
  uint32_t number_ = 0;
};

// A flavor with extra specs, without image and ports.
Wish MakeWish(uint32_t vcpus, uint64_t memory_mib, Properties specs, const std::string& flavor = "f");
RequestSpec Resolve(const Wish& wish, const AliasTable& aliases = {});
// Aliases gpu (10de:2330) and vf (8086:154c), with a policy if one is named.
AliasTable MakeAliases(const std::string& numa_policy = "");

}  // namespace berth::scheduler
