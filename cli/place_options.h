#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "berth/v1/scheduler.pb.h"
#include "common/status.h"

namespace berth::cli {

// Where an instance may go because of other instances, zones and tenants: options that several verbs share.
struct PlaceOptions {
  std::string group;  // NAME, NAME:POLICY or NAME:POLICY:MAX
  std::vector<std::string> same_host;
  std::vector<std::string> different_host;
  std::string availability_zone;
  std::string project;

  void AddTo(CLI::App& verb);
  // Errors: kInvalidArgument, "group".
  Status Fill(v1::CreateInstanceRequest& request) const;
};

// "anti-affinity"; "" of no policy.
std::string GroupPolicyText(v1::GroupPolicy policy);

}  // namespace berth::cli
