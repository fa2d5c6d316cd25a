#pragma once

#include <dirent.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/file.h"
#include "compute-agent/instances/reconciler.h"
#include "tests/compute-agent/instances/claims.h"

namespace berth::agent {

// Placement as a folder, so that it outlives agents that are killed: claims/NAME holds "active WORDS" or
// "releasing WORDS" (WORDS: the kernel command line), or of a claim that is reserved for the move of INSTANCE
// and was exchanged with its own "reserved INSTANCE" or "unreserving INSTANCE"; status/NAME what was last
// reported, actions/NAME "stop", "start", "pause", "reboot", "attach PATH" or "detach" (of the disk "data")
// until the agent has it on record.
class FilePlacement : public ClaimReporter {
 public:
  explicit FilePlacement(std::string folder) : folder_(std::move(folder)) {
    std::filesystem::create_directories(folder_ + "/claims");
    std::filesystem::create_directories(folder_ + "/status");
    std::filesystem::create_directories(folder_ + "/actions");
  }

  void Create(const std::string& name, const std::string& words) const {
    Put("claims/" + name, "active " + words);
  }
  void Release(const std::string& name) const {
    Result<std::string> text = ReadFile(folder_ + "/claims/" + name);
    if (text.has_value()) Put("claims/" + name, "releasing" + text->substr(text->find(' ')));
  }
  // The claim of the move of `name`, which holds what the instance had here before.
  void Reserve(const std::string& name, bool releasing) const {
    Put("claims/" + name + "-move", (releasing ? "unreserving " : "reserved ") + name);
  }
  // The instance's claim is on another host now.
  void TakeAway(const std::string& name) const {
    std::filesystem::remove(folder_ + "/claims/" + name);
    std::filesystem::remove(folder_ + "/status/" + name);
  }
  void Ask(const std::string& name, const std::string& action) const { Put("actions/" + name, action); }
  bool Asked(const std::string& name) const { return std::filesystem::exists(folder_ + "/actions/" + name); }
  // Hands what is asked for to the agent.
  void PassActions(Reconciler& reconciler) const {
    for (const std::string& name : Names()) {
      Result<std::string> action = ReadFile(folder_ + "/actions/" + name);
      if (!action.has_value()) continue;
      if (Pass(reconciler, TestClaim(name, 1, 1).consumer, *action).ok())
        std::filesystem::remove(folder_ + "/actions/" + name);
    }
  }
  std::string StatusOf(const std::string& name) const {
    return ReadFile(folder_ + "/status/" + name).value_or("");
  }
  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder_ + "/claims")) {
      std::string name = entry.path().filename();
      if (name.find('.') == std::string::npos) names.push_back(name);
    }
    return names;
  }

  std::vector<placement::Claim> Claims() const {
    std::vector<placement::Claim> claims;
    for (const std::string& name : Names()) {
      Result<std::string> text = ReadFile(folder_ + "/claims/" + name);
      if (!text.has_value()) continue;
      placement::Claim claim = TestClaim(name, 1, uint64_t{2} << 20);
      const std::string words = text->substr(text->find(' ') + 1);
      if (text->starts_with("releasing") || text->starts_with("unreserving"))
        claim.phase = placement::ClaimPhase::kReleasing;
      if (text->starts_with("reserved") || text->starts_with("unreserving")) {
        claim.reserved_for = TestClaim(words, 1, 1).consumer;
        claim.swapped = true;
      } else {
        claim.spec.cmdline = words;
      }
      claims.push_back(std::move(claim));
    }
    return claims;
  }

  Status ReportStatus(const Uuid& consumer, const placement::InstanceStatus& status) override {
    std::string name = NameOf(consumer);
    if (name.empty()) return NotFound("no such claim");
    Put("status/" + name, std::string(placement::InstanceStateName(status.state)) + " " + status.detail);
    return OkStatus();
  }
  Status DropDevice(const Uuid&, const PciAddress&) override {
    return Unimplemented("its claims have no devices");
  }
  Status RestoreClaim(const std::string&) override { return Unimplemented("this one keeps no claims"); }
  Status FinalizeClaim(const Uuid& consumer) override {
    std::string name = NameOf(consumer);
    if (name.empty()) return NotFound("no such claim");
    std::filesystem::remove(folder_ + "/status/" + name);
    std::filesystem::remove(folder_ + "/claims/" + name);
    return OkStatus();
  }

 private:
  static Status Pass(Reconciler& reconciler, const Uuid& consumer, const std::string& action) {
    constexpr std::string_view kAttach = "attach ";
    if (action.starts_with(kAttach))
      return reconciler.AttachDisk(consumer,
                                   {"data", action.substr(kAttach.size()), false, false, "", false});
    if (action == "detach") {
      // Asked again because the agent was killed before it could answer: the disk may have left meanwhile.
      Status detached = reconciler.DetachDisk(consumer, "data");
      return detached.code() == StatusCode::kNotFound && detached.field() == "disk" ? OkStatus() : detached;
    }
    return reconciler.Act(consumer, action == "stop"     ? Action::kStop
                                    : action == "pause"  ? Action::kPause
                                    : action == "reboot" ? Action::kReboot
                                                         : Action::kStart);
  }
  std::string NameOf(const Uuid& consumer) const {
    for (const std::string& name : Names()) {
      if (TestClaim(name, 1, 1).consumer == consumer) return name;
    }
    return {};
  }
  // Complete or not at all; the test needs no durability.
  void Put(const std::string& name, const std::string& text) const {
    std::string path = folder_ + "/" + name;
    std::string temporary = path + ".tmp" + std::to_string(::getpid());
    if (FILE* file = std::fopen(temporary.c_str(), "w")) {
      std::fwrite(text.data(), 1, text.size(), file);
      std::fclose(file);
      std::filesystem::rename(temporary, path);
    }
  }

  std::string folder_;
};

}  // namespace berth::agent
