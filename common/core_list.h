#pragma once

#include <atomic>
#include <cstddef>
#include <initializer_list>
#include <memory>
#include <utility>
#include <vector>

#include "common/cpu_set.h"

namespace berth {

// The threads of each core of a NUMA cell. Copies share one list until one of them is changed: a host's cores
// stay while everything else about it changes with every claim. A value type; thread-compatible.
class CoreList {
 public:
  using const_iterator = std::vector<CpuSet>::const_iterator;

  CoreList() = default;
  // Not explicit: a list of cores is one.
  CoreList(std::vector<CpuSet> cores)  // NOLINT(google-explicit-constructor)
      : cores_(cores.empty() ? nullptr : std::make_shared<std::vector<CpuSet>>(std::move(cores))) {}
  CoreList(std::initializer_list<CpuSet> cores) : CoreList(std::vector<CpuSet>(cores)) {}

  size_t size() const { return cores_ == nullptr ? 0 : cores_->size(); }
  bool empty() const { return size() == 0; }
  const CpuSet& operator[](size_t i) const { return (*cores_)[i]; }
  const_iterator begin() const { return Read().begin(); }
  const_iterator end() const { return Read().end(); }

  // The list for changes, no longer shared with copies.
  std::vector<CpuSet>& Own() {
    if (cores_ == nullptr) {
      cores_ = std::make_shared<std::vector<CpuSet>>();
    } else if (cores_.use_count() > 1) {
      cores_ = std::make_shared<std::vector<CpuSet>>(*cores_);
    } else {
      // What another thread read of the list, through a copy that is gone now, comes before our changes.
      std::atomic_thread_fence(std::memory_order_acquire);
    }
    return *cores_;
  }
  void push_back(CpuSet core) { Own().push_back(std::move(core)); }

  friend bool operator==(const CoreList& a, const CoreList& b) {
    return a.cores_ == b.cores_ || a.Read() == b.Read();
  }

 private:
  const std::vector<CpuSet>& Read() const {
    static const std::vector<CpuSet> kNone;
    return cores_ == nullptr ? kNone : *cores_;
  }

  std::shared_ptr<std::vector<CpuSet>> cores_;  // shared by copies, which only read it; nullptr: no core
};

}  // namespace berth
