#pragma once

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "vmm/bus/unix_listener.h"
#include "vmm/vhost_user/channel.h"
#include "vmm/vhost_user/protocol.h"

namespace berth::vmm {

// A vhost-user back end that enforces the protocol's rules: what comes in the wrong order, without what must
// come before it, or with wrong numbers is noted in offences(). Rings that were started and enabled are
// really served: each available chain is handed to `serve`, which gets its buffers as memory. One connection
// at a time; after it has ended the next is taken, so that reconnecting can be tested.
class FakeVhostBackend {
 public:
  struct Buffer {
    uint8_t* at;
    uint32_t length;
    bool writable;
  };
  static constexpr int kNotYet = -2;
  struct Options {
    uint64_t features = (uint64_t{1} << 32) | (1 << 28) | (1 << 29) | vhost_user::kProtocolFeatures;
    uint64_t protocol_features = vhost_user::kMultiQueue | vhost_user::kReplyAck | vhost_user::kConfig |
                                 vhost_user::kBackendRequests | vhost_user::kInflight | vhost_user::kMtu |
                                 vhost_user::kMemorySlots;
    uint64_t queues = 8;
    uint64_t memory_slots = 32;
    std::vector<uint8_t> config = std::vector<uint8_t>(60, 0);
    // Bytes written for a chain of a queue; -1: keep it, as if under way for ever; kNotYet: leave it where it
    // is, and ask again soon.
    std::function<int(uint32_t queue, std::vector<Buffer>&)> serve = [](uint32_t, std::vector<Buffer>&) {
      return 0;
    };
  };

  FakeVhostBackend(const std::string& path, Options options)
      : options_(std::move(options)), listener_(*UnixListener::Open(path)) {
    thread_ = std::thread([this] { Run(); });
  }
  ~FakeVhostBackend() {
    stopping_ = true;
    thread_.join();
  }

  std::vector<std::string> offences() {
    std::lock_guard lock(mutex_);
    return offences_;
  }
  // Requests so far, by number.
  size_t Count(vhost_user::Request request) {
    std::lock_guard lock(mutex_);
    return counts_[static_cast<uint32_t>(request)];
  }
  uint64_t acked_features() {
    std::lock_guard lock(mutex_);
    return acked_;
  }
  bool enabled(uint32_t queue) {
    std::lock_guard lock(mutex_);
    return rings_.contains(queue) && rings_[queue].enabled;
  }
  uint16_t base(uint32_t queue) {
    std::lock_guard lock(mutex_);
    return rings_[queue].next;
  }
  // What it has mapped, by guest-physical address, with sizes.
  std::map<uint64_t, uint64_t> memory() {
    std::lock_guard lock(mutex_);
    std::map<uint64_t, uint64_t> pieces;
    for (const Mapping& mapping : mappings_) pieces[mapping.region.guest_address] = mapping.region.size;
    return pieces;
  }
  // The answer to the next messages that change its memory; 0: carried out.
  void RefuseMemory(uint64_t result) {
    std::lock_guard lock(mutex_);
    memory_result_ = result;
  }
  // The n-th piece of memory from now on is refused, once.
  void RefusePiece(uint32_t n) {
    std::lock_guard lock(mutex_);
    refused_piece_ = n;
  }
  uint64_t mtu() {
    std::lock_guard lock(mutex_);
    return mtu_;
  }
  // Hangs up, as a back end that has crashed does. The next connection is a fresh start.
  void Crash() {
    const int before = ended_;
    crash_ = true;
    while (ended_ == before) usleep(1000);
  }
  // Until it is connected again or for the first time.
  void Refuse(bool refuse) { refuse_ = refuse; }
  // Changes the configuration space and tells of it.
  void ChangeConfig(std::vector<uint8_t> config) {
    std::lock_guard lock(mutex_);
    options_.config = std::move(config);
    if (requests_.open()) {
      Expect(requests_.Send(static_cast<uint32_t>(vhost_user::BackendRequest::kConfigChanged), 0, {}).ok(),
             "telling of a new configuration");
    }
  }
  // Signals a queue's error descriptor.
  void RaiseError(uint32_t queue) {
    std::lock_guard lock(mutex_);
    const uint64_t one = 1;
    Expect(write(rings_[queue].error.get(), &one, sizeof one) == sizeof one, "raising an error");
  }

