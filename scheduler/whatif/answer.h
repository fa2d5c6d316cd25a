#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "scheduler/fit/device_types.h"
#include "scheduler/whatif/json.h"

namespace berth::scheduler::whatif {

// Answers lines, one after another, with buffers that it keeps. Not thread-safe: one for each thread.
class Answerer {
 public:
  // Appends the answer to `line` (without its newline) and a newline to `out`. `number` counts lines from 1.
  // False when the line is no scenario; `out` then has the error object.
  bool Answer(std::string_view line, uint64_t number, std::string& out);
  // Hosts whose answer was neither yes nor no. Always 0 unless a step budget ran out.
  uint64_t undecided() const { return undecided_; }

 private:
  JsonParser parser_;
  std::unique_ptr<DeviceTypes> types_;
  uint64_t undecided_ = 0;
};

}  // namespace berth::scheduler::whatif
