// vm.create's JSON. What is accepted must be written and read again as the same configuration.
#include <cstdint>
#include <string_view>

#include "common/status.h"
#include "vmm/config/json_config.h"
#include "vmm/config/resolved_machine.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace berth::vmm;
  ConfigResult<VmConfig> config = ConfigFromJson(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!config.has_value()) {
    CHECK(!config.error().empty() && !ToText(config.error()).empty() && !ToJson(config.error()).empty());
    return 0;
  }
  std::string json = ConfigToJson(*config);
  ConfigResult<VmConfig> again = ConfigFromJson(json);
  CHECK(again.has_value());
  CHECK(ConfigToJson(*again) == json);
  CHECK(!DescribeMachine(*config).empty());
  return 0;
}
