#pragma once

#include <cstddef>
#include <cstdint>

// Numbers and structures of the vhost-user protocol (QEMU's docs/interop/vhost-user.rst), of which this is
// the front end's side. Integers are in the host's byte order.
namespace berth::vmm::vhost_user {

enum class Request : uint32_t {
  kGetFeatures = 1,
  kSetFeatures = 2,
  kSetOwner = 3,
  kSetMemoryTable = 5,
  kSetVringNumber = 8,
  kSetVringAddress = 9,
  kSetVringBase = 10,
  kGetVringBase = 11,
  kSetVringKick = 12,
  kSetVringCall = 13,
  kSetVringError = 14,
  kGetProtocolFeatures = 15,
  kSetProtocolFeatures = 16,
  kGetQueueNumber = 17,
  kSetVringEnable = 18,
  kNetSetMtu = 20,
  kSetBackendRequestFd = 21,
  kGetConfig = 24,
  kSetConfig = 25,
  kGetInflightFd = 31,
  kSetInflightFd = 32,
  kGetMaxMemorySlots = 36,
  kAddMemoryRegion = 37,
  kRemoveMemoryRegion = 38,
};
// What the back end may ask of us, over a socket of its own.
enum class BackendRequest : uint32_t { kConfigChanged = 2 };

// Bits of the features besides those of the device's type.
inline constexpr uint64_t kProtocolFeatures = uint64_t{1} << 30;  // VHOST_USER_F_PROTOCOL_FEATURES

// Protocol features.
inline constexpr uint64_t kMultiQueue = 1 << 0;
inline constexpr uint64_t kReplyAck = 1 << 3;
inline constexpr uint64_t kMtu = 1 << 4;
inline constexpr uint64_t kBackendRequests = 1 << 5;
inline constexpr uint64_t kConfig = 1 << 9;
inline constexpr uint64_t kInflight = 1 << 12;
inline constexpr uint64_t kMemorySlots = 1 << 15;  // CONFIGURE_MEM_SLOTS

struct Header {
  static constexpr uint32_t kVersion = 1;
  static constexpr uint32_t kVersionMask = 3;
  static constexpr uint32_t kReply = 1 << 2;
  static constexpr uint32_t kNeedReply = 1 << 3;
  uint32_t request = 0;
  uint32_t flags = kVersion;
  uint32_t size = 0;  // of what follows
};
static_assert(sizeof(Header) == 12);

inline constexpr size_t kPayloadMax = 4096;
inline constexpr size_t kDescriptorsMax = 8;
inline constexpr size_t kRegionsMax = 8;  // of one memory table

struct VringState {
  uint32_t index = 0;
  uint32_t number = 0;
};
struct VringAddress {
  uint32_t index = 0;
  uint32_t flags = 0;
  // In the front end's address space, as the memory table has it.
  uint64_t descriptors = 0;
  uint64_t used = 0;
  uint64_t available = 0;
  uint64_t log = 0;
};
static_assert(sizeof(VringAddress) == 40);
struct Region {
  uint64_t guest_address = 0;
  uint64_t size = 0;
  uint64_t user_address = 0;
  uint64_t offset = 0;  // in the descriptor that goes with it
};
struct MemoryTable {
  uint32_t count = 0;
  uint32_t padding = 0;
  Region regions[kRegionsMax];
};
static_assert(sizeof(MemoryTable) == 8 + 32 * kRegionsMax);
struct SingleRegion {
  uint64_t padding = 0;
  Region region;
};
static_assert(sizeof(SingleRegion) == 40);
struct ConfigHeader {
  uint32_t offset = 0;
  uint32_t size = 0;
  uint32_t flags = 0;
};
struct Inflight {
  uint64_t size = 0;
  uint64_t offset = 0;
  uint16_t queues = 0;
  uint16_t queue_size = 0;
};
// As the protocol has it: without the structure's padding at its end.
inline constexpr size_t kInflightBytes = 20;

// Vring numbers of messages that carry a descriptor: the low byte, and a bit when none goes with it.
inline constexpr uint64_t kNoDescriptor = 1 << 8;

}  // namespace berth::vmm::vhost_user