 private:
  using Request = vhost_user::Request;
  using Message = vhost_user::Message;

  struct Ring {
    uint32_t size = 0;
    uint16_t next = 0;  // index of the next available chain
    bool has_base = false;
    uint64_t descriptors = 0, available = 0, used = 0;  // user addresses
    UniqueFd kick, call, error;
    bool enabled = false;
    bool started = false;
  };
  struct Mapping {
    vhost_user::Region region;
    uint8_t* at;
  };

  void Expect(bool holds, const std::string& what) {
    if (!holds) offences_.push_back(what);
  }

  void Run() {
    while (!stopping_) {
      pollfd polled{listener_.fd(), POLLIN, 0};
      if (poll(&polled, 1, 5) <= 0 || refuse_) continue;
      UniqueFd fd = listener_.Accept();
      if (!fd.valid()) continue;
      Serve(std::move(fd));
    }
  }

  void Serve(UniqueFd fd) {
    vhost_user::Channel channel(std::move(fd), std::chrono::milliseconds(2000));
    crash_ = false;
    while (!stopping_ && !crash_) {
      pollfd polled{channel.fd(), POLLIN, 0};
      if (poll(&polled, 1, 2) > 0) {
        auto message = channel.Receive();
        if (!message.has_value()) break;
        std::lock_guard lock(mutex_);
        Handle(channel, *message);
      }
      std::lock_guard lock(mutex_);
      for (auto& [index, ring] : rings_) ServeRing(index, ring);
    }
    std::lock_guard lock(mutex_);
    Forget();
    ++ended_;
  }

  // All that a back end knows goes with its process.
  void Forget() {
    for (const Mapping& mapping : mappings_) munmap(mapping.at, mapping.region.offset + mapping.region.size);
    mappings_.clear();
    rings_.clear();
    owner_ = false;
    memory_result_ = 0;
    acked_ = 0;
    negotiated_ = 0;
    requests_.Close();
  }

  uint8_t* Translate(uint64_t user, uint64_t size) {
    for (const Mapping& mapping : mappings_) {
      const auto& region = mapping.region;
      if (user < region.user_address || user + size > region.user_address + region.size) continue;
      return mapping.at + region.offset + (user - region.user_address);
    }
    return nullptr;
  }
  uint8_t* TranslateGuest(uint64_t gpa, uint64_t size) {
    for (const Mapping& mapping : mappings_) {
      const auto& region = mapping.region;
      if (gpa < region.guest_address || gpa + size > region.guest_address + region.size) continue;
      return mapping.at + region.offset + (gpa - region.guest_address);
    }
    return nullptr;
  }

  template <class T>
  T As(const Message& message) {
    T value{};
    Expect(message.payload.size() >= sizeof value || sizeof(T) == sizeof(vhost_user::MemoryTable),
           "a short payload of request " + std::to_string(message.header.request));
    std::memcpy(static_cast<void*>(&value), message.payload.data(),
                std::min(sizeof value, message.payload.size()));
    return value;
  }
  void Reply(vhost_user::Channel& channel, const Message& message, std::span<const uint8_t> payload,
             std::span<const int> fds = {}) {
    Expect(channel.Send(message.header.request, vhost_user::Header::kReply, payload, fds).ok(), "replying");
  }

