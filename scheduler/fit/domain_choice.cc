#include "scheduler/fit/domain_choice.h"

#include <algorithm>
#include <bit>
#include <map>

#include "scheduler/fit/device_match.h"

namespace berth::scheduler {
namespace {

bool IsOfKind(const std::string& domain, const std::string& kind) {
  return domain.size() > kind.size() && domain[kind.size()] == ':' && domain.starts_with(kind);
}

// The device's domains of a kind that the agent need not name.
std::string ParentDomain(const FitDevice& device) {
  return std::string(kParentDomain) + ":" + device.parent.value_or(device.address).ToString();
}

// The domains that hold enough devices for each request of the group by itself.
std::vector<std::string> Candidates(const FitHost& host, const RequestSpec& spec, const DomainGroup& group) {
  std::map<std::string, std::vector<uint32_t>> counts;  // domain -> devices by request
  for (const FitDevice& device : host.devices) {
    uint64_t serves = ServableRequests(device, spec) & group.requests;
    if (serves == 0) continue;
    auto add = [&](const std::string& domain) {
      auto& count = counts[domain];
      count.resize(spec.pci.size());
      for (uint64_t left = serves; left != 0; left &= left - 1)
        ++count[static_cast<size_t>(std::countr_zero(left))];
    };
    if (group.kind == kParentDomain) {
      add(ParentDomain(device));
      continue;
    }
    for (const std::string& domain : device.domains) {
      if (IsOfKind(domain, group.kind)) add(domain);
    }
  }
  std::vector<std::string> out;
  for (const auto& [domain, count] : counts) {
    bool enough = true;
    for (uint64_t left = group.requests; left != 0; left &= left - 1) {
      auto r = static_cast<size_t>(std::countr_zero(left));
      enough = enough && count[r] >= spec.pci[r].count;
    }
    if (enough) out.push_back(domain);
  }
  return out;
}

}  // namespace

bool WantsOneParent(const RequestSpec& spec) {
  return spec.pci.size() == 1 && spec.domains.size() == 1 && spec.domains.front().requests == 1 &&
         spec.domains.front().kind == kParentDomain && !spec.isolate_groups;
}

std::vector<DomainChoice> ListDomainChoices(const FitHost& host, const RequestSpec& spec,
                                            StepBudget& budget) {
  std::vector<DomainChoice> choices = {{}};
  for (const DomainGroup& group : spec.domains) {
    std::vector<std::string> candidates = Candidates(host, spec, group);
    std::vector<DomainChoice> longer;
    if (!budget.Spend(host.devices.size() + choices.size() * candidates.size())) return {};
    for (const DomainChoice& choice : choices) {
      for (const std::string& candidate : candidates) {
        longer.push_back(choice);
        longer.back().push_back(candidate);
      }
    }
    choices = std::move(longer);
  }
  return choices;
}

uint64_t WithinDomains(const FitDevice& device, const RequestSpec& spec, const DomainChoice& choice,
                       uint64_t serves) {
  for (size_t g = 0; g < choice.size(); ++g) {
    bool member =
        spec.domains[g].kind == kParentDomain
            ? ParentDomain(device) == choice[g]
            : std::find(device.domains.begin(), device.domains.end(), choice[g]) != device.domains.end();
    if (!member) serves &= ~spec.domains[g].requests;
  }
  return serves;
}

}  // namespace berth::scheduler
