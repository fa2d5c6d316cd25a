// The loader of ELF kernels: what it takes lies inside the image, and nothing is written outside of guest
// RAM.
#include <cstdint>

#include "common/status.h"
#include "tests/fakes/guest_ram.h"
#include "vmm/boot/elf_kernel.h"
#include "vmm/boot/pvh_loader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace berth::vmm;
  static GuestRam ram({{0, 4 << 20}, {4 << 20, 4 << 20}});
  auto image = ImageFromBytes({data, size}, "fuzz");
  auto kernel = ParseElfKernel(*image);
  if (kernel.has_value()) {
    CHECK(!kernel->segments.empty());
    for (const ElfKernel::Segment& segment : kernel->segments) {
      CHECK(segment.offset <= size && segment.file_size <= size - segment.offset);
      CHECK(segment.memory_size >= segment.file_size);
    }
  }
  LinuxBoot boot;
  boot.kernel = image.get();
  static_cast<void>(LoadPvh(ram.memory(), boot).has_value());
  return 0;
}
