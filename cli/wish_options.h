#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "berth/v1/scheduler.pb.h"
#include "common/status.h"

namespace berth::cli {

// What an instance would ask for beside its flavor, as options that several verbs share.
struct WishOptions {
  std::vector<std::string> properties;
  std::vector<std::string> ports;

  void AddTo(CLI::App& verb);
  // Errors: kInvalidArgument, "image-property" or "port".
  Result<v1::Wish> Parse(const std::string& flavor) const;
};

}  // namespace berth::cli
