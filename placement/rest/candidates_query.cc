#include "placement/rest/candidates_query.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "placement/rest/text.h"

namespace berth::placement::rest {
namespace {

using Checked = tl::expected<void, ApiError>;

// The groups by suffix, in the order in which the suffixes came.
class Groups {
 public:
  explicit Groups(const Query& query, Microversion version) : query_(query), version_(version) {}

  Checked Parse() {
    for (const auto& [key, value] : query_.parameters()) {
      for (std::string_view kind : {"resources", "required", "member_of", "in_tree"}) {
        if (!key.starts_with(kind)) continue;
        std::string_view suffix = std::string_view(key).substr(kind.size());
        bool ours = suffix.empty() || (version_.At(33) ? IsNamedSuffix(suffix) : IsNumberedSuffix(suffix));
        // Those that may come several times are read all at once.
        const bool together = kind == "required" || kind == "member_of";
        if (!ours || (together && !read_.insert(key).second)) continue;
        if (Checked done = Add(kind, suffix, value); !done) return done;
      }
    }
    return {};
  }
  std::vector<RequestGroup>& all() { return groups_; }
  bool Has(std::string_view suffix) const {
    return std::any_of(groups_.begin(), groups_.end(),
                       [&](const RequestGroup& g) { return g.suffix == suffix; });
  }

 private:
  RequestGroup& At(std::string_view suffix) {
    for (RequestGroup& group : groups_) {
      if (group.suffix == suffix) return group;
    }
    groups_.push_back({.suffix = std::string(suffix), .resources = {}, .filter = {}});
    return groups_.back();
  }

  Checked Add(std::string_view kind, std::string_view suffix, const std::string& value) {
    RequestGroup& group = At(suffix);
    if (kind == "resources") {
      auto resources = ParseResources(value);
      if (!resources) return tl::unexpected(resources.error());
      group.resources = *std::move(resources);
    } else if (kind == "required") {
      auto traits = ParseRequired(query_, suffix, version_);
      if (!traits) return tl::unexpected(traits.error());
      group.filter.required_traits = std::move(traits->required);
      group.filter.forbidden_traits = std::move(traits->forbidden);
    } else if (kind == "member_of") {
      auto aggregates = ParseMemberOf(query_, suffix, version_);
      if (!aggregates) return tl::unexpected(aggregates.error());
      group.filter.member_of = std::move(aggregates->required);
      group.filter.forbidden_aggregates = std::move(aggregates->forbidden);
    } else {
      auto tree = ParseInTree(value);
      if (!tree) return tl::unexpected(tree.error());
      group.filter.in_tree = *tree;
    }
    return {};
  }

