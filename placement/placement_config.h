#pragma once

#include <string>
#include <string_view>

#include "common/status.h"
#include "placement/rest_front.h"
#include "placement/server.h"

namespace berth::placement {

// All that berth-placement can be told, with its defaults.
struct PlacementConfig {
  std::string grpc_listen = "127.0.0.1:7701";
  PlacementServer::Options placement{.store = "sqlite:placement.db"};
  RestFront::Options rest;
  std::string log_level = "info";
};

// The YAML form (docs/placement-api.md has an example). Unknown keys are refused with the nearest known one;
// all errors are told at once.
Result<PlacementConfig> ParsePlacementConfig(std::string_view text, std::string_view name);
Result<PlacementConfig> ReadPlacementConfig(const std::string& path);

// What the start would refuse: addresses, the store's name, files of tokens and rules, Keystone. Opens no
// socket and makes no file. All errors at once, each with its option.
Status CheckPlacementConfig(const PlacementConfig& config);

}  // namespace berth::placement
