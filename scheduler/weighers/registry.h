#pragma once

#include <memory>
#include <vector>

#include "scheduler/weighers/weigher.h"

namespace berth::scheduler {

struct WeigherMaker {
  const char* name;
  std::unique_ptr<Weigher> (*make)();
};
// To add a weigher: write its class in a file of its own, declare its maker here, add its line to
// registry.cc.
const std::vector<WeigherMaker>& WeigherMakers();

std::unique_ptr<Weigher> MakeRamWeigher();
std::unique_ptr<Weigher> MakeCpuWeigher();
std::unique_ptr<Weigher> MakeDiskWeigher();
std::unique_ptr<Weigher> MakePciWeigher();
std::unique_ptr<Weigher> MakeAffinityWeigher();
std::unique_ptr<Weigher> MakeFragmentationWeigher();
std::unique_ptr<Weigher> MakeFailureHistoryWeigher();
std::unique_ptr<Weigher> MakeBuildBackoffWeigher();

}  // namespace berth::scheduler
