#pragma once

#include <string>
#include <utility>
#include <vector>

#include "common/status.h"

namespace berth::agent {

// Collects what discovery could not read. Bounded, so that a broken tree cannot fill the memory.
class Warnings {
 public:
  void Add(std::string text);
  // The error of a reader: its message, which names the path. A missing file is no warning: the kernel has
  // many optional ones.
  void AddUnlessMissing(const Status& status);
  // A file that could be read but not understood.
  void AddBadContent(const std::string& path, const Status& status);
  // All of them, with a last line that counts what did not fit.
  std::vector<std::string> Take() &&;

 private:
  std::vector<std::string> lines_;
  size_t dropped_ = 0;
};

}  // namespace berth::agent
