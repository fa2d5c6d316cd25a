#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "common/status.h"
#include "common/work_queue.h"
#include "compute-agent/images/disk_source.h"

namespace berth::agent {

// Images by their SHA-256 in a folder of the agent, and copies of them as disks of instances. Copies are made
// by one thread of its own, one at a time; whoever wants one asks until it is there. What ends half-way
// leaves no file under its final name, and is begun again. Thread-safe.
class ImageStore {
 public:
  // `folder` is made when it is needed.
  explicit ImageStore(std::string folder) : folder_(std::move(folder)) {}
  // Calls off all copies.
  ~ImageStore();

  // Whether `disk` is a finished copy of the image; false: it is being made. `source` is of kind kImage. The
  // first copy reads source.from, checks its sum and that it is a raw image (CheckRawImage), and keeps it as
  // FOLDER/SHA256; each further one reads that, and checks the sum again. Errors: those of the files;
  // kDataLoss: another sum (what was kept and has changed is thrown away); kInvalidArgument: not a raw image,
  // or larger than the size asked for. An error is told once; then it is tried again.
  Result<bool> Copy(const DiskSource& source, const std::string& disk);

  // Calls off the copies that go into `folder`, and forgets what became of them. False: one is still under
  // way, ask again; nothing comes into the folder any more once it was true.
  bool Forget(const std::string& folder);

 private:
  struct Job {
    DiskSource source;
    std::shared_ptr<std::atomic<bool>> called_off = std::make_shared<std::atomic<bool>>(false);
    std::optional<Status> result;  // empty: under way
  };
  using Wanted = std::function<bool()>;  // whether anybody still wants the copy

  Status Make(const DiskSource& source, const std::string& disk, const Wanted& wanted);

  std::string folder_;
  std::atomic<bool> ending_{false};
  std::mutex mutex_;                 // guards jobs_
  std::map<std::string, Job> jobs_;  // by disk
  WorkQueue queue_{256};             // last: its thread uses the others
};

// The SHA-256 of a file, 64 lower-case hexadecimal digits.
Result<std::string> Sha256OfFile(const std::string& path);

}  // namespace berth::agent
