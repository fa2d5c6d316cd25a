#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/error_list.h"

namespace berth::cli {

// One assignment of an oslo.config file. A key may come several times.
struct OsloOption {
  std::string section;
  std::string key;
  std::string value;  // continuation lines joined by line ends, quotes around the whole taken off
  int line = 0;       // where it begins
};

// Sections, "key = value" or "key: value", comment lines beginning with # or ;, continuation lines beginning
// with a blank. Lines that are none of these become errors with "NAME:LINE" as field; the others are
// returned.
std::vector<OsloOption> ParseOsloIni(std::string_view text, const std::string& name, ErrorList& errors);

}  // namespace berth::cli
