#include "common/file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "common/unique_fd.h"

namespace berth {
namespace {

Status WriteAll(int fd, std::string_view content, const std::string& path) {
  while (!content.empty()) {
    ssize_t n = ::write(fd, content.data(), content.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      return ErrnoStatus("write " + path, errno);
    }
    content.remove_prefix(static_cast<size_t>(n));
  }
  return OkStatus();
}

}  // namespace

Result<std::string> ReadFile(const std::string& path, size_t limit) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) return ErrnoStatus(path, errno);
  std::string content;
  size_t filled = 0;
  while (true) {
    content.resize(filled + 4096);
    ssize_t n = ::read(fd.get(), content.data() + filled, content.size() - filled);
    if (n < 0) {
      if (errno == EINTR) continue;
      return ErrnoStatus(path, errno);
    }
    filled += static_cast<size_t>(n);
    if (filled > limit) {
      return OutOfRange(path + " is larger than " + std::to_string(limit) + " bytes");
    }
    if (n == 0) break;
  }
  content.resize(filled);
  return content;
}

Status WriteFileAtomically(const std::string& path, std::string_view content, unsigned mode) {
  std::string temporary = path + ".tmp" + std::to_string(::getpid());
  {
    UniqueFd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
    if (!fd.valid()) return ErrnoStatus(temporary, errno);
    Status written = WriteAll(fd.get(), content, temporary);
    if (written.ok() && ::fsync(fd.get()) != 0) written = ErrnoStatus("fsync " + temporary, errno);
    if (!written.ok()) {
      ::unlink(temporary.c_str());
      return written;
    }
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    int error = errno;
    ::unlink(temporary.c_str());
    return ErrnoStatus("rename to " + path, error);
  }
  size_t slash = path.rfind('/');
  std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  UniqueFd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid() || ::fsync(fd.get()) != 0) return ErrnoStatus("fsync " + folder, errno);
  return OkStatus();
}

Status WriteToFile(const std::string& path, std::string_view content) {
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid()) return ErrnoStatus(path, errno);
  ssize_t n = ::write(fd.get(), content.data(), content.size());
  if (n < 0) return ErrnoStatus("write to " + path, errno);
  if (static_cast<size_t>(n) != content.size()) return Internal("short write to " + path);
  return OkStatus();
}

}  // namespace berth
