#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace berth::scheduler {

class StepBudget;

// A transportation problem: sources with a capacity, a cost (0 or 1) per unit, and the set of sinks that they
// may serve; sinks with a demand. Finds a solution that meets all demands at the least cost, or shows that
// there is none. At most 64 sinks. Used once: AddSource, Run, then read.
class Transport {
 public:
  explicit Transport(const std::vector<uint32_t>& demand) : left_(demand), sinks_(demand.size()) {}

  // `serves`: bit per sink.
  void AddSource(uint64_t serves, uint32_t capacity, uint32_t cost) {
    sources_.push_back({serves, capacity, cost});
  }

  // True when all demands are met. False also when the budget ran out.
  bool Run(StepBudget& budget);

  uint32_t cost() const { return cost_; }
  uint32_t Flow(size_t source, size_t sink) const { return flow_[source * sinks_ + sink]; }
  uint32_t Used(size_t source) const;

 private:
  struct Source {
    uint64_t serves;
    uint32_t capacity;
    uint32_t cost;
  };

  uint32_t Augment(size_t source, uint32_t want, StepBudget& budget);

  std::vector<uint32_t> left_;  // unmet demand per sink
  size_t sinks_;
  std::vector<Source> sources_;
  std::vector<uint32_t> flow_;
  uint32_t cost_ = 0;
};

}  // namespace berth::scheduler
