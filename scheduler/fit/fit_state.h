#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "scheduler/fit/fit_host.h"

namespace berth::scheduler {

// What FitQuickly and its callers' scores can tell of a host, as one number: hosts of the same number get the
// same answer. Which CPUs and which device addresses are free makes no difference, how many does.
struct FitState {
  uint64_t number = 0;  // never 0, never used again for another state
  std::string key;
};
// Shared by all views of hosts that are in this state; the table forgets it with the last of them.
using FitStatePtr = std::shared_ptr<const FitState>;

// Gives states their numbers. Exact: states are compared, not their hashes. Thread-safe.
class FitStates {
 public:
  FitStates() = default;
  FitStates(const FitStates&) = delete;
  FitStates& operator=(const FitStates&) = delete;

  // Of a prepared host. The table must outlive what it returns.
  FitStatePtr Of(const FitHost& host);
  size_t size() const;

  // The table that lasts as long as the process.
  static FitStates& OfProcess();

 private:
  void Forget(const FitState* state);

  mutable std::mutex mutex_;  // guards both
  // By the states' own keys: entries go before their states do.
  std::unordered_map<std::string_view, std::weak_ptr<const FitState>> known_;
  uint64_t last_ = 0;
};

}  // namespace berth::scheduler
