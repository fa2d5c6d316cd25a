#include "scheduler/fit/transport.h"

#include <algorithm>
#include <array>
#include <bit>

#include "scheduler/fit/device_fit.h"

namespace berth::scheduler {

uint32_t Transport::Used(size_t source) const {
  uint32_t used = 0;
  for (size_t sink = 0; sink < sinks_; ++sink) used += Flow(source, sink);
  return used;
}

bool Transport::Run(StepBudget& budget) {
  flow_.assign(sources_.size() * sinks_, 0);
  uint64_t missing = 0;
  for (uint32_t one : left_) missing += one;
  for (uint32_t cost = 0; cost <= 1 && missing > 0; ++cost) {
    for (size_t s = 0; s < sources_.size() && missing > 0; ++s) {
      if (sources_[s].cost != cost) continue;
      uint32_t capacity = sources_[s].capacity;
      while (capacity > 0) {
        uint32_t sent = Augment(s, capacity, budget);
        if (budget.exhausted()) return false;
        if (sent == 0) break;
        capacity -= sent;
        missing -= sent;
        cost_ += cost * sent;
      }
    }
  }
  return missing == 0;
}

// Breadth first from a source over the sinks: a sink that is full passes on through a source that feeds it to
// the other sinks which that source may serve. Sends as much as the path holds, at most `want`.
uint32_t Transport::Augment(size_t source, uint32_t want, StepBudget& budget) {
  std::array<uint8_t, 64> queue{};
  std::array<uint32_t, 64> through{};  // the source by which a sink was reached
  std::array<uint8_t, 64> before{};    // and the sink before it; 64: the start
  uint64_t seen = 0;
  size_t head = 0;
  size_t tail = 0;
  auto reach = [&](uint64_t sinks, size_t by, uint8_t from) {
    for (uint64_t fresh = sinks & ~seen; fresh != 0; fresh &= fresh - 1) {
      auto sink = static_cast<uint8_t>(std::countr_zero(fresh));
      seen |= uint64_t{1} << sink;
      through[sink] = static_cast<uint32_t>(by);
      before[sink] = from;
      queue[tail++] = sink;
    }
  };
  reach(sources_[source].serves, source, 64);
  while (head < tail) {
    uint8_t sink = queue[head++];
    if (!budget.Spend()) return 0;
    if (left_[sink] == 0) {
      for (size_t s = 0; s < sources_.size(); ++s) {
        if (Flow(s, sink) > 0 && (sources_[s].serves & ~seen) != 0) reach(sources_[s].serves, s, sink);
      }
      budget.Spend(sources_.size() / 8);
      continue;
    }
    uint32_t amount = std::min(want, left_[sink]);
    for (uint8_t at = sink; before[at] != 64; at = before[at]) {
      amount = std::min(amount, Flow(through[at], before[at]));
    }
    left_[sink] -= amount;
    for (uint8_t at = sink; at != 64; at = before[at]) {
      flow_[through[at] * sinks_ + at] += amount;
      if (before[at] != 64) flow_[through[at] * sinks_ + before[at]] -= amount;
    }
    return amount;
  }
  return 0;
}

}  // namespace berth::scheduler
