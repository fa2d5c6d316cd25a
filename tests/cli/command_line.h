#pragma once

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "cli/berthctl.h"
#include "common/file.h"

namespace berth::cli {

// What one command printed and returned.
struct Outcome {
  int status = -1;
  std::string out;
  std::string err;
};

inline Outcome RunCommand(std::vector<std::string> arguments) {
  std::ostringstream out;
  std::ostringstream err;
  Outcome outcome;
  outcome.status = RunBerthctl(std::move(arguments), Terminal{.out = out, .err = err});
  outcome.out = out.str();
  outcome.err = err.str();
  return outcome;
}

// The text of tests/cli/golden/NAME. With BERTH_UPDATE_GOLDEN set, `actual` is written there first: look at
// the difference before committing it.
inline std::string Golden(const std::string& name, const std::string& actual) {
  std::string path = BERTH_SOURCE_DIR "/tests/cli/golden/" + name;
  if (std::getenv("BERTH_UPDATE_GOLDEN") != nullptr) std::ofstream(path) << actual;
  return ReadFile(path).value_or("no file " + path);
}

}  // namespace berth::cli
