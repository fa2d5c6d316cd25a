// Metadata of firmware images, for TDX and SEV-SNP: what is taken lies inside the image and is whole pages.
#include <cstdint>

#include "common/status.h"
#include "vmm/cvm/sev_metadata.h"
#include "vmm/cvm/tdvf.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace berth::vmm;
  const std::span<const uint8_t> image(data, size);
  if (auto sections = ParseTdvf(image); sections.has_value()) {
    for (const TdvfSection& section : *sections) {
      CHECK(section.data_offset <= size && section.data_size <= size - section.data_offset);
      CHECK(section.data_size <= section.memory_size && section.memory_size % 4096 == 0);
    }
  }
  if (auto metadata = ParseSevMetadata(image); metadata.has_value()) {
    for (const SevSection& section : metadata->sections)
      CHECK(section.gpa % 4096 == 0 && section.size % 4096 == 0);
  }
  return 0;
}
