#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <vector>

#include "common/status.h"
#include "vmm/convert/converter.h"

namespace berth::vmm {

// What vCPUs ask about the side of memory: by a hypercall (explicitly), or by touching memory as the other
// kind than it is (implicitly). Thread-safe as long as each vCPU is served by one thread at a time.
class GuestRequests {
 public:
  struct Policy {
    // Whether touching memory as the other kind converts it. Guests of KVM_X86_SW_PROTECTED_VM cannot: their
    // accesses are of the kind that the memory has.
    bool implicit = true;
    // A request that cannot be met now (a device is in the middle of the page, no memory) is tried again for
    // that long before the guest hears of it: an SNP guest ends itself at anything but success
    // (arch/x86/coco/sev), and to TDX guests KVM told EAGAIN as an invalid operand until its patch of March
    // 2026 ("KVM: TDX: Allow userspace to return errors to guest for MAPGPA").
    std::chrono::milliseconds patience{2000};
    std::chrono::milliseconds pause{10};  // between two tries
    // The same request, one after the other, that could not be met with all patience: answered EAGAIN that
    // often, then EINVAL.
    uint32_t max_retries = 64;
    // The same fault, one after the other, although the memory is what the guest wants: then it cannot run.
    uint32_t max_faults_without_progress = 16;
    // The same fault, one after the other, with a conversion each time: two vCPUs fight for a page.
    uint32_t max_repeated_faults = 4096;
  };

  // `converter` outlives it.
  GuestRequests(Converter& converter, uint32_t vcpus, Policy policy);

  // KVM_HC_MAP_GPA_RANGE(gpa, pages, attributes). The hypercall's result: 0, EINVAL, or EAGAIN when the guest
  // may try again. Holds the vCPU's thread for as long as the policy's patience, and one try more; `rest`
  // waits between two tries: false ends them, and what it takes longer than it was asked for is no patience.
  // An error (kDataLoss): the guest must not go on.
  using Rest = std::function<bool(std::chrono::milliseconds)>;
  Result<uint64_t> MapGpaRange(uint32_t vcpu, uint64_t gpa, uint64_t pages, uint64_t attributes,
                               const Rest& rest = {});

  // KVM_EXIT_MEMORY_FAULT: the guest meant [gpa, gpa + size) to be private, or shared. OK: the vCPU tries
  // again. An error: it cannot go on, and why.
  Status MemoryFault(uint32_t vcpu, uint64_t gpa, uint64_t size, bool is_private);

 private:
  struct Vcpu {
    uint64_t gpa = UINT64_MAX;  // of the last request that was not met, or fault
    Direction direction = Direction::kToShared;
    uint32_t retries = 0;
    uint32_t without_progress = 0;
    uint32_t faults = 0;

    // Forgets what it has counted unless this is the same again.
    void Note(uint64_t gpa, Direction direction);
  };

  // Empty when `rest` has ended it.
  std::optional<Result<uint64_t>> ConvertWithPatience(uint64_t base, uint64_t size, Direction direction,
                                                      const Rest& rest);

  Converter& converter_;
  const Policy policy_;
  std::vector<Vcpu> vcpus_;
  std::atomic<uint64_t> refused_{0};
};

}  // namespace berth::vmm
