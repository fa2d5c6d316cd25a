#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace berth::agent {

// Looks for the kernel's "swiotlb buffer is full" in a guest's console output (seed 000). The guest writes
// what it likes: what is kept is bounded, and what is found is a hint, never a command. A value type.
class ConsoleWatch {
 public:
  void Feed(std::string_view data);
  // Slabs of the buffer as the guest told them with the last message (0: not told); empty: none since the
  // last call.
  std::optional<uint64_t> TakeSwiotlbFull();

 private:
  void ReadLine();

  std::string line_;  // begun, at most kMaxLine bytes
  std::optional<uint64_t> full_;
};

}  // namespace berth::agent
