#pragma once

#include <concepts>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "common/status.h"

namespace berth::vmm {

// Reads what StateWriter has written, from bytes that are not to be trusted. The first error stays: from then
// on everything reads as zero or empty, so that a loader reads all its fields and asks for the status once,
// before it believes any of them. Thread-compatible; the bytes must outlive it.
class StateReader {
 public:
  explicit StateReader(std::span<const uint8_t> bytes) : left_(bytes) {}

  template <class T>
    requires std::integral<T>
  T Get() {
    const std::span<const uint8_t> bytes = Raw(sizeof(T));
    uint64_t bits = 0;
    for (size_t i = 0; i < bytes.size(); ++i) bits |= uint64_t{bytes[i]} << 8 * i;
    if constexpr (std::is_same_v<T, bool>) {
      if (bits > 1) Fail(InvalidArgument("a truth value of " + std::to_string(bits)));
      return bits == 1;
    } else {
      return static_cast<T>(bits);
    }
  }
  template <class T>
    requires std::integral<T>
  void Get(T& value) {
    value = Get<T>();
  }
  // A number of elements, each of which takes at least `element` bytes; more than `max`, or than there can
  // be, is an error.
  uint32_t GetCount(uint32_t max, size_t element);
  std::span<const uint8_t> GetBytes(size_t max);
  std::string GetText(size_t max);
  // A structure, or a byte string, of exactly that size.
  template <class T>
    requires std::is_trivially_copyable_v<T>
  void GetObject(T& value) {
    GetExactly({reinterpret_cast<uint8_t*>(&value), sizeof value});
  }
  void GetExactly(std::span<uint8_t> out);
  // The part that comes next, which must have this name and a known version: 1 to `newest`. Its errors are
  // its own: see Leave.
  StateReader GetPart(std::string_view name, uint16_t newest);
  uint16_t version() const { return version_; }
  // To be called when a part has been read: it must have been read whole. Takes over its error.
  void Leave(const StateReader& part);

  // Makes the state invalid for a reason of the loader's.
  void Fail(Status reason);
  const Status& status() const { return status_; }
  bool ok() const { return status_.ok(); }
  bool AtEnd() const { return left_.empty(); }
  // The error, if there was one or something is left.
  Status Finish() const;

 private:
  std::span<const uint8_t> Raw(size_t size);

  std::span<const uint8_t> left_;
  Status status_;
  std::string name_;  // of the part
  uint16_t version_ = 0;
};

}  // namespace berth::vmm
