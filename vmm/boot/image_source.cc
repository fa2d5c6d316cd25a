#include "vmm/boot/image_source.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "common/unique_fd.h"

namespace berth::vmm {
namespace {

class FileImage final : public ImageSource {
 public:
  FileImage(UniqueFd fd, uint64_t size, std::string path)
      : fd_(std::move(fd)), size_(size), path_(std::move(path)) {}

  uint64_t size() const override { return size_; }
  const std::string& name() const override { return path_; }

  Status ReadAt(uint64_t offset, std::span<uint8_t> out) const override {
    while (!out.empty()) {
      ssize_t n = ::pread(fd_.get(), out.data(), out.size(), static_cast<off_t>(offset));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return ErrnoStatus("read " + path_, errno);
      if (n == 0) return OutOfRange(path_ + " ends before offset " + std::to_string(offset + out.size()));
      out = out.subspan(static_cast<size_t>(n));
      offset += static_cast<uint64_t>(n);
    }
    return OkStatus();
  }

 private:
  UniqueFd fd_;
  uint64_t size_;
  std::string path_;
};

class BytesImage final : public ImageSource {
 public:
  BytesImage(std::span<const uint8_t> bytes, std::string name) : bytes_(bytes), name_(std::move(name)) {}

  uint64_t size() const override { return bytes_.size(); }
  const std::string& name() const override { return name_; }

  Status ReadAt(uint64_t offset, std::span<uint8_t> out) const override {
    if (offset > bytes_.size() || out.size() > bytes_.size() - offset) {
      return OutOfRange(name_ + " ends before offset " + std::to_string(offset + out.size()));
    }
    std::copy_n(bytes_.begin() + static_cast<ptrdiff_t>(offset), out.size(), out.begin());
    return OkStatus();
  }

 private:
  std::span<const uint8_t> bytes_;
  std::string name_;
};

}  // namespace

Result<std::unique_ptr<ImageSource>> OpenImageFile(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) return ErrnoStatus("open " + path, errno);
  struct stat info;
  if (::fstat(fd.get(), &info) < 0) return ErrnoStatus("stat " + path, errno);
  if (!S_ISREG(info.st_mode)) return InvalidArgument(path + " is not a regular file");
  return std::unique_ptr<ImageSource>(
      std::make_unique<FileImage>(std::move(fd), static_cast<uint64_t>(info.st_size), path));
}

std::unique_ptr<ImageSource> ImageFromBytes(std::span<const uint8_t> bytes, std::string name) {
  return std::make_unique<BytesImage>(bytes, std::move(name));
}

}  // namespace berth::vmm
