#pragma once

#include <string>
#include <string_view>

#include "placement/model/claim.h"
#include "placement/model/host.h"

// Hosts and claims for the tests of instances.
namespace berth::agent {

inline placement::Cell TestCell(uint32_t id, std::string_view cpus) {
  placement::Cell cell;
  cell.id = id;
  cell.shared_cpus = *CpuSet::Parse(cpus);
  cell.dedicated_cpus = cell.shared_cpus;
  for (uint32_t cpu : cell.shared_cpus.ToVector()) cell.siblings.push_back(CpuSet{cpu});
  cell.memory_bytes = uint64_t{1} << 30;
  cell.pages = {{4096, 1 << 18, 0}, {2 << 20, 64, 0}};
  cell.distances = {10, 21};
  if (id == 1) cell.distances = {21, 10};
  return cell;
}

// Two cells with the CPUs 0-3 and 4-7.
inline placement::HostReport TestHost() {
  placement::HostReport host;
  host.uuid = *Uuid::Parse("11111111-1111-4111-8111-111111111111");
  host.name = "host1";
  host.cells = {TestCell(0, "0-3"), TestCell(1, "4-7")};
  return host;
}

inline placement::CellBinding TestBinding(uint32_t guest, uint32_t host, std::string_view vcpus,
                                          uint64_t bytes) {
  placement::CellBinding binding;
  binding.guest_cell = guest;
  binding.host_cell = host;
  binding.vcpus = *CpuSet::Parse(vcpus);
  binding.memory_bytes = bytes;
  return binding;
}

// A claim without guest topology.
inline placement::Claim TestClaim(const std::string& name, uint32_t vcpus, uint64_t bytes) {
  placement::Claim claim;
  claim.consumer = Uuid::FromName(*Uuid::Parse("22222222-2222-4222-8222-222222222222"), name);
  claim.name = name;
  claim.host = TestHost().uuid;
  claim.spec.vcpus = vcpus;
  claim.spec.memory_bytes = bytes;
  claim.spec.kernel = "/proc/version";  // any readable file
  return claim;
}

}  // namespace berth::agent
