// nova.conf from any bytes: errors, or entries that agent and scheduler accept.
#include <cstdint>
#include <string_view>

#include "cli/nova_conf.h"
#include "compute-agent/devices/device_spec.h"
#include "scheduler/request/catalogue.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  berth::Result<berth::cli::NovaConf> conf = berth::cli::ConvertNovaConf(text, "fuzz");
  if (!conf.has_value()) return 0;
  auto agent = berth::ParseYaml(berth::cli::ToYamlText({{"device_spec", conf->device_spec}}), "agent");
  if (!agent.has_value()) __builtin_trap();
  if (!berth::agent::ParseDeviceSpec(*agent->Find("device_spec"), "device_spec").has_value())
    __builtin_trap();
  auto aliases = berth::cli::ToYamlText({{"aliases", conf->aliases}});
  if (!berth::scheduler::ParseCatalogue(aliases, "aliases").has_value()) __builtin_trap();
  return 0;
}