  const Query& query_;
  Microversion version_;
  std::vector<RequestGroup> groups_;
  std::set<std::string_view> read_;  // keys
};

// Before 1.36: whatever a group says, it says about resources.
Checked CheckOrphans(const std::vector<RequestGroup>& groups) {
  std::vector<std::string> orphans;
  for (const RequestGroup& group : groups) {
    if (group.resources.empty() && !group.filter.required_traits.empty()) {
      orphans.push_back("required" + group.suffix);
    }
  }
  if (!orphans.empty()) {
    return tl::unexpected(BadRequest(
        "All traits parameters must be associated with resources.  Found the following orphaned traits "
        "keys: " +
        Join(orphans, ", ")));
  }
  for (const RequestGroup& group : groups) {
    if (group.resources.empty() &&
        (!group.filter.member_of.empty() || !group.filter.forbidden_aggregates.empty())) {
      orphans.push_back("member_of" + group.suffix);
    }
  }
  if (!orphans.empty()) {
    return tl::unexpected(
        BadRequest("All member_of parameters must be associated with resources. Found the following orphaned "
                   "member_of keys: " +
                   Join(orphans, ", ")));
  }
  if (std::any_of(groups.begin(), groups.end(), [](const RequestGroup& g) { return g.resources.empty(); })) {
    return tl::unexpected(BadRequest("All request groups must specify resources."));
  }
  if (groups.empty()) {
    return tl::unexpected(
        BadRequest("At least one request group (`resources` or `resources{$S}`) is required."));
  }
  return {};
}

// From 1.36 on: groups without resources are for same_subtree only.
Checked CheckSubtrees(const Groups& found, const std::vector<RequestGroup>& groups,
                      const std::vector<std::vector<std::string>>& subtrees) {
  std::vector<std::string> named, without, suffixes;
  for (const auto& subtree : subtrees) named.insert(named.end(), subtree.begin(), subtree.end());
  for (const RequestGroup& group : groups) {
    suffixes.push_back(group.suffix);
    if (group.resources.empty()) without.push_back(group.suffix);
  }
  if (without.size() == groups.size()) {
    return tl::unexpected(
        BadRequest("There must be at least one resources or resources[$S] parameter.", kQueryMissingValue));
  }
  std::vector<std::string> bad;
  for (const std::string& suffix : without) {
    if (std::find(named.begin(), named.end(), suffix) == named.end()) bad.push_back(suffix);
  }
  if (!bad.empty()) {
    return tl::unexpected(
        BadRequest("Resourceless suffixed group request should be specified in `same_subtree` query param: "
                   "bad group(s) - " +
                       PythonRepr(bad) + ".",
                   kQueryBadValue));
  }
  for (const std::string& suffix : named) {
    if (!found.Has(suffix) && std::find(bad.begin(), bad.end(), suffix) == bad.end()) bad.push_back(suffix);
  }
  if (!bad.empty()) {
    return tl::unexpected(BadRequest("Real suffixes should be specified in `same_subtree`: " +
                                         PythonRepr(bad) + " not found in " + PythonRepr(suffixes) + ".",
                                     kQueryBadValue));
  }
  return {};
}

Checked CheckConflicts(const std::vector<RequestGroup>& groups) {
  std::vector<std::string> conflicts;
  for (const RequestGroup& group : groups) {
    const auto& forbidden = group.filter.forbidden_traits;
    for (std::vector<std::string> any : group.filter.required_traits) {
      if (!std::all_of(any.begin(), any.end(), [&](const std::string& trait) {
            return std::find(forbidden.begin(), forbidden.end(), trait) != forbidden.end();
          })) {
        continue;
      }
      std::sort(any.begin(), any.end());
      conflicts.push_back("required" + group.suffix + ": (" + Join(any, ", ") + ")");
    }
  }
  if (conflicts.empty()) return {};
  std::sort(conflicts.begin(), conflicts.end());
  return tl::unexpected(
      BadRequest("Conflicting required and forbidden traits found in the following traits keys: " +
                 Join(conflicts, ", ")));
}

Checked ParseRootRequired(const Query& query, CandidatesRequest& request) {
  std::vector<std::string> values = query.All("root_required");
  if (values.empty()) return {};
  if (values.size() > 1) {
    return tl::unexpected(
        BadRequest("Query parameter 'root_required' may be specified only once.", kQueryDuplicateKey));
  }
  auto traits = ParseTraits(values[0], true, false);
  if (!traits) return tl::unexpected(traits.error());
  std::vector<std::string> conflicts;
  for (const auto& any : traits->required) {
    const std::string& trait = any[0];
    if (std::find(traits->forbidden.begin(), traits->forbidden.end(), trait) != traits->forbidden.end()) {
      conflicts.push_back(trait);
    }
    request.root_required.push_back(trait);
  }
  request.root_forbidden = std::move(traits->forbidden);
  if (conflicts.empty()) return {};
  return tl::unexpected(
      BadRequest("Conflicting required and forbidden traits found in root_required: " + Join(conflicts, ", "),
                 kQueryBadValue));
}

Checked ParseSameSubtrees(const Query& query, CandidatesRequest& request) {
  for (const std::string& value : query.All("same_subtree")) {
    std::vector<std::string> suffixes;
    for (std::string_view part : Split(value, ',')) {
      std::string suffix(Strip(part));
      if (suffix.empty()) {
        return tl::unexpected(BadRequest(
            "Empty string (unsuffixed group) can not be specified in `same_subtree` ", kQueryBadValue));
      }
      if (std::find(suffixes.begin(), suffixes.end(), suffix) == suffixes.end()) suffixes.push_back(suffix);
    }
    request.same_subtrees.push_back(std::move(suffixes));
  }
  return {};
}

// The schema has seen that the last one is a number; the API takes the first.
std::optional<uint32_t> ParseLimit(const Query& query) {
  std::vector<std::string> values = query.All("limit");
  if (values.empty()) return std::nullopt;
  uint32_t limit = 0;
  const std::string& text = values[0];
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), limit);
  if (error == std::errc::result_out_of_range) return std::nullopt;  // larger than any answer
  return limit;
}

}  // namespace

tl::expected<CandidatesRequest, ApiError> ParseCandidatesQuery(const Query& query, Microversion version) {
  CandidatesRequest request;
  request.limit = ParseLimit(query);
  if (request.limit == 0u) {
    return tl::unexpected(BadRequest("Invalid query string parameters: limit must be a positive number"));
  }
  std::vector<std::string> policies = query.All("group_policy");
  if (!policies.empty() && policies[0] == "isolate") request.group_policy = GroupPolicy::kIsolate;
  if (Checked done = ParseRootRequired(query, request); !done) return tl::unexpected(done.error());
  if (Checked done = ParseSameSubtrees(query, request); !done) return tl::unexpected(done.error());

  Groups groups(query, version);
  if (Checked done = groups.Parse(); !done) return tl::unexpected(done.error());
  Checked checked = version.At(36) ? CheckSubtrees(groups, groups.all(), request.same_subtrees)
                                   : CheckOrphans(groups.all());
  if (checked && version.At(22)) checked = CheckConflicts(groups.all());
  if (!checked) return tl::unexpected(checked.error());
  auto suffixed = std::count_if(groups.all().begin(), groups.all().end(),
                                [](const RequestGroup& group) { return !group.suffix.empty(); });
  if (policies.empty() && suffixed > 1) {
    return tl::unexpected(BadRequest(
        "The \"group_policy\" parameter is required when specifying more than one \"resources{N}\" "
        "parameter."));
  }
  request.groups = std::move(groups.all());
  request.nested_aware = version.At(29);
  return request;
}

}  // namespace berth::placement::rest
