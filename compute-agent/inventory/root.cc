#include "compute-agent/inventory/root.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>

namespace berth::agent {
namespace {

constexpr int kMaxTries = 1000;

// Reads a file to its end. `fd` was opened without blocking; only regular files are read, since a pipe or a
// device node in a recorded tree says nothing about a host and may never end.
Result<std::string> ReadToEnd(int fd, const std::string& path, size_t limit) {
  struct stat info{};
  if (::fstat(fd, &info) != 0) return ErrnoStatus(path, errno);
  if (!S_ISREG(info.st_mode)) return FailedPrecondition(path + " is not a regular file");
  std::string content;
  std::array<char, 4096> chunk;
  while (true) {
    ssize_t n = ::read(fd, chunk.data(), chunk.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      return ErrnoStatus(path, errno);
    }
    if (n == 0) return content;
    content.append(chunk.data(), static_cast<size_t>(n));
    if (content.size() > limit) {
      return OutOfRange(path + " is larger than " + std::to_string(limit) + " bytes");
    }
  }
}

}  // namespace

Result<std::string> Folder::Read(std::string_view name, size_t limit) const {
  std::string file(name);
  UniqueFd fd(::openat(fd_.get(), file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW));
  if (!fd.valid()) return ErrnoStatus(PathOf(name), errno);
  return ReadToEnd(fd.get(), PathOf(name), limit);
}

Result<std::string> Folder::ReadStart(std::string_view name, size_t bytes) const {
  std::string file(name);
  UniqueFd fd(::openat(fd_.get(), file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW));
  if (!fd.valid()) return ErrnoStatus(PathOf(name), errno);
  struct stat info{};
  if (::fstat(fd.get(), &info) != 0) return ErrnoStatus(PathOf(name), errno);
  if (!S_ISREG(info.st_mode)) return FailedPrecondition(PathOf(name) + " is not a regular file");
  std::string start(bytes, '\0');
  ssize_t n = ::pread(fd.get(), start.data(), start.size(), 0);
  if (n < 0) return ErrnoStatus(PathOf(name), errno);
  start.resize(static_cast<size_t>(n));
  return start;
}

Result<std::string> Folder::LinkTarget(std::string_view name) const {
  std::array<char, PATH_MAX> target;
  ssize_t n = ::readlinkat(fd_.get(), std::string(name).c_str(), target.data(), target.size());
  if (n < 0) return ErrnoStatus(PathOf(name), errno);
  return std::string(target.data(), static_cast<size_t>(n));
}

Result<std::string> Folder::LinkName(std::string_view name) const {
  TRY_ASSIGN(std::string target, LinkTarget(name));
  std::string_view text = target;
  while (text.size() > 1 && text.back() == '/') text.remove_suffix(1);
  size_t slash = text.rfind('/');
  return std::string(slash == std::string_view::npos ? text : text.substr(slash + 1));
}

Result<Folder> Folder::Open(std::string_view name) const {
  UniqueFd fd(
      ::openat(fd_.get(), std::string(name).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid()) return ErrnoStatus(PathOf(name), errno);
  return Folder(std::move(fd), PathOf(name));
}

Result<std::vector<std::string>> Folder::List() const {
  // A descriptor of its own: reading a directory moves its offset.
  UniqueFd fd(::openat(fd_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return ErrnoStatus(path_, errno);
  std::unique_ptr<DIR, int (*)(DIR*)> directory(::fdopendir(fd.get()), &::closedir);
  if (directory == nullptr) return ErrnoStatus(path_, errno);
  fd.release();
  std::vector<std::string> names;
  while (true) {
    errno = 0;
    const dirent* entry = ::readdir(directory.get());
    if (entry == nullptr) {
      if (errno != 0) return ErrnoStatus(path_, errno);
      return names;
    }
    std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (names.size() == kMaxEntries) {
      return OutOfRange(path_ + " has more than " + std::to_string(kMaxEntries) + " entries");
    }
    names.emplace_back(name);
  }
}

bool Folder::Has(std::string_view name) const {
  struct stat info{};
  return ::fstatat(fd_.get(), std::string(name).c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0;
}

Result<Root> Root::Open(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) {
    if (errno == ENOTDIR) return FailedPrecondition(path + " is not a directory");
    return ErrnoStatus(path, errno);
  }
  struct stat opened{};
  struct stat live{};
  bool same = ::fstat(fd.get(), &opened) == 0 && ::stat("/", &live) == 0 && opened.st_dev == live.st_dev &&
              opened.st_ino == live.st_ino;
  return Root(std::move(fd), path, same);
}

Result<UniqueFd> Root::OpenInside(const std::string& path, int flags) const {
  open_how how{};
  how.flags = static_cast<uint64_t>(flags | O_CLOEXEC);
  how.resolve = RESOLVE_IN_ROOT;
  int fd = -1;
  // EAGAIN: something was renamed or mounted, anywhere, while the kernel walked over a "..", so that it could
  // not be sure to be inside. On a busy machine that happens many times in a row.
  for (int tries = 0; tries < kMaxTries; ++tries) {
    fd = static_cast<int>(::syscall(SYS_openat2, fd_.get(), path.c_str(), &how, sizeof(how)));
    if (fd >= 0 || errno != EAGAIN) break;
    ::sched_yield();
  }
  // Before Linux 5.6, and under system call filters that do not know openat2, only the plain call is left.
  if (fd < 0 && (errno == ENOSYS || errno == EPERM)) {
    fd = ::openat(fd_.get(), path.c_str(), flags | O_CLOEXEC);
  }
  if (fd < 0) return ErrnoStatus("/" + path, errno);
  return UniqueFd(fd);
}

Result<Folder> Root::OpenFolder(const std::string& path) const {
  TRY_ASSIGN(UniqueFd fd, OpenInside(path, O_RDONLY | O_DIRECTORY));
  return Folder(std::move(fd), "/" + path);
}

Result<std::string> Root::Read(const std::string& path, size_t limit) const {
  TRY_ASSIGN(UniqueFd fd, OpenInside(path, O_RDONLY | O_NONBLOCK));
  return ReadToEnd(fd.get(), "/" + path, limit);
}

bool Root::Has(const std::string& path) const {
  return OpenInside(path, O_PATH).has_value();
}

}  // namespace berth::agent
