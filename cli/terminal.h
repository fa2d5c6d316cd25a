#pragma once

#include <ostream>

namespace berth::cli {

// Where a command writes and reads. Results go to `out`, errors and progress to `err`. Streams outlive it.
struct Terminal {
  std::ostream& out;
  std::ostream& err;
  int input_fd = 0;      // the console reads it
  int output_fd = 1;     // the console writes it
  bool colors = false;   // only on a terminal, and not with NO_COLOR or TERM=dumb
  size_t columns = 100;  // width that pictures are drawn for

  // std::cout and std::cerr, with what the environment tells.
  static Terminal OfThisProcess();
};

}  // namespace berth::cli
