#pragma once

#include <cstdint>
#include <span>
#include <string_view>

// Which system calls which threads make: the one table from which the filters are built, and against which
// the tests hold what the program really does (tests/lab/seccomp_test.sh: that each entry is needed).
namespace berth::vmm {

enum class ThreadKind : uint8_t {
  kControl,   // the main thread and that of the API: both build machines, and start all others
  kVcpu,      // runs the guest, and programs devices for it
  kDevices,   // the device loop
  kDisk,      // serves one queue of a disk
  kPager,     // brings guest memory from a snapshot
  kPrefault,  // fills memory
};
inline constexpr size_t kThreadKinds = 6;
// "control", "vcpu", ...
std::string_view ThreadKindName(ThreadKind kind);

// A set of thread kinds.
class ThreadKinds {
 public:
  constexpr ThreadKinds(ThreadKind kind)  // NOLINT(google-explicit-constructor): a set of one
      : bits_(static_cast<uint8_t>(1u << static_cast<unsigned>(kind))) {}
  constexpr bool Contains(ThreadKind kind) const { return (bits_ >> static_cast<unsigned>(kind) & 1) != 0; }
  friend constexpr ThreadKinds operator|(ThreadKinds a, ThreadKinds b) {
    a.bits_ = static_cast<uint8_t>(a.bits_ | b.bits_);
    return a;
  }

 private:
  uint8_t bits_;
};

// What an argument must be for the call to be allowed.
struct ArgumentRule {
  enum class Form : uint8_t {
    kAny,    // whatever it is
    kOneOf,  // its lower 32 bits are one of `values`
    kClear,  // none of the bits of values[0] is set in its lower 32 bits
  };
  Form form = Form::kAny;
  uint8_t index = 0;  // 0 to 5
  std::span<const uint32_t> values = {};
};

struct AllowedCall {
  uint32_t number;  // SYS_*
  std::string_view name;
  ThreadKinds kinds;
  ArgumentRule rule = {};
  // Why a test run does not see the call, although it is needed; empty for the others.
  std::string_view unseen = {};
};

// Threads start with the filter of the one that starts them: what a kind may do, kControl may do as well.
std::span<const AllowedCall> CallTable();
inline bool MayCall(const AllowedCall& call, ThreadKind kind) {
  return kind == ThreadKind::kControl || call.kinds.Contains(kind);
}

}  // namespace berth::vmm
