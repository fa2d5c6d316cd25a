#pragma once

#include <cstdint>

#include "placement/model/host.h"

namespace berth::bench {

constexpr uint64_t kGib = uint64_t{1} << 30;

// Host `number` of the fleets that are measured: 2 nodes on 2 sockets, each with 192 GiB, half of it in pages
// of 2 MiB, and 48 CPUs in pairs of threads: 16 shared, then 32 dedicated. Named "host" and the number. Every
// fifth has 8 GPUs (10de:2330), four a node; with `nics` 8 NICs beside them, of 8 VFs each, on physnet0.
placement::HostReport MakeFleetHost(uint32_t number, bool nics = false);

// Adds 8 GPUs (10de:2330) to a host of two nodes, four a node.
void AddGpus(placement::HostReport& host);

}  // namespace berth::bench
