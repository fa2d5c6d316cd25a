#pragma once

#include <dirent.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "common/file.h"
#include "compute-agent/instances/reconciler.h"
#include "tests/compute-agent/instances/claims.h"

namespace berth::agent {

// Placement as a folder, so that it outlives agents that are killed: claims/NAME holds "active WORDS" or
// "releasing WORDS" (WORDS: the kernel command line), status/NAME what was last reported.
class FilePlacement : public ClaimReporter {
 public:
  explicit FilePlacement(std::string folder) : folder_(std::move(folder)) {
    std::filesystem::create_directories(folder_ + "/claims");
    std::filesystem::create_directories(folder_ + "/status");
  }

  void Create(const std::string& name, const std::string& words) const {
    Put("claims/" + name, "active " + words);
  }
  void Release(const std::string& name) const {
    Result<std::string> text = ReadFile(folder_ + "/claims/" + name);
    if (text.has_value()) Put("claims/" + name, "releasing" + text->substr(text->find(' ')));
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
      placement::Claim claim = TestClaim(name, 1, uint64_t{1} << 20);
      if (text->starts_with("releasing")) claim.phase = placement::ClaimPhase::kReleasing;
      claim.spec.cmdline = text->substr(text->find(' ') + 1);
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
  Status RestoreClaim(const std::string&) override { return Unimplemented("this one keeps no claims"); }
  Status FinalizeClaim(const Uuid& consumer) override {
    std::string name = NameOf(consumer);
    if (name.empty()) return NotFound("no such claim");
    std::filesystem::remove(folder_ + "/status/" + name);
    std::filesystem::remove(folder_ + "/claims/" + name);
    return OkStatus();
  }

 private:
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
