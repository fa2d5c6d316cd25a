#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "common/unique_fd.h"

namespace berth::agent {

// An open directory below a Root. Names given to it are single components, never paths, and are not followed
// when they are symbolic links, so that nothing outside can be reached. Thread-safe for reading.
class Folder {
 public:
  static constexpr size_t kMaxAttributeBytes = 64 << 10;
  static constexpr size_t kMaxEntries = 1 << 18;

  Folder(UniqueFd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}

  // Content of a regular file, at most `limit` bytes (kOutOfRange above). Pipes and device nodes are refused.
  // Errors name the path; kNotFound when there is none.
  Result<std::string> Read(std::string_view name, size_t limit = kMaxAttributeBytes) const;
  // The first bytes of a regular file, fewer if it is shorter.
  Result<std::string> ReadStart(std::string_view name, size_t bytes) const;
  // Last component of a symbolic link's target, or the whole of it; the target itself need not exist.
  Result<std::string> LinkName(std::string_view name) const;
  Result<std::string> LinkTarget(std::string_view name) const;
  // A directory in it.
  Result<Folder> Open(std::string_view name) const;
  // Names in it without "." and "..", in no order; kOutOfRange above kMaxEntries.
  Result<std::vector<std::string>> List() const;
  bool Has(std::string_view name) const;

  // As people name it: with a leading slash, relative to the root.
  const std::string& path() const { return path_; }
  std::string PathOf(std::string_view name) const { return path_ + "/" + std::string(name); }

 private:
  UniqueFd fd_;
  std::string path_;
};

// The directory that holds `sys`, `proc`, `etc` and `dev`: "/" for the machine itself, or a recorded or
// generated tree. Symbolic links inside, absolute ones too, stay inside (openat2 RESOLVE_IN_ROOT), so a
// recorded tree never shows files of the machine that reads it. Thread-safe for reading.
class Root {
 public:
  // kNotFound, kPermissionDenied, kFailedPrecondition (not a directory).
  static Result<Root> Open(const std::string& path = "/");

  // `path` is relative to the root, without a leading slash: "sys/devices/system/node". Links are followed.
  Result<Folder> OpenFolder(const std::string& path) const;
  Result<std::string> Read(const std::string& path, size_t limit = 1 << 20) const;
  bool Has(const std::string& path) const;

  // This is the running machine itself, so that system calls may complete what files tell.
  bool is_live() const { return live_; }
  const std::string& path() const { return path_; }
  int fd() const { return fd_.get(); }

 private:
  Root(UniqueFd fd, std::string path, bool live) : fd_(std::move(fd)), path_(std::move(path)), live_(live) {}
  Result<UniqueFd> OpenInside(const std::string& path, int flags) const;

  UniqueFd fd_;
  std::string path_;
  bool live_ = false;
};

}  // namespace berth::agent
