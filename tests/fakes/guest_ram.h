#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <vector>

#include "common/status.h"
#include "common/unique_fd.h"
#include "vmm/memory/guest_memory.h"

namespace berth::vmm {

// Guest RAM of anonymous pages, or, when `shared`, of a file that other processes can map. Each region is a
// mapping of its own with an unmapped page behind it, so that an access that leaves it is a crash.
class GuestRam {
 public:
  struct Part {
    uint64_t base;
    uint64_t size;  // in whole pages
  };
  explicit GuestRam(const std::vector<Part>& parts, bool shared = false, bool reserve_space = false) {
    std::vector<MemoryRegion> regions;
    for (const Part& part : parts) {
      void* host =
          mmap(nullptr, part.size + kGuard, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      CHECK(host != MAP_FAILED && mprotect(host, part.size, PROT_READ | PROT_WRITE) == 0);
      UniqueFd file;
      if (shared) {
        file.reset(memfd_create("ram", MFD_CLOEXEC));
        CHECK(file.valid() && ftruncate(file.get(), static_cast<off_t>(part.size)) == 0);
        CHECK(mmap(host, part.size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file.get(), 0) == host);
      }
      mappings_.push_back({host, part.size});
      MemoryRegion region;
      region.base = Gpa{part.base};
      region.size = part.size;
      region.host = static_cast<uint8_t*>(host);
      region.fd = shared ? file.get() : -1;
      region.shared = shared;
      region.reserve_space = reserve_space;
      regions.push_back(region);
      files_.push_back(std::move(file));
    }
    memory_ = GuestMemory(std::move(regions));
  }
  ~GuestRam() {
    for (const auto& [host, size] : mappings_) munmap(host, size + kGuard);
  }
  GuestRam(const GuestRam&) = delete;
  GuestRam& operator=(const GuestRam&) = delete;

  GuestMemory& memory() { return memory_; }
  void Put(uint64_t address, std::vector<uint8_t> bytes) { CHECK(memory_.Write(Gpa{address}, bytes).ok()); }
  template <class T>
  void PutObject(uint64_t address, T value) {
    CHECK(memory_.WriteObject(Gpa{address}, value).ok());
  }
  std::vector<uint8_t> Get(uint64_t address, size_t size) {
    std::vector<uint8_t> bytes(size);
    CHECK(memory_.Read(Gpa{address}, bytes).ok());
    return bytes;
  }
  template <class T>
  T GetObject(uint64_t address) {
    return *memory_.ReadObject<T>(Gpa{address});
  }

 private:
  static constexpr size_t kGuard = 4096;
  struct Mapping {
    void* host;
    size_t size;
  };
  std::vector<Mapping> mappings_;
  std::vector<UniqueFd> files_;
  GuestMemory memory_;
};

}  // namespace berth::vmm
