#include "scheduler/filters/host_facts.h"

#include <algorithm>

#include "placement/model/names.h"

namespace berth::scheduler {
const std::string* Aggregate::Find(std::string_view key) const {
  for (const auto& [own, value] : metadata) {
    if (own == key) return &value;
  }
  return nullptr;
}

bool HostFacts::HasTrait(std::string_view name) const {
  return std::binary_search(traits.begin(), traits.end(), name);
}

HostFactsPtr FactsTable::Of(std::string_view host_name, std::vector<std::string> traits,
                            const std::vector<Uuid>& aggregates) {
  auto facts = std::make_shared<HostFacts>();
  std::sort(traits.begin(), traits.end());
  traits.erase(std::unique(traits.begin(), traits.end()), traits.end());
  facts->traits = std::move(traits);
  facts->enabled = !facts->HasTrait(placement::kHostDisabledTrait);
  facts->availability_zone = default_zone_;
  // A line break is in no trait's name; aggregates go by their place in the configuration.
  std::string key;
  for (const std::string& trait : facts->traits) key += trait + "\n";
  bool zone_known = false;
  for (size_t i = 0; i < aggregates_.size(); ++i) {
    const Aggregate& one = aggregates_[i];
    bool named =
        !one.uuid.is_nil() && std::find(aggregates.begin(), aggregates.end(), one.uuid) != aggregates.end();
    bool in = named || std::any_of(one.hosts.begin(), one.hosts.end(), [&](const std::string& pattern) {
                return MatchesPattern(host_name, pattern);
              });
    if (!in) continue;
    facts->aggregates.push_back(&one);
    key += "\n" + std::to_string(i);
    if (zone_known || one.availability_zone.empty()) continue;
    facts->availability_zone = one.availability_zone;
    zone_known = true;
  }
  std::lock_guard lock(mutex_);
  auto [at, fresh] = known_.try_emplace(std::move(key));
  if (fresh) {
    facts->number = static_cast<uint32_t>(known_.size());
    at->second = std::move(facts);
  }
  return at->second;
}

bool MatchesPattern(std::string_view text, std::string_view pattern) {
  size_t at = 0;
  size_t in = 0;
  size_t star = std::string_view::npos;
  size_t back = 0;
  while (at < text.size()) {
    if (in < pattern.size() && pattern[in] == '*') {
      star = in++;
      back = at;
    } else if (in < pattern.size() && pattern[in] == text[at]) {
      ++in;
      ++at;
    } else if (star != std::string_view::npos) {
      in = star + 1;
      at = ++back;
    } else {
      return false;
    }
  }
  while (in < pattern.size() && pattern[in] == '*') ++in;
  return in == pattern.size();
}

}  // namespace berth::scheduler
