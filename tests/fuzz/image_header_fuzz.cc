// Any bytes as the beginning and the end of a disk image: told apart or taken as raw, never more than looked
// at.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "compute-agent/images/disk_source.h"
#include "compute-agent/images/image_header.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  std::string_view head = input.substr(0, berth::agent::kImageHead);
  std::string_view tail = input.substr(size > berth::agent::kImageTail ? size - berth::agent::kImageTail : 0);
  (void)berth::agent::CheckRawImage(head, tail);
  (void)berth::agent::ParseDiskSource(input);
  return 0;
}
