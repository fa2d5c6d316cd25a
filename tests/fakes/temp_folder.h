#pragma once

#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "common/status.h"

namespace berth::fakes {

// A new folder that is removed with all its content at the end of its life, in TMPDIR or, without it, in
// memory
// (/dev/shm) where there is such a place, since trees of thousands of small files are slow on a disk.
class TempFolder {
 public:
  enum class Place { kMemory, kDisk };

  explicit TempFolder(const std::string& prefix = "berth_test", Place place = Place::kMemory) {
    const char* chosen = ::getenv("TMPDIR");
    const bool memory = place == Place::kMemory && ::access("/dev/shm", W_OK | X_OK) == 0;
    const std::filesystem::path parent = chosen != nullptr ? chosen : memory ? "/dev/shm" : "/tmp";
    std::string name = (parent / (prefix + ".XXXXXX")).string();
    CHECK(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace berth::fakes