  void Handle(vhost_user::Channel& channel, Message& message) {
    const auto request = static_cast<Request>(message.header.request);
    ++counts_[message.header.request];
    bool replied = true;
    uint64_t memory_answer = memory_result_;
    if (request == Request::kAddMemoryRegion && refused_piece_ > 0 && --refused_piece_ == 0)
      memory_answer = 1;
    switch (request) {
      case Request::kGetFeatures:
        Reply(channel, message, vhost_user::BytesOf(options_.features));
        break;
      case Request::kGetProtocolFeatures:
        Reply(channel, message, vhost_user::BytesOf(options_.protocol_features));
        break;
      case Request::kGetQueueNumber:
        Expect(negotiated_ & vhost_user::kMultiQueue, "queue number without MQ");
        Reply(channel, message, vhost_user::BytesOf(options_.queues));
        break;
      case Request::kGetMaxMemorySlots:
        Expect(negotiated_ & vhost_user::kMemorySlots, "memory slots without the feature");
        Reply(channel, message, vhost_user::BytesOf(options_.memory_slots));
        break;
      case Request::kGetConfig: {
        Expect(negotiated_ & vhost_user::kConfig, "configuration without CONFIG");
        const auto header = As<vhost_user::ConfigHeader>(message);
        Expect(message.payload.size() == sizeof header + header.size, "size of a configuration request");
        std::vector<uint8_t> answer(message.payload);
        for (uint32_t i = 0; i < header.size && i + header.offset < options_.config.size(); ++i) {
          answer[sizeof header + i] = options_.config[header.offset + i];
        }
        Reply(channel, message, answer);
        break;
      }
      case Request::kGetVringBase: {
        const auto state = As<vhost_user::VringState>(message);
        Ring& ring = rings_[state.index];
        ring.started = false;
        Reply(channel, message, vhost_user::BytesOf(vhost_user::VringState{state.index, ring.next}));
        break;
      }
      case Request::kGetInflightFd: {
        Expect(negotiated_ & vhost_user::kInflight, "inflight without the feature");
        auto layout = vhost_user::Inflight{};
        std::memcpy(static_cast<void*>(&layout), message.payload.data(),
                    std::min(vhost_user::kInflightBytes, message.payload.size()));
        layout.size = 4096;
        UniqueFd area(memfd_create("inflight", MFD_CLOEXEC));
        Expect(ftruncate(area.get(), 4096) == 0, "ftruncate");
        const int fd = area.get();
        Reply(channel, message, vhost_user::BytesOf(layout).first(vhost_user::kInflightBytes), {&fd, 1});
        break;
      }
      default:
        replied = false;
        if (request == Request::kAddMemoryRegion) {
          if (memory_answer == 0) AddMemory(message);
        } else if (request == Request::kRemoveMemoryRegion) {
          if (memory_answer == 0) RemoveMemory(message);
        } else {
          Tell(request, message);
        }
    }
    if (!replied && (message.header.flags & vhost_user::Header::kNeedReply)) {
      Expect(negotiated_ & vhost_user::kReplyAck, "an acknowledgement without REPLY_ACK");
      const bool of_memory = request == Request::kAddMemoryRegion || request == Request::kRemoveMemoryRegion;
      Reply(channel, message, vhost_user::BytesOf(of_memory ? memory_answer : uint64_t{0}));
    }
  }

  void Tell(Request request, Message& message) {
    switch (request) {
      case Request::kSetOwner:
        Expect(!owner_, "a second owner");
        owner_ = true;
        break;
      case Request::kSetProtocolFeatures:
        negotiated_ = As<uint64_t>(message);
        Expect((negotiated_ & ~options_.protocol_features) == 0, "protocol features that were not offered");
        break;
      case Request::kSetFeatures:
        acked_ = As<uint64_t>(message);
        Expect((acked_ & ~options_.features) == 0, "features that were not offered");
        Expect(acked_ & vhost_user::kProtocolFeatures, "PROTOCOL_FEATURES not acknowledged");
        break;
      case Request::kSetMemoryTable:
        SetMemory(message);
        break;
      case Request::kSetInflightFd:
        Expect(message.descriptors.size() == 1, "inflight area without its descriptor");
        break;
      case Request::kNetSetMtu:
        Expect(negotiated_ & vhost_user::kMtu, "MTU without the feature");
        mtu_ = As<uint64_t>(message);
        break;
      case Request::kSetConfig:
        SetConfig(message);
        break;
      case Request::kSetBackendRequestFd:
        Expect(negotiated_ & vhost_user::kBackendRequests, "requests without the feature");
        Expect(message.descriptors.size() == 1, "request channel without its descriptor");
        if (!message.descriptors.empty()) {
          requests_ = vhost_user::Channel(std::move(message.descriptors[0]), std::chrono::milliseconds(1000));
        }
        break;
      default:
        TellRing(request, message);
    }
  }

