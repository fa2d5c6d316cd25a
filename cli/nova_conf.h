#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/output.h"
#include "common/status.h"

namespace berth::cli {

// What of a nova.conf tells which PCI devices may be handed out and how they are asked for.
struct NovaConf {
  Json device_spec = Json::array();  // entries for the agent's configuration
  Json aliases = Json::array();      // entries for the catalogue
  std::vector<std::string> notes;    // what the operator should know: "FILE:LINE: ..."
};

// Reads a nova.conf (oslo.config's form of INI) and takes over
//   [pci]      device_spec, passthrough_whitelist (its name until Zed), alias
//   [DEFAULT]  pci_passthrough_whitelist, pci_alias (names until Ocata)
// Everything is checked as the agent and the scheduler will check it. All errors are told at once, each with
// file, line and key; kInvalidArgument. Pure.
Result<NovaConf> ConvertNovaConf(std::string_view text, const std::string& name);

}  // namespace berth::cli
