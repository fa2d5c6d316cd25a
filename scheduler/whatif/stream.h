#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "common/status.h"

namespace berth::scheduler::whatif {

// Puts up to `size` bytes into `buffer`; 0 at the end. May return less than is asked for.
using ReadBytes = std::function<Result<size_t>(char* buffer, size_t size)>;
// Takes whole lines of answers, in the order of the scenarios.
using WriteBytes = std::function<Status(std::string_view)>;

struct StreamOptions {
  unsigned threads = 0;                // 0: one for each core
  size_t max_line = size_t{64} << 20;  // a longer line is an error of its own and is skipped
  size_t batch = size_t{256} << 10;    // bytes that a thread takes at once
};

struct StreamTotals {
  uint64_t lines = 0;
  uint64_t bad_lines = 0;  // that were no scenario
  uint64_t undecided = 0;  // hosts
};

// Answers every line. Memory is bounded by threads x (batch + longest line). Errors are those of reading and
// writing; a bad line is none.
Result<StreamTotals> AnswerStream(const ReadBytes& read, const WriteBytes& write,
                                  const StreamOptions& options = {});

}  // namespace berth::scheduler::whatif
