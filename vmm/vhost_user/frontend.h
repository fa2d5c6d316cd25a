#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "common/status.h"
#include "common/unique_fd.h"
#include "vmm/memory/guest_memory.h"
#include "vmm/vhost_user/channel.h"
#include "vmm/vhost_user/protocol.h"
#include "vmm/virtio/queue.h"

namespace berth::vmm::vhost_user {

// Where a back end notes which requests are under way, so that a new one can go on with them.
struct InflightArea {
  UniqueFd fd;
  Inflight layout;
};

// Everything that is said to a back end, in the order that the protocol wants: features first (Connect), then
// owner, memory and rings. With the reply-ack feature each message is known to have been carried out. Errors
// name the request. Thread-compatible.
class Frontend {
 public:
  // Connects to `socket` and agrees on protocol features, `wanted` as far as the back end has them.
  // kUnavailable: nobody listens there.
  static Result<Frontend> Connect(const std::string& socket, uint64_t wanted,
                                  std::chrono::milliseconds patience);
  // The same on a connected socket.
  static Result<Frontend> Create(UniqueFd socket, uint64_t wanted, std::chrono::milliseconds patience);

  uint64_t features() const { return features_; }  // of the device
  bool has(uint64_t protocol_feature) const { return (protocol_features_ & protocol_feature) != 0; }
  uint16_t queues_max() const { return queues_max_; }
  int fd() const { return channel_.fd(); }
  // Of kMemorySlots: how many pieces of memory it can be told of one by one. 0 without the feature.
  uint64_t memory_slots() const { return memory_slots_; }
  // Ends the conversation, as if the back end had: whoever watches fd() hears of it.
  void HangUp() { channel_.HangUp(); }

  Status SetFeatures(uint64_t features);
  // kInvalidArgument: some of it is not shared, or lies in more pieces than the protocol can tell of.
  Status SetMemory(const GuestMemory& memory);
  // Need kMemorySlots, and take the place of SetMemory: memory piece by piece. What is removed was added so,
  // and no ring is working. kInvalidArgument: not shared; kInternal: the back end refuses it.
  Status AddMemory(const MemoryRegion& piece);
  Status RemoveMemory(const MemoryRegion& piece);
  struct Ring {
    QueueConfig config;
    uint16_t base = 0;  // index of the first available chain that is new
    int kick_fd = -1;
    int call_fd = -1;
    int error_fd = -1;
  };
  Status StartRing(const GuestMemory& memory, uint16_t index, const Ring& ring);
  Status EnableRing(uint16_t index, bool enabled);
  // When it returns, the back end does not touch the ring any more.
  Result<uint16_t> StopRing(uint16_t index);

  // Needs kConfig. The first `size` bytes of the device's configuration space.
  Result<std::vector<uint8_t>> ReadConfig(uint32_t size);
  Status WriteConfig(uint32_t offset, std::span<const uint8_t> data);
  // Needs kMtu.
  Status SetMtu(uint16_t mtu);
  // Needs kInflight.
  Result<InflightArea> MakeInflight(uint16_t queues, uint16_t queue_size);
  Status SetInflight(const InflightArea& area);
  // Needs kBackendRequests: a channel by which the back end tells of changes.
  Result<Channel> OpenRequests();

 private:
  Frontend() = default;
  Status Negotiate(uint64_t wanted);
  Status Tell(Request request, std::span<const uint8_t> payload, std::span<const int> descriptors = {});
  Result<Message> Ask(Request request, std::span<const uint8_t> payload = {});
  Result<uint64_t> AskNumber(Request request);
  Status SetDescriptor(Request request, uint16_t index, int fd);

  Channel channel_;
  std::chrono::milliseconds patience_{0};
  uint64_t features_ = 0;
  uint64_t protocol_features_ = 0;
  uint16_t queues_max_ = 1;
  uint64_t memory_slots_ = 0;
};

}  // namespace berth::vmm::vhost_user
