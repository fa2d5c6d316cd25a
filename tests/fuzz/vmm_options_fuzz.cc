// The VMM's command line, one argument a line. What is accepted must resolve, be described, and survive the
// way through JSON; what is refused must say why.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "vmm/config/command_line.h"
#include "vmm/config/json_config.h"
#include "vmm/config/resolved_machine.h"

namespace berth::vmm {
namespace {

void CheckMemoryMap(const VmConfig& config) {
  uint64_t total = 0;
  uint64_t end = 0;
  for (const ResolvedRegion& region : ResolveMachine(config).regions) {
    CHECK(region.base >= end && region.size > 0);
    end = region.base + region.size;
    total += region.size;
  }
  uint64_t wanted = config.memory.size.bytes();
  for (const MemoryZoneConfig& zone : config.memory_zones) wanted += zone.size.bytes();
  CHECK(total == wanted);
}

}  // namespace
}  // namespace berth::vmm

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace berth::vmm;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  std::vector<std::string> arguments;
  while (!text.empty()) {
    size_t end = text.find('\n');
    arguments.emplace_back(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  }
  ConfigResult<CommandLine> line = ParseCommandLine(arguments);
  if (!line.has_value()) {
    CHECK(!line.error().empty());
    CHECK(!ToText(line.error()).empty() && !ToJson(line.error()).empty());
    return 0;
  }
  if (line->action == CommandLine::Action::kHelp || line->action == CommandLine::Action::kVersion) return 0;
  CheckMemoryMap(line->config);
  CHECK(!DescribeMachine(line->config).empty() && !DescribeMachineJson(line->config).empty());
  // Bytes that are not UTF-8 are replaced in JSON, which may make two names equal: only the form must be
  // sound.
  std::string json = ConfigToJson(line->config);
  ConfigResult<VmConfig> again = ConfigFromJson(json);
  CHECK(again.has_value() || json.find("\xef\xbf\xbd") != std::string::npos);
  CHECK(!again.has_value() || ConfigToJson(*again) == json);
  return 0;
}
