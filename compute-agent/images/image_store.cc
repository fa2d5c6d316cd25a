#include "compute-agent/images/image_store.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <functional>
#include <iterator>
#include <memory>
#include <vector>

#include "common/log.h"
#include "common/unique_fd.h"
#include "compute-agent/images/image_header.h"

namespace berth::agent {
namespace {

constexpr size_t kBlock = size_t{1} << 20;

class Sha256 {
 public:
  Sha256() : context_(::EVP_MD_CTX_new(), ::EVP_MD_CTX_free) {
    CHECK(context_ != nullptr && ::EVP_DigestInit_ex(context_.get(), ::EVP_sha256(), nullptr) == 1);
  }
  void Add(std::string_view data) {
    CHECK(::EVP_DigestUpdate(context_.get(), data.data(), data.size()) == 1);
  }
  std::string Finish() {
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    CHECK(::EVP_DigestFinal_ex(context_.get(), sum, &length) == 1);
    constexpr char kDigits[] = "0123456789abcdef";
    std::string text;
    for (unsigned i = 0; i < length; ++i) text += {kDigits[sum[i] >> 4], kDigits[sum[i] & 15]};
    return text;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context_;
};

Result<UniqueFd> OpenImage(const std::string& path, uint64_t& size) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return ErrnoStatus(path, errno);
  struct stat stat{};
  if (::fstat(fd.get(), &stat) != 0) return ErrnoStatus(path, errno);
  if (!S_ISREG(stat.st_mode)) return InvalidArgument("image " + path + " is no file", "disks");
  size = static_cast<uint64_t>(stat.st_size);
  return fd;
}

// The next bytes; fewer than asked for only at the end.
Result<std::string_view> ReadBlock(int fd, std::string& buffer, uint64_t offset) {
  size_t have = 0;
  while (have < buffer.size()) {
    ssize_t got = ::pread(fd, buffer.data() + have, buffer.size() - have, static_cast<off_t>(offset + have));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoStatus("read", errno);
    if (got == 0) break;
    have += static_cast<size_t>(got);
  }
  return std::string_view(buffer).substr(0, have);
}

Status WriteBlock(int fd, std::string_view data, uint64_t offset) {
  while (!data.empty()) {
    ssize_t put = ::pwrite(fd, data.data(), data.size(), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return ErrnoStatus("write", errno);
    data.remove_prefix(static_cast<size_t>(put));
    offset += static_cast<uint64_t>(put);
  }
  return OkStatus();
}

Status CheckHeader(int fd, uint64_t size) {
  std::string head(kImageHead, '\0'), tail(kImageTail, '\0');
  TRY_ASSIGN(std::string_view first, ReadBlock(fd, head, 0));
  TRY_ASSIGN(std::string_view last, ReadBlock(fd, tail, size > kImageTail ? size - kImageTail : 0));
  return CheckRawImage(first, last);
}

// Copies and sums in one pass, so that what was summed is what was written. Blocks of zeros become holes.
Status CopyChecked(const std::string& from, const std::string& to, const std::string& sum, uint64_t size,
                   mode_t mode, const std::function<bool()>& wanted) {
  uint64_t image_size = 0;
  TRY_ASSIGN(UniqueFd in, OpenImage(from, image_size));
  if (size != 0 && size < image_size) {
    return InvalidArgument("image " + from + " has " + std::to_string(image_size) +
                               " bytes, the disk shall have " + std::to_string(size),
                           "disks");
  }
  TRY(CheckHeader(in.get(), image_size));
  const std::string temporary = to + ".part";
  UniqueFd out(::open(temporary.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!out.valid()) return ErrnoStatus(temporary, errno);
  Sha256 hash;
  std::string buffer(kBlock, '\0');
  uint64_t offset = 0;
  while (true) {
    if (!wanted()) {
      ::unlink(temporary.c_str());
      return Status(StatusCode::kCancelled, "the copy to " + to + " was called off");
    }
    TRY_ASSIGN(std::string_view block, ReadBlock(in.get(), buffer, offset));
    if (block.empty()) break;
    hash.Add(block);
    const bool zeros = std::all_of(block.begin(), block.end(), [](char c) { return c == '\0'; });
    if (!zeros) {
      Status written = WriteBlock(out.get(), block, offset);
      if (!written.ok()) return std::move(written).WithContext(temporary);
    }
    offset += block.size();
  }
  const std::string actual = hash.Finish();
  if (actual != sum) {
    ::unlink(temporary.c_str());
    return DataLoss("image " + from + " has the SHA-256 " + actual + ", expected " + sum);
  }
  const uint64_t final_size = size == 0 ? offset : size;
  if (::ftruncate(out.get(), static_cast<off_t>(final_size)) != 0 || ::fchmod(out.get(), mode) != 0 ||
      ::fsync(out.get()) != 0 || ::rename(temporary.c_str(), to.c_str()) != 0) {
    Status failed = ErrnoStatus(to, errno);
    ::unlink(temporary.c_str());
    return failed;
  }
  return OkStatus();
}

}  // namespace

Result<std::string> Sha256OfFile(const std::string& path) {
  uint64_t size = 0;
  TRY_ASSIGN(UniqueFd fd, OpenImage(path, size));
  Sha256 hash;
  std::string buffer(kBlock, '\0');
  for (uint64_t offset = 0;;) {
    TRY_ASSIGN(std::string_view block, ReadBlock(fd.get(), buffer, offset));
    if (block.empty()) return hash.Finish();
    hash.Add(block);
    offset += block.size();
  }
}

ImageStore::~ImageStore() {
  ending_ = true;
  queue_.Stop();
}

Result<bool> ImageStore::Copy(const DiskSource& source, const std::string& disk) {
  std::lock_guard lock(mutex_);
  std::error_code error;
  if (auto known = jobs_.find(disk); known != jobs_.end()) {
    Job& job = known->second;
    const bool same = job.source == source;
    if (!same) *job.called_off = true;
    if (!job.result.has_value()) return false;
    const Status result = *std::move(job.result);
    jobs_.erase(known);
    if (same && !result.ok()) return result;
  }
  if (std::filesystem::exists(disk, error)) return true;
  Job job;
  job.source = source;
  const Wanted wanted = [this, called_off = job.called_off] { return !ending_ && !*called_off; };
  jobs_.emplace(disk, std::move(job));
  const bool accepted = queue_.Push([this, source, disk, wanted] {
    Status made = Make(source, disk, wanted);
    std::lock_guard done(mutex_);
    jobs_.at(disk).result = std::move(made);
  });
  if (accepted) return false;
  jobs_.erase(disk);
  return Status{StatusCode::kUnavailable, "too many images are being copied"};
}

bool ImageStore::Forget(const std::string& folder) {
  std::lock_guard lock(mutex_);
  const std::string within = folder + "/";
  bool none = true;
  for (auto job = jobs_.lower_bound(within); job != jobs_.end() && job->first.starts_with(within);) {
    *job->second.called_off = true;
    none = none && job->second.result.has_value();
    job = job->second.result.has_value() ? jobs_.erase(job) : std::next(job);
  }
  return none;
}

Status ImageStore::Make(const DiskSource& source, const std::string& disk, const Wanted& wanted) {
  if (!wanted()) return Status(StatusCode::kCancelled, "the copy to " + disk + " was called off");
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  if (error) return ErrnoStatus("make " + folder_, error.value());
  const std::string kept = folder_ + "/" + source.sha256;
  if (!std::filesystem::exists(kept, error)) {
    TRY(CopyChecked(source.from, kept, source.sha256, 0, 0400, wanted));
    LOG(kInfo, "image_cached", {{"image", source.from}, {"sha256", source.sha256}});
  }
  Status copied = CopyChecked(kept, disk, source.sha256, source.size, 0600, wanted);
  if (copied.code() == StatusCode::kDataLoss) ::unlink(kept.c_str());
  return copied;
}

}  // namespace berth::agent
