// The first byte chooses the parser of a file of /sys or /proc, the rest is the file.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "compute-agent/inventory/sysfs_values.h"

using namespace berth;
using namespace berth::agent;

namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

// A set that was read is written and read as itself.
void CheckCpus(const Result<CpuSet>& set) {
  if (!set.has_value()) return;
  Result<CpuSet> again = ParseCpuList(set->ToString());
  Require(again.has_value() && *again == *set);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 8) {
    case 0:
      CheckCpus(ParseCpuList(text));
      break;
    case 1:
      CheckCpus(ParseCpuMask(text));
      break;
    case 2:
      static_cast<void>(ParseMeminfo(text));
      static_cast<void>(berth::agent::ParseTmmMemoryInfo(text));
      break;
    case 3: {
      Result<std::vector<uint32_t>> distances = ParseDistances(text);
      Require(!distances.has_value() || distances->size() <= 4096);
      break;
    }
    case 4: {
      Result<uint32_t> id = ParseHexId(text, 4);
      Require(!id.has_value() || *id <= 0xffff);
      break;
    }
    case 5:
      static_cast<void>(ParseOptionalId(text));
      static_cast<void>(ParseUnsigned(text));
      static_cast<void>(ParseFatalErrors(text));
      break;
    case 6:
      Require(OsReleaseValue(text, "PRETTY_NAME").size() <= 4096);
      break;
    default: {
      Result<uint64_t> bytes = ParseHugePagesName(text);
      Require(!bytes.has_value() || *bytes >= 1024);
      Require(Excerpt(text).size() <= 48);
      static_cast<void>(NumberAfter(text, "cpu"));
    }
  }
  return 0;
}
