#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "common/cpu_set.h"
#include "common/error_list.h"
#include "common/yaml.h"
#include "compute-agent/devices/device_domains.h"
#include "compute-agent/devices/device_spec.h"
#include "compute-agent/preflight/confidential_config.h"
#include "compute-agent/sriov/vf_creator.h"
#include "placement/model/host.h"

namespace berth::agent {

// Pages of one size on one node: node and bytes per page.
using PoolKey = std::pair<placement::NumaNode, uint64_t>;
using PageCounts = std::map<PoolKey, uint64_t>;

// What of the host may be handed out, as configured. Keys of the YAML map, all optional:
//   cpu_shared_set, cpu_dedicated_set   lists such as "0-3,8", disjoint. Neither given: every CPU is in both
//                                       ("single pool"); one given: the other is empty.
//   cpu_allocation_ratio, ram_allocation_ratio   0.0625 to 64, default 1.0
//   reserved_memory       [{node: 0, size: 512M}], not for guests. Default: 512 MiB (at most a quarter) of
//   the
//                         first node with CPUs.
//   reserved_huge_pages   [{node: 0, page_size: 2M, count: 64}]
//   device_spec           see device_spec.h
//   sriov                 [{address: "0000:41:00.0", vfs: 8}]: VFs that PFs are to have
//   domains               {"clique:0": ["0000:81:00.0", ...]}: devices that belong together, by PF or device;
//   what
//                         the PCI tree tells (root ports, switches) is found without
//   disk_size             what guests may use for their disks in all, for example 2T. Default: not told
//   confidential          {type: auto, secure_memory: [{node: 0, size: 64G}], nonsecure_headroom: 256M,
//                         symmetry_percent: 2, required_os: "..."}: see ConfidentialConfig
struct HostConfig {
  std::optional<CpuSet> cpu_shared_set;
  std::optional<CpuSet> cpu_dedicated_set;
  double cpu_allocation_ratio = 1.0;
  double ram_allocation_ratio = 1.0;
  std::optional<std::map<placement::NumaNode, uint64_t>> reserved_memory;  // bytes
  PageCounts reserved_huge_pages;
  DeviceSpec device_spec;
  ConfidentialConfig confidential;
  std::vector<VfCount> sriov;
  ConfiguredDomains domains;
  uint64_t disk_bytes = 0;  // 0: not told

  // The keys above, for the check of unknown ones.
  static const std::vector<std::string_view>& Keys();
};

// Reads the keys above from `map` and ignores others. Errors go to `errors`; what could be read is returned.
HostConfig ParseHostConfig(const YamlNode& map, ErrorList& errors);

}  // namespace berth::agent
