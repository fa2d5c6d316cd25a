#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "common/cpu_set.h"
#include "common/status.h"

namespace berth::vmm {

// Gives every page of a mapping its memory now, by up to 16 threads, which run on `cpus` where these may be
// used: zeroing pages is fast only near them. Memory policies (mbind) must be set before. kResourceExhausted
// when memory runs out, for huge pages instead of a later SIGBUS.
Status Prefault(std::span<uint8_t> mapping, uint64_t page_size, const CpuSet& cpus = {});

// CPUs of a host node; empty when the host does not tell, or the node has none. `root`: of /sys.
CpuSet CpusOfHostNode(uint32_t node, const std::string& root = "/");

}  // namespace berth::vmm
