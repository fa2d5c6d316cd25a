#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "common/status.h"
#include "common/unique_fd.h"
#include "common/uuid.h"
#include "compute-agent/instances/console_watch.h"

namespace berth::agent {

// Takes a console's output. Calls come one at a time, from the hub's thread or from Subscribe, and must not
// block or call the hub.
class ConsoleListener {
 public:
  virtual ~ConsoleListener() = default;
  virtual void OnOutput(std::string_view data) = 0;
  // The VMM has ended, or the instance is gone; the last call.
  virtual void OnEnd() = 0;
};

// Connects to the serial sockets of all instances, keeps the last 64 KiB of each, writes everything to the
// instance's console log (two files of at most 1 MiB), and passes output and input between guests and
// listeners. One thread. Thread-safe.
class ConsoleHub {
 public:
  static constexpr size_t kRingBytes = 64 << 10;
  static constexpr size_t kLogBytes = 1 << 20;
  static constexpr size_t kInputBytes = 64 << 10;

  ConsoleHub();
  ~ConsoleHub();  // ends all subscriptions
  ConsoleHub(const ConsoleHub&) = delete;
  ConsoleHub& operator=(const ConsoleHub&) = delete;

  // Keeps connected to `socket_path` until Detach; the socket may appear later. Repeating it changes nothing.
  // What the VMM replays at the first connection replaces what the hub knows of an earlier agent's time.
  void Attach(const Uuid& instance, const std::string& socket_path, const std::string& log_path);
  // Reads what is left, then ends the subscriptions; the past output stays until Forget.
  void Detach(const Uuid& instance);
  void Forget(const Uuid& instance);

  // First what is kept of the past output, then as it comes. The listener lives until Unsubscribe returns or
  // OnEnd. kNotFound: no such instance.
  Result<uint64_t> Subscribe(const Uuid& instance, std::shared_ptr<ConsoleListener> listener);
  void Unsubscribe(uint64_t subscription);
  // See ConsoleWatch.
  std::optional<uint64_t> TakeSwiotlbFull(const Uuid& instance);
  // Input for the guest. kResourceExhausted: the guest does not read; kFailedPrecondition: no VMM there.
  Status Write(const Uuid& instance, std::string_view data);

 private:
  struct Console {
    std::string socket_path;
    std::string log_path;
    UniqueFd fd;
    UniqueFd log;
    size_t log_size = 0;
    bool attached = false;
    bool fresh = true;  // nothing was read in this agent's time
    ConsoleWatch watch;
    std::string ring;
    std::string input;
    std::map<uint64_t, std::shared_ptr<ConsoleListener>> listeners;
  };

  void Run();
  void Wake() const;
  void Serve(Console& console, short events);
  void ReadFrom(Console& console);
  void WriteTo(Console& console);
  void Take(Console& console, std::string_view data);
  void AppendLog(Console& console, std::string_view data);
  static void TryConnect(Console& console);
  static void End(Console& console);

  std::mutex mutex_;  // guards everything below
  std::map<Uuid, Console> consoles_;
  std::map<uint64_t, Uuid> subscriptions_;
  uint64_t next_subscription_ = 1;
  bool stop_ = false;
  UniqueFd wake_;  // eventfd
  std::thread thread_;
};

}  // namespace berth::agent
