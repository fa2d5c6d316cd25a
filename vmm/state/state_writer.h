#pragma once

#include <concepts>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace berth::vmm {

// Writes the state of a part of the machine as StateReader reads it: integers in little endian, byte strings
// and texts with their length (4 bytes) before them, and parts: a name, a version (2 bytes), a length (8
// bytes) and what is in it. The format is the one of snapshot files. Thread-compatible.
class StateWriter {
 public:
  template <class T>
    requires(std::integral<T> || std::is_enum_v<T>)
  void Put(T value) {
    uint64_t bits = static_cast<uint64_t>(value);
    for (size_t i = 0; i < sizeof(T); ++i, bits >>= 8) bytes_.push_back(static_cast<uint8_t>(bits));
  }
  void PutBytes(std::span<const uint8_t> bytes) {
    Put(static_cast<uint32_t>(bytes.size()));
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }
  void PutText(std::string_view text) {
    PutBytes({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  }
  // A structure of the kernel's interface, whose layout does not change.
  template <class T>
    requires std::is_trivially_copyable_v<T>
  void PutObject(const T& value) {
    PutBytes({reinterpret_cast<const uint8_t*>(&value), sizeof value});
  }
  // What `write` puts, as a part.
  void PutPart(std::string_view name, uint16_t version, const std::function<void(StateWriter&)>& write);

  std::vector<uint8_t> Take() && { return std::move(bytes_); }

 private:
  std::vector<uint8_t> bytes_;
};

}  // namespace berth::vmm
