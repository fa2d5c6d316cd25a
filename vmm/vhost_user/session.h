#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/cpu_set.h"
#include "common/status.h"
#include "common/unique_fd.h"
#include "vmm/convert/converter.h"
#include "vmm/vhost_user/frontend.h"
#include "vmm/vhost_user/shown_memory.h"
#include "vmm/virtio/device.h"
#include "vmm/virtio/worker_loop.h"

namespace berth::vmm::vhost_user {

// A guest that shares only some of its memory, and at any time more or less of it. Both outlive the session.
struct SharingGuest {
  Converter* converter = nullptr;
  const GuestMemory* memory = nullptr;
};

struct SessionSettings {
  std::string socket;
  std::string id;                  // of the device: names the thread, and for the log
  uint64_t protocol_features = 0;  // that are wanted where the back end has them
  uint16_t queues = 1;             // of data, that the back end must serve
  uint16_t queue_size = 256;
  uint32_t config_bytes = 0;  // that the back end must have a configuration space of
  std::optional<uint16_t> mtu = std::nullopt;
  // Requests end in the order in which they came, so that a new back end can go on where the used ring ends.
  // Otherwise it must keep track of those under way, or the device is lost with it.
  bool in_order = false;
  bool counts_pairs = false;  // the number of queues that a back end tells is one of pairs
  CpuSet cpus = {};           // of the thread, as a hint
  std::optional<SharingGuest> guest = std::nullopt;  // none: all memory may be reached at all times
  std::chrono::milliseconds patience{5000};
  std::chrono::milliseconds retry{500};
};

// A back end that serves one device, on a thread of its own that passes interrupts on. When the back end goes
// away, the guest's requests wait, and a new one on the same socket goes on with them; one that offers less
// than the guest was told of, or cannot know what was under way, makes the device fail instead. Start and
// Stop come from one thread at a time; the others are thread-safe.
//
// Of a guest that shares only some of its memory the back end is told of that piece by piece
// (CONFIGURE_MEM_SLOTS, which it must have). While a piece goes, its rings are stopped: then it works on no
// request ("suspended", vhost-user.rst), and goes on behind the last one. Pages of the rings of a device that
// works cannot be taken back, nor can more pieces be shared than the back end has slots for.
class Session final : private SharedMemoryListener {
 public:
  // Fails when nobody listens on the socket, or the back end lacks what the settings want.
  static Result<std::unique_ptr<Session>> Open(const SessionSettings& settings);
  ~Session() override;
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  uint64_t features() const { return features_; }  // of the first back end
  EventLoop& loop() { return *loop_; }

  std::vector<uint8_t> config();
  Status WriteConfig(uint64_t offset, std::span<const uint8_t> data);
  // Called on the session's thread when the configuration space has changed. To be set before Start.
  void OnConfigChanged(std::function<void()> changed) {
    std::lock_guard lock(mutex_);
    config_changed_ = std::move(changed);
  }

  // Hands the first `queues` queues of `activation`, which outlives Stop, to the back end, with the features
  // that it has. Queues `enabled` and above wait for Enable. Stop is to be called after an error, too.
  Status Start(const VirtioActivation& activation, uint16_t queues, uint16_t enabled);
  void Enable(uint16_t queue, bool enabled);
  // When it returns, the back end touches no queue any more and no interrupt is raised.
  void Stop();

 private:
  struct Ring {
    const VirtioActivation::Queue* queue = nullptr;
    UniqueFd call;
    UniqueFd error;
    bool enabled = false;
    uint16_t next = 0;  // while it is stopped: the index of the first available chain that is new
  };
  struct Active {
    const VirtioActivation* activation = nullptr;
    std::vector<Ring> rings;  // without `queue`: the driver does not use it
    std::optional<InflightArea> inflight;
    bool stopping = false;
    bool failed = false;
  };

  explicit Session(SessionSettings settings) : settings_(std::move(settings)) {}
  // With mutex_ held:
  Status Connect();
  Status Check(const Frontend& frontend) const;
  Status WatchBackend();
  Status HandOver(bool resume);
  Status StartRing(uint16_t index, uint16_t next);
  Status EnableRings();
  void Disconnect();
  void Fail(const Status& reason);

  // ---- Memory of a guest that shares only some of it (session_memory.cc)
  // Without mutex_.
  Status OnShared(std::span<const StateRun> runs) override;
  Status OnPrivate(std::span<const StateRun> runs) override;
  // With mutex_ held:
  Status TellOfMemory();
  Status CheckRings(std::span<const StateRun> runs) const;
  Status Show(ShownMemory next);
  Status AddAll(const ShownMemory& next, const std::vector<ShownMemory::Piece>& added);
  Status Exchange(const ShownMemory& next, const ShownMemory::Changes& changes);
  Status StopRings();
  Status GoOn();

  void OnCall(size_t index);
  void OnGone();
  void OnRequest();
  void OnTimer();
  void ArmTimer();

  const SessionSettings settings_;
  uint64_t features_ = 0;
  std::mutex mutex_;  // guards what follows
  std::function<void()> config_changed_;
  std::optional<Frontend> frontend_;
  Channel requests_;
  std::vector<uint8_t> config_;
  std::optional<ShownMemory> shown_;  // what the back end, if there is one, knows; none: all memory
  std::optional<Active> active_;
  UniqueFd timer_;
  EventLoop* loop_ = nullptr;           // worker_'s: callbacks still run while that is being destroyed
  std::unique_ptr<WorkerLoop> worker_;  // last: its thread stops first
};

}  // namespace berth::vmm::vhost_user
