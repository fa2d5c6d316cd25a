#include <unistd.h>

#include <cerrno>

#include "vmm/jail/landlock.h"

namespace berth::vmm {

ConfigErrors MissingRulePaths(const std::vector<LandlockRule>& rules) {
  ConfigErrors errors;
  for (size_t i = 0; i < rules.size(); ++i) {
    if (::access(rules[i].path.c_str(), F_OK) == 0) continue;
    errors.push_back({"LandlockPathMissing", "landlock-rules[" + std::to_string(i) + "]", "path",
                      rules[i].path, ErrnoStatus("cannot be used", errno).message(),
                      "a file or a folder that exists", ""});
  }
  return errors;
}

}  // namespace berth::vmm
