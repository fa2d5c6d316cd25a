#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "common/status.h"
#include "vmm/convert/memory_planes.h"

namespace berth::vmm {

// The kernel's side of a confidential guest's memory without a kernel: attributes, and both sides' pages with
// their content (one number stands for a page's bytes; 0 for zeros). Refuses what the kernel refuses, fails
// by count. Thread-safe.
class FakeMemory final : public PageAttributes, public MemoryPlanes {
 public:
  struct Options {
    uint64_t size = 0;                   // guest-physical [0, size)
    uint64_t shared_page_size = 4096;    // huge pages: a hole smaller than one is EINVAL
    uint64_t shared_limit = UINT64_MAX;  // bytes that each side can have
    uint64_t private_limit = UINT64_MAX;
    // How long each call takes, for measurements: the thread works that long.
    uint64_t call_ns = 0;
  };
  struct Page {
    bool is_private = false;  // attribute
    bool has_shared = false;
    bool has_private = false;
    uint64_t shared = 0;  // content
    uint64_t private_content = 0;
    friend bool operator==(const Page&, const Page&) = default;
  };
  enum class Call { kAttributes, kPopulateShared, kPopulatePrivate, kDiscardShared, kDiscardPrivate };

  explicit FakeMemory(Options options);

  // The n-th (0: the next) such call from now on fails once. A populate that fails has filled half of its
  // range.
  void FailCall(Call call, uint32_t after, int error_number);
  void ForgetFailures();

  Status SetPrivate(uint64_t base, uint64_t size, bool is_private) override;
  Status PopulateShared(uint64_t base, uint64_t size) override;
  Status PopulatePrivate(uint64_t base, uint64_t size) override;
  Status DiscardShared(uint64_t base, uint64_t size) override;
  Status DiscardPrivate(uint64_t base, uint64_t size) override;

  // As the guest does: on the side that the attribute says, taking memory where there is none.
  void GuestWrite(uint64_t gpa, uint64_t content);
  uint64_t GuestRead(uint64_t gpa);
  // As the host or a device does, through the shared mapping.
  void HostWrite(uint64_t gpa, uint64_t content);

  Page At(uint64_t gpa) const;
  std::vector<Page> pages() const;
  uint64_t calls() const;

 private:
  struct Failure {
    Call call;
    uint32_t after;
    int error_number;
  };
  // With the mutex held: 0 or the error of this call.
  int Begin(Call call, uint64_t base, uint64_t size);
  Status Populate(Call call, uint64_t base, uint64_t size);

  const Options options_;
  mutable std::mutex mutex_;  // guards what follows
  std::vector<Page> pages_;
  std::optional<Failure> failure_;
  uint64_t calls_ = 0;
  uint64_t shared_pages_ = 0;
  uint64_t private_pages_ = 0;
};

}  // namespace berth::vmm
