// Flavor and alias files: whatever the bytes, an answer, and every error with its file.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "scheduler/request/catalogue.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto catalogue = berth::scheduler::ParseCatalogue(text, "fuzz.yaml");
  if (!catalogue.has_value() && !catalogue.error().message().starts_with("fuzz.yaml")) std::abort();
  return 0;
}
