#include "vmm/convert/fake_memory.h"

#include <algorithm>
#include <cerrno>
#include <chrono>

namespace berth::vmm {
namespace {

const char* Name(FakeMemory::Call call) {
  switch (call) {
    case FakeMemory::Call::kAttributes:
      return "KVM_SET_MEMORY_ATTRIBUTES";
    case FakeMemory::Call::kPopulateShared:
    case FakeMemory::Call::kPopulatePrivate:
      return "fallocate";
    case FakeMemory::Call::kDiscardShared:
    case FakeMemory::Call::kDiscardPrivate:
      return "punch a hole";
  }
  return "";
}

}  // namespace

FakeMemory::FakeMemory(Options options) : options_(options), pages_(options.size / kStatePage) {}

void FakeMemory::FailCall(Call call, uint32_t after, int error_number) {
  std::lock_guard lock(mutex_);
  failure_ = {call, after, error_number};
}

void FakeMemory::ForgetFailures() {
  std::lock_guard lock(mutex_);
  failure_.reset();
}

int FakeMemory::Begin(Call call, uint64_t base, uint64_t size) {
  ++calls_;
  if (size == 0 || (base | size) % kStatePage != 0 || base > options_.size || size > options_.size - base) {
    return EINVAL;
  }
  if (!failure_.has_value() || failure_->call != call) return 0;
  if (failure_->after > 0) {
    --failure_->after;
    return 0;
  }
  const int error = failure_->error_number;
  failure_.reset();
  return error;
}

namespace {

// Works for that long, as the kernel would.
void Spend(uint64_t nanoseconds) {
  if (nanoseconds == 0) return;
  const auto end = std::chrono::steady_clock::now() + std::chrono::nanoseconds(nanoseconds);
  while (std::chrono::steady_clock::now() < end) {
  }
}

}  // namespace

Status FakeMemory::SetPrivate(uint64_t base, uint64_t size, bool is_private) {
  Spend(options_.call_ns);
  std::lock_guard lock(mutex_);
  if (int error = Begin(Call::kAttributes, base, size); error != 0) {
    return ErrnoStatus(Name(Call::kAttributes), error);
  }
  for (uint64_t i = base / kStatePage; i < (base + size) / kStatePage; ++i) pages_[i].is_private = is_private;
  return OkStatus();
}

Status FakeMemory::Populate(Call call, uint64_t base, uint64_t size) {
  Spend(options_.call_ns);
  std::lock_guard lock(mutex_);
  int error = Begin(call, base, size);
  if (error == EINVAL) return ErrnoStatus(Name(call), error);
  const bool shared = call == Call::kPopulateShared;
  // Memory comes by whole pages of the backing.
  const uint64_t unit = shared ? options_.shared_page_size : kStatePage;
  const uint64_t first = base / unit * unit / kStatePage;
  uint64_t last = std::min((base + size + unit - 1) / unit * unit, options_.size) / kStatePage;
  if (error != 0) last = first + (last - first) / 2;
  for (uint64_t i = first; i < last; ++i) {
    bool& has = shared ? pages_[i].has_shared : pages_[i].has_private;
    uint64_t& count = shared ? shared_pages_ : private_pages_;
    if (has) continue;
    if ((count + 1) * kStatePage > (shared ? options_.shared_limit : options_.private_limit)) {
      error = ENOMEM;
      break;
    }
    has = true;
    ++count;
  }
  return error == 0 ? OkStatus() : ErrnoStatus(Name(call), error);
}

Status FakeMemory::PopulateShared(uint64_t base, uint64_t size) {
  return Populate(Call::kPopulateShared, base, size);
}
Status FakeMemory::PopulatePrivate(uint64_t base, uint64_t size) {
  return Populate(Call::kPopulatePrivate, base, size);
}

Status FakeMemory::DiscardShared(uint64_t base, uint64_t size) {
  Spend(options_.call_ns);
  std::lock_guard lock(mutex_);
  int error = Begin(Call::kDiscardShared, base, size);
  const uint64_t unit = options_.shared_page_size;
  if (error == 0 && (base % unit != 0 || ((base + size) % unit != 0 && base + size != options_.size)))
    error = EINVAL;
  if (error != 0) return ErrnoStatus(Name(Call::kDiscardShared), error);
  for (uint64_t i = base / kStatePage; i < (base + size) / kStatePage; ++i) {
    shared_pages_ -= pages_[i].has_shared ? 1 : 0;
    pages_[i].has_shared = false;
    pages_[i].shared = 0;
  }
  return OkStatus();
}

Status FakeMemory::DiscardPrivate(uint64_t base, uint64_t size) {
  Spend(options_.call_ns);
  std::lock_guard lock(mutex_);
  if (int error = Begin(Call::kDiscardPrivate, base, size); error != 0) {
    return ErrnoStatus(Name(Call::kDiscardPrivate), error);
  }
  for (uint64_t i = base / kStatePage; i < (base + size) / kStatePage; ++i) {
    private_pages_ -= pages_[i].has_private ? 1 : 0;
    pages_[i].has_private = false;
    pages_[i].private_content = 0;
  }
  return OkStatus();
}

void FakeMemory::GuestWrite(uint64_t gpa, uint64_t content) {
  std::lock_guard lock(mutex_);
  Page& page = pages_.at(gpa / kStatePage);
  bool& has = page.is_private ? page.has_private : page.has_shared;
  if (!has) ++(page.is_private ? private_pages_ : shared_pages_);
  has = true;
  (page.is_private ? page.private_content : page.shared) = content;
}

uint64_t FakeMemory::GuestRead(uint64_t gpa) {
  std::lock_guard lock(mutex_);
  const Page& page = pages_.at(gpa / kStatePage);
  return page.is_private ? page.private_content : page.shared;
}

void FakeMemory::HostWrite(uint64_t gpa, uint64_t content) {
  std::lock_guard lock(mutex_);
  Page& page = pages_.at(gpa / kStatePage);
  if (!page.has_shared) ++shared_pages_;
  page.has_shared = true;
  page.shared = content;
}

FakeMemory::Page FakeMemory::At(uint64_t gpa) const {
  std::lock_guard lock(mutex_);
  return pages_.at(gpa / kStatePage);
}

std::vector<FakeMemory::Page> FakeMemory::pages() const {
  std::lock_guard lock(mutex_);
  return pages_;
}

uint64_t FakeMemory::calls() const {
  std::lock_guard lock(mutex_);
  return calls_;
}

}  // namespace berth::vmm