  void SetConfig(const Message& message) {
    const auto header = As<vhost_user::ConfigHeader>(message);
    Expect(message.payload.size() == sizeof header + header.size, "size of a configuration write");
    Expect(header.offset + header.size <= options_.config.size(), "write behind the configuration");
    for (uint32_t i = 0; i < header.size && header.offset + i < options_.config.size(); ++i) {
      options_.config[header.offset + i] = message.payload[sizeof header + i];
    }
  }

  void SetMemory(Message& message) {
    const auto table = As<vhost_user::MemoryTable>(message);
    Expect(table.count >= 1 && table.count <= vhost_user::kRegionsMax, "number of memory regions");
    Expect(message.descriptors.size() == table.count, "a descriptor for each region");
    Expect(message.payload.size() == 8 + table.count * sizeof(vhost_user::Region), "size of a memory table");
    for (const Mapping& mapping : mappings_) munmap(mapping.at, mapping.region.offset + mapping.region.size);
    mappings_.clear();
    for (size_t i = 0; i < message.descriptors.size() && i < table.count; ++i) {
      Map(table.regions[i], message.descriptors[i].get());
    }
  }

  void Map(const vhost_user::Region& region, int fd) {
    struct stat info{};
    Expect(fstat(fd, &info) == 0 && region.offset + region.size <= static_cast<uint64_t>(info.st_size),
           "a region inside of its file");
    void* at = mmap(nullptr, region.offset + region.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    Expect(at != MAP_FAILED, "mapping guest memory");
    if (at != MAP_FAILED) mappings_.push_back({region, static_cast<uint8_t*>(at)});
  }

  void AddMemory(Message& message) {
    Expect(negotiated_ & vhost_user::kMemorySlots, "a piece of memory without the feature");
    const vhost_user::Region region = As<vhost_user::SingleRegion>(message).region;
    Expect(message.descriptors.size() == 1, "a piece of memory without its descriptor");
    Expect(mappings_.size() < options_.memory_slots, "more pieces of memory than slots");
    for (const Mapping& mapping : mappings_) {
      const vhost_user::Region& other = mapping.region;
      Expect(region.guest_address >= other.guest_address + other.size ||
                 other.guest_address >= region.guest_address + region.size,
             "pieces of memory that overlap");
    }
    if (!message.descriptors.empty()) Map(region, message.descriptors[0].get());
  }

  void RemoveMemory(const Message& message) {
    Expect(negotiated_ & vhost_user::kMemorySlots, "a piece of memory without the feature");
    for (const auto& [index, ring] : rings_) Expect(!ring.started, "memory taken from a device that works");
    const vhost_user::Region region = As<vhost_user::SingleRegion>(message).region;
    const auto known = std::find_if(mappings_.begin(), mappings_.end(), [&](const Mapping& mapping) {
      return std::memcmp(&mapping.region, &region, sizeof region) == 0;
    });
    Expect(known != mappings_.end(), "removing a piece of memory that is not there");
    if (known == mappings_.end()) return;
    munmap(known->at, region.offset + region.size);
    mappings_.erase(known);
  }

  void TellRing(Request request, Message& message) {
    Expect(owner_, "a ring before an owner");
    const auto index = static_cast<uint32_t>(As<uint64_t>(message) & 0xff);
    Ring& ring = rings_[index];
    switch (request) {
      case Request::kSetVringNumber:
        ring.size = As<vhost_user::VringState>(message).number;
        Expect(ring.size > 0 && (ring.size & (ring.size - 1)) == 0, "size of a ring");
        break;
      case Request::kSetVringBase:
        ring.next = static_cast<uint16_t>(As<vhost_user::VringState>(message).number);
        ring.has_base = true;
        break;
      case Request::kSetVringAddress: {
        Expect(ring.size > 0, "addresses before the size");
        const auto address = As<vhost_user::VringAddress>(message);
        ring.descriptors = address.descriptors;
        ring.available = address.available;
        ring.used = address.used;
        Expect(Translate(address.descriptors, 16ull * ring.size) &&
                   Translate(address.available, 6 + 2 * ring.size) &&
                   Translate(address.used, 6 + 8ull * ring.size),
               "rings inside of the memory table");
        break;
      }
      case Request::kSetVringKick:
        Expect(ring.has_base && ring.used != 0 && acked_ != 0, "a kick before the ring is complete");
        if (!message.descriptors.empty()) ring.kick = std::move(message.descriptors[0]);
        ring.started = true;
        break;
      case Request::kSetVringCall:
        if (!message.descriptors.empty()) ring.call = std::move(message.descriptors[0]);
        break;
      case Request::kSetVringError:
        if (!message.descriptors.empty()) ring.error = std::move(message.descriptors[0]);
        break;
      case Request::kSetVringEnable:
        ring.enabled = As<vhost_user::VringState>(message).number != 0;
        break;
      default:
        offences_.push_back("unknown request " + std::to_string(message.header.request));
    }
  }

  void ServeRing(uint32_t index, Ring& ring) {
    if (!ring.started || !ring.enabled) return;
    uint8_t* descriptors = Translate(ring.descriptors, 16ull * ring.size);
    uint8_t* available = Translate(ring.available, 6 + 2ull * ring.size);
    uint8_t* used = Translate(ring.used, 6 + 8ull * ring.size);
    if (descriptors == nullptr || available == nullptr || used == nullptr) return;
    auto word = [](uint8_t* at) { return std::atomic_ref<uint16_t>(*reinterpret_cast<uint16_t*>(at)); };
    while (ring.next != word(available + 2).load()) {
      uint16_t head = word(available + 4 + 2 * (ring.next % ring.size)).load();
      std::vector<Buffer> buffers;
      for (uint16_t at = head;;) {
        uint64_t address;
        uint32_t length;
        uint16_t flags, next;
        std::memcpy(&address, descriptors + 16 * at, 8);
        std::memcpy(&length, descriptors + 16 * at + 8, 4);
        std::memcpy(&flags, descriptors + 16 * at + 12, 2);
        std::memcpy(&next, descriptors + 16 * at + 14, 2);
        buffers.push_back({TranslateGuest(address, length), length, (flags & 2) != 0});
        if (!(flags & 1)) break;
        at = next;
      }
      const int written = options_.serve(index, buffers);
      if (written == kNotYet) break;
      ++ring.next;
      if (written < 0) continue;
      const uint16_t slot = word(used + 2).load();
      const uint32_t element[2] = {head, static_cast<uint32_t>(written)};
      std::memcpy(used + 4 + 8 * (slot % ring.size), element, sizeof element);
      word(used + 2).store(static_cast<uint16_t>(slot + 1));
      const uint64_t one = 1;
      if (ring.call.valid()) Expect(write(ring.call.get(), &one, sizeof one) == sizeof one, "call");
    }
  }

  std::mutex mutex_;  // guards what follows, but the listener and the flags
  Options options_;
  std::vector<std::string> offences_;
  std::map<uint32_t, size_t> counts_;
  std::map<uint32_t, Ring> rings_;
  std::vector<Mapping> mappings_;
  vhost_user::Channel requests_;
  bool owner_ = false;
  uint64_t acked_ = 0;
  uint64_t negotiated_ = 0;
  uint64_t mtu_ = 0;
  uint64_t memory_result_ = 0;
  uint32_t refused_piece_ = 0;

  UnixListener listener_;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> crash_{false};
  std::atomic<int> ended_{0};  // connections
  std::atomic<bool> refuse_{false};
  std::thread thread_;
};

}  // namespace berth::vmm
