#include <algorithm>
#include <utility>

#include "scheduler/request/resolve.h"

namespace berth::scheduler {
namespace {

constexpr size_t kMaxGroups = 8;

std::string_view Strip(std::string_view text) {
  size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

Status Bad(const std::string& message) {
  return InvalidArgument("InvalidInput: " + message, "extra_specs.berth:same_domain",
                         "the form is \"KIND:NAME+NAME,KIND:NAME\", for example \"switch:gpu+nic\"");
}

// "gpu+nic": every request of these names.
Result<uint64_t> RequestsOf(std::string_view names, const std::vector<PciRequest>& pci) {
  uint64_t mask = 0;
  while (true) {
    size_t plus = names.find('+');
    std::string_view name = Strip(names.substr(0, plus));
    uint64_t named = 0;
    for (size_t r = 0; r < pci.size() && r < 64; ++r) {
      if (pci[r].name == name) named |= uint64_t{1} << r;
    }
    if (named == 0) {
      return Bad("\"" + std::string(name) + "\" is neither an alias of pci_passthrough:alias nor a port");
    }
    mask |= named;
    if (plus == std::string_view::npos) return mask;
    names.remove_prefix(plus + 1);
  }
}

}  // namespace

Result<std::vector<DomainGroup>> ResolveDomains(const Flavor& flavor, const std::vector<PciRequest>& pci) {
  std::vector<DomainGroup> groups;
  auto found = flavor.extra_specs.find("berth:same_domain");
  if (found == flavor.extra_specs.end()) return groups;
  std::string_view text = found->second;
  while (true) {
    size_t comma = text.find(',');
    std::string_view item = text.substr(0, comma);
    size_t colon = item.find(':');
    std::string kind(Strip(item.substr(0, colon)));
    if (colon == std::string_view::npos || kind.empty()) {
      return Bad("\"" + std::string(item) + "\" names no kind of domain");
    }
    TRY_ASSIGN(uint64_t requests, RequestsOf(item.substr(colon + 1), pci));
    groups.push_back({std::move(kind), requests});
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
  }
  if (groups.size() > kMaxGroups) {
    return Bad("names " + std::to_string(groups.size()) + " groups, at most " + std::to_string(kMaxGroups) +
               " are allowed");
  }
  std::sort(groups.begin(), groups.end(), [](const DomainGroup& a, const DomainGroup& b) {
    return std::pair(a.kind, a.requests) < std::pair(b.kind, b.requests);
  });
  groups.erase(std::unique(groups.begin(), groups.end()), groups.end());
  return groups;
}

}  // namespace berth::scheduler
