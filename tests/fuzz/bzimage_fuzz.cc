// A kernel image from outside: whatever its header says, loading it touches guest RAM only, and ends.
#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include "vmm/boot/bzimage.h"
#include "vmm/boot/linux_loader.h"

using namespace berth::vmm;

namespace {

// Two regions with a hole between them and the rest of the address space; pages appear as they are touched.
GuestMemory MakeMemory() {
  std::vector<MemoryRegion> regions;
  for (auto [base, size] : {std::pair<uint64_t, uint64_t>{0, 24 << 20}, {24 << 20, 24 << 20}}) {
    MemoryRegion region;
    region.base = Gpa{base};
    region.size = size;
    void* host =
        ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (host == MAP_FAILED) std::abort();
    region.host = static_cast<uint8_t*>(host);
    regions.push_back(region);
  }
  return GuestMemory(std::move(regions));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const GuestMemory memory = MakeMemory();
  auto kernel = ImageFromBytes({data, size}, "kernel");
  auto initramfs = ImageFromBytes({data, size / 2}, "initramfs");
  LinuxBoot boot;
  boot.kernel = kernel.get();
  boot.initramfs = initramfs.get();
  boot.cmdline = std::string(size % 3000, 'x');
  auto entry = LoadLinux(memory, boot);
  if (!entry.has_value()) return 0;
  // What it promises holds: the entry point lies in RAM, behind the first megabyte.
  if (!memory.Span(Gpa{entry->instruction_pointer}, 1).has_value()) std::abort();
  if (entry->instruction_pointer < 0x100000) std::abort();
  return 0;
}
