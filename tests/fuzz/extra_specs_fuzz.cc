// Lines of "name=value" as a flavor's extra specs; a name that begins with "hw_" is an image property. An
// answer always: a request whose cells partition its vCPUs, or an error that names its field.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "scheduler/request/resolve.h"

namespace {

using namespace berth::scheduler;

void CheckCells(const RequestSpec& spec) {
  berth::CpuSet all;
  uint64_t memory = 0;
  for (const GuestCell& cell : spec.cells) {
    if (cell.vcpus.Intersects(all) || !cell.vcpus.Contains(cell.pinned)) std::abort();
    all |= cell.vcpus;
    memory += cell.memory_bytes;
  }
  bool whole = all.Count() == spec.vcpus && memory == spec.memory_bytes;
  if (!spec.cells.empty() && !whole) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const AliasTable aliases = [] {
    AliasTable table;
    auto entry = MakeAliasEntry({{"name", "a"}, {"vendor_id", "8086"}, {"product_id", "154d"}});
    if (!entry.has_value() || !AddAliasEntry(*entry, table).ok()) std::abort();
    return table;
  }();
  if (size < 2) return 0;
  Flavor flavor;
  flavor.name = "f";
  flavor.vcpus = data[0] % 64;
  flavor.memory_mib = data[1] * uint64_t{64};
  Properties image;
  std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    size_t equals = std::min(line.find('='), line.size());
    std::string name(line.substr(0, equals));
    std::string value(line.substr(std::min(equals + 1, line.size())));
    (name.starts_with("hw_") ? image : flavor.extra_specs)[name] = value;
  }
  auto spec = ResolveRequest(flavor, image, {}, aliases);
  if (spec.has_value()) CheckCells(*spec);
  if (!spec.has_value() && spec.error().field().empty()) std::abort();
  return 0;
}
