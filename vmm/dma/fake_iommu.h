#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "common/status.h"
#include "vmm/dma/dma_backend.h"

namespace berth::vmm {

// An IOMMU without a kernel: the rules and errors of the kernel's interfaces, page tables that a fake device
// can look up, faults by count. Copies share one state. Thread-safe.
class FakeIommu {
 public:
  enum class Interface {
    kType1,       // an unmap that would bisect a mapping fails and changes nothing
    kIommufd,     // so, but what lies before the mapping that is cut is gone; nothing to unmap is an error
    kIommufdCut,  // unmaps any part
  };
  struct Options {
    Interface interface = Interface::kType1;
    std::vector<IovaRange> ranges = {{0, 0xfedfffff}, {0xfef00000, (uint64_t{1} << 48) - 1}};
    uint64_t page_size = 4096;
    uint64_t entry_limit = 65535;         // type1's dma_entry_limit
    uint64_t memlock_bytes = UINT64_MAX;  // RLIMIT_MEMLOCK
  };
  struct Mapping {
    uint64_t size;
    uint8_t* host;
    bool readable;
    bool writable;
    DmaRun::Kind kind;
  };

  FakeIommu();
  explicit FakeIommu(Options options);

  std::unique_ptr<DmaBackend> MakeBackend();

  // The n-th (0: the next) map or unmap from now on fails once with `error_number` and changes nothing.
  void FailCall(uint32_t after, int error_number);
  void ForgetFailures();

  // The byte that a device reaches at `iova`; nullptr when the access faults, which is counted.
  uint8_t* Translate(uint64_t iova, bool write);
  // Copies by pages, as a device would. False when any page faults; what came before it has happened.
  bool Read(uint64_t iova, void* to, uint64_t size);
  bool Write(uint64_t iova, const void* from, uint64_t size);

  std::map<uint64_t, Mapping> mappings() const;  // by I/O virtual address
  uint64_t faults() const;
  uint64_t calls() const;

  struct State;

 private:
  std::shared_ptr<State> state_;
};

}  // namespace berth::vmm
