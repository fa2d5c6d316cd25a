#include "vmm/vhost_user/frontend.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "vmm/bus/unix_listener.h"

namespace berth::vmm::vhost_user {
namespace {

constexpr uint32_t kConfigBytesMax = 256;
constexpr uint64_t kRingsMax = 256;

Result<uint64_t> UserAddress(const GuestMemory& memory, Gpa gpa, uint64_t size) {
  TRY_ASSIGN(const auto span, memory.Span(gpa, size));
  return reinterpret_cast<uintptr_t>(span.data());
}

Region RegionOf(const MemoryRegion& memory) {
  return {Raw(memory.base), memory.size, reinterpret_cast<uintptr_t>(memory.host), memory.fd_offset};
}

Status CheckShared(const MemoryRegion& memory) {
  if (memory.fd >= 0 && memory.shared) return OkStatus();
  return InvalidArgument("memory zone " + memory.zone + " is not shared with other processes",
                         "memory.shared", "give shared=on");
}

std::string Name(Request request) {
  return "vhost-user request " + std::to_string(static_cast<uint32_t>(request));
}

}  // namespace

Result<Frontend> Frontend::Connect(const std::string& socket, uint64_t wanted,
                                   std::chrono::milliseconds patience) {
  // A back end that listens and takes nobody in must not hold anybody up.
  Result<UniqueFd> fd = ConnectUnix(socket, /*now=*/true);
  if (!fd.has_value()) return std::move(fd).error();
  Result<Frontend> frontend = Create(*std::move(fd), wanted, patience);
  if (!frontend.has_value()) return std::move(frontend).error().WithContext(socket);
  return frontend;
}

Result<Frontend> Frontend::Create(UniqueFd socket, uint64_t wanted, std::chrono::milliseconds patience) {
  Frontend frontend;
  frontend.channel_ = Channel(std::move(socket), patience);
  frontend.patience_ = patience;
  TRY(frontend.Negotiate(wanted));
  return frontend;
}

Status Frontend::Negotiate(uint64_t wanted) {
  TRY_ASSIGN(features_, AskNumber(Request::kGetFeatures));
  if (features_ & kProtocolFeatures) {
    TRY_ASSIGN(const uint64_t offered, AskNumber(Request::kGetProtocolFeatures));
    protocol_features_ = offered & wanted;
    // Not acknowledged itself: the answers begin behind it.
    const uint64_t chosen = std::exchange(protocol_features_, 0);
    TRY(Tell(Request::kSetProtocolFeatures, BytesOf(chosen)));
    protocol_features_ = chosen;
    if (has(kMultiQueue)) {
      TRY_ASSIGN(const uint64_t queues, AskNumber(Request::kGetQueueNumber));
      if (queues == 0) return DataLoss("the back end has no queues");
      queues_max_ = static_cast<uint16_t>(std::min(queues, kRingsMax));
    }
    if (has(kMemorySlots)) {
      TRY_ASSIGN(memory_slots_, AskNumber(Request::kGetMaxMemorySlots));
    }
  }
  return Tell(Request::kSetOwner, {});
}

Status Frontend::Tell(Request request, std::span<const uint8_t> payload, std::span<const int> descriptors) {
  const bool ack = has(kReplyAck);
  Status sent =
      channel_.Send(static_cast<uint32_t>(request), ack ? Header::kNeedReply : 0, payload, descriptors);
  if (!sent.ok()) return std::move(sent).WithContext(Name(request));
  if (!ack) return OkStatus();
  TRY_ASSIGN(const Message reply, channel_.ReceiveReply(request));
  TRY_ASSIGN(const auto result, PayloadAs<uint64_t>(reply));
  if (result == 0) return OkStatus();
  return Internal("the back end refuses " + Name(request) + " (" + std::to_string(result) + ")");
}

Result<Message> Frontend::Ask(Request request, std::span<const uint8_t> payload) {
  Status sent = channel_.Send(static_cast<uint32_t>(request), 0, payload);
  if (!sent.ok()) return std::move(sent).WithContext(Name(request));
  Result<Message> reply = channel_.ReceiveReply(request);
  if (!reply.has_value()) return std::move(reply).error().WithContext(Name(request));
  return reply;
}

Result<uint64_t> Frontend::AskNumber(Request request) {
  TRY_ASSIGN(const Message reply, Ask(request));
  return PayloadAs<uint64_t>(reply);
}

Status Frontend::SetFeatures(uint64_t features) {
  return Tell(Request::kSetFeatures, BytesOf(features | (features_ & kProtocolFeatures)));
}

Status Frontend::SetMemory(const GuestMemory& memory) {
  MemoryTable table;
  std::vector<int> descriptors;
  for (const auto* regions : {&memory.regions(), &memory.hotplug_areas()}) {
    for (const MemoryRegion& region : *regions) {
      TRY(CheckShared(region));
      if (table.count == kRegionsMax) {
        return InvalidArgument("guest memory lies in more than " + std::to_string(kRegionsMax) +
                                   " pieces, more than vhost-user can tell of",
                               "memory-zone", "use fewer zones");
      }
      table.regions[table.count++] = RegionOf(region);
      descriptors.push_back(region.fd);
    }
  }
  return Tell(Request::kSetMemoryTable, BytesOf(table).first(8 + table.count * sizeof(Region)), descriptors);
}

Status Frontend::AddMemory(const MemoryRegion& piece) {
  TRY(CheckShared(piece));
  return Tell(Request::kAddMemoryRegion, BytesOf(SingleRegion{0, RegionOf(piece)}), {&piece.fd, 1});
}

Status Frontend::RemoveMemory(const MemoryRegion& piece) {
  return Tell(Request::kRemoveMemoryRegion, BytesOf(SingleRegion{0, RegionOf(piece)}));
}

Status Frontend::SetDescriptor(Request request, uint16_t index, int fd) {
  const uint64_t number = index | (fd < 0 ? kNoDescriptor : 0);
  return Tell(request, BytesOf(number), fd < 0 ? std::span<const int>() : std::span<const int>(&fd, 1));
}

Status Frontend::StartRing(const GuestMemory& memory, uint16_t index, const Ring& ring) {
  const uint64_t size = ring.config.size;
  VringAddress address;
  address.index = index;
  TRY_ASSIGN(address.descriptors, UserAddress(memory, ring.config.descriptors, 16 * size));
  TRY_ASSIGN(address.available, UserAddress(memory, ring.config.driver, 6 + 2 * size));
  TRY_ASSIGN(address.used, UserAddress(memory, ring.config.device, 6 + 8 * size));
  TRY(Tell(Request::kSetVringNumber, BytesOf(VringState{index, ring.config.size})));
  TRY(Tell(Request::kSetVringBase, BytesOf(VringState{index, ring.base})));
  TRY(Tell(Request::kSetVringAddress, BytesOf(address)));
  TRY(SetDescriptor(Request::kSetVringCall, index, ring.call_fd));
  TRY(SetDescriptor(Request::kSetVringError, index, ring.error_fd));
  return SetDescriptor(Request::kSetVringKick, index, ring.kick_fd);
}

Status Frontend::EnableRing(uint16_t index, bool enabled) {
  // Without protocol features a ring works as soon as it has been started.
  if (!(features_ & kProtocolFeatures)) return OkStatus();
  return Tell(Request::kSetVringEnable, BytesOf(VringState{index, enabled ? 1u : 0u}));
}

Result<uint16_t> Frontend::StopRing(uint16_t index) {
  TRY_ASSIGN(const Message reply, Ask(Request::kGetVringBase, BytesOf(VringState{index, 0})));
  TRY_ASSIGN(const auto state, PayloadAs<VringState>(reply));
  return static_cast<uint16_t>(state.number);
}

Result<std::vector<uint8_t>> Frontend::ReadConfig(uint32_t size) {
  CHECK(size <= kConfigBytesMax);
  std::vector<uint8_t> request(sizeof(ConfigHeader) + size);
  const ConfigHeader header{0, size, 0};
  std::memcpy(request.data(), &header, sizeof header);
  TRY_ASSIGN(const Message reply, Ask(Request::kGetConfig, request));
  if (reply.payload.size() != request.size()) {
    return DataLoss("the back end's configuration has " + std::to_string(reply.payload.size()) +
                    " bytes with its header, must have " + std::to_string(request.size()));
  }
  return std::vector<uint8_t>(reply.payload.begin() + sizeof header, reply.payload.end());
}

Status Frontend::WriteConfig(uint32_t offset, std::span<const uint8_t> data) {
  if (data.size() > kConfigBytesMax) return InvalidArgument("configuration write is too large");
  std::vector<uint8_t> request(sizeof(ConfigHeader) + data.size());
  const ConfigHeader header{offset, static_cast<uint32_t>(data.size()), 0};
  std::memcpy(request.data(), &header, sizeof header);
  std::copy(data.begin(), data.end(), request.begin() + sizeof header);
  return Tell(Request::kSetConfig, request);
}

Status Frontend::SetMtu(uint16_t mtu) {
  return Tell(Request::kNetSetMtu, BytesOf(uint64_t{mtu}));
}

Result<InflightArea> Frontend::MakeInflight(uint16_t queues, uint16_t queue_size) {
  Inflight wanted;
  wanted.queues = queues;
  wanted.queue_size = queue_size;
  TRY_ASSIGN(Message reply, Ask(Request::kGetInflightFd, BytesOf(wanted).first(kInflightBytes)));
  InflightArea area;
  TRY_ASSIGN(area.layout, PayloadAs<Inflight>(reply, kInflightBytes));
  if (reply.descriptors.empty()) return DataLoss("the back end's inflight area has no descriptor");
  area.fd = std::move(reply.descriptors[0]);
  // The numbers of the request; some back ends leave them out of the answer.
  area.layout.queues = queues;
  area.layout.queue_size = queue_size;
  return area;
}

Status Frontend::SetInflight(const InflightArea& area) {
  const int fd = area.fd.get();
  return Tell(Request::kSetInflightFd, BytesOf(area.layout).first(kInflightBytes), {&fd, 1});
}

Result<Channel> Frontend::OpenRequests() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return ErrnoStatus("socketpair", errno);
  UniqueFd ours(ends[0]), theirs(ends[1]);
  const int fd = theirs.get();
  TRY(Tell(Request::kSetBackendRequestFd, {}, {&fd, 1}));
  return Channel(std::move(ours), patience_);
}

}  // namespace berth::vmm::vhost_user
