#include "vmm/jail/confinement.h"

#include <memory>
#include <string>
#include <utility>

namespace berth::vmm {

Status Confinement::Enter(const VmConfig& config, bool restored, const Elsewhere& elsewhere) {
  if (!entered() && !always_ && !config.landlock.enable) return OkStatus();
  std::vector<PathRule> rules = LandlockRules(config, restored);
  if (entered()) {
    std::string names;
    for (const std::string& path : PathsOutside(rules, in_force_))
      names += (names.empty() ? "" : ", ") + path;
    if (names.empty()) return OkStatus();
    return FailedPrecondition("this process has confined itself to other files than " + names,
                              "landlock_enable",
                              "start another berth-vmm for this VM, or let this one's rules name them");
  }
  rules.insert(rules.end(), of_process_.begin(), of_process_.end());
  TRY_ASSIGN(LandlockRuleset built, LandlockRuleset::Build(rules));
  // The other thread may outlive a wait for it that is given up.
  auto ruleset = std::make_shared<LandlockRuleset>(std::move(built));
  TRY(elsewhere([ruleset] { return ruleset->Restrict(); }));
  TRY(ruleset->Restrict());
  in_force_ = std::move(rules);
  return OkStatus();
}

}  // namespace berth::vmm
