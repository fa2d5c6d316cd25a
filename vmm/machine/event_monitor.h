#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/status.h"
#include "common/unique_fd.h"

namespace berth::vmm {

// What happens to the machine, as one JSON object a line:
//   {"timestamp": {"secs": S, "nanos": N}, "source": "vm", "event": "booted", "properties": {...} or null}
// The timestamp counts from the start of the monitor. A reader that does not keep up loses events: a full
// pipe must not stop the guest; how many were lost stands in the next line as "lost". Thread-safe.
class EventMonitor {
 public:
  using Properties = std::vector<std::pair<std::string, std::string>>;

  // A file, to which is appended, or a FIFO with a reader.
  static Result<std::unique_ptr<EventMonitor>> Open(const std::string& path);
  // A descriptor that this process has inherited.
  static Result<std::unique_ptr<EventMonitor>> Inherit(int fd);

  void Write(std::string_view source, std::string_view event, const Properties& properties = {});

 private:
  explicit EventMonitor(UniqueFd fd);

  std::mutex mutex_;  // guards what follows
  UniqueFd fd_;
  uint64_t start_ns_ = 0;
  uint64_t lost_ = 0;
  std::string rest_;  // of a line of which a part was written
};

}  // namespace berth::vmm
