#include "cli/place_options.h"

#include <charconv>
#include <string_view>

namespace berth::cli {
namespace {

constexpr uint32_t kMostPerHost = 1024;

Result<v1::GroupPolicy> ParsePolicy(std::string_view text) {
  for (v1::GroupPolicy policy : {v1::GROUP_POLICY_AFFINITY, v1::GROUP_POLICY_ANTI_AFFINITY,
                                 v1::GROUP_POLICY_SOFT_AFFINITY, v1::GROUP_POLICY_SOFT_ANTI_AFFINITY}) {
    if (text == GroupPolicyText(policy)) return policy;
  }
  return InvalidArgument("policy \"" + std::string(text) + "\" is unknown", "group",
                         "affinity, anti-affinity, soft-affinity or soft-anti-affinity");
}

Result<v1::ServerGroup> ParseGroup(std::string_view text) {
  v1::ServerGroup group;
  size_t colon = text.find(':');
  group.set_name(std::string(text.substr(0, colon)));
  if (group.name().empty()) return InvalidArgument("the group has no name", "group", "NAME[:POLICY[:MAX]]");
  if (colon == std::string_view::npos) return group;
  text.remove_prefix(colon + 1);
  colon = text.find(':');
  TRY_ASSIGN(v1::GroupPolicy policy, ParsePolicy(text.substr(0, colon)));
  group.set_policy(policy);
  if (colon == std::string_view::npos) return group;
  text.remove_prefix(colon + 1);
  uint32_t most = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), most);
  if (error != std::errc() || end != text.data() + text.size() || most < 1 || most > kMostPerHost) {
    return InvalidArgument("\"" + std::string(text) + "\" must be 1 to " + std::to_string(kMostPerHost),
                           "group", "NAME:POLICY:MAX, with MAX members on a host");
  }
  group.set_max_per_host(most);
  return group;
}

}  // namespace

std::string GroupPolicyText(v1::GroupPolicy policy) {
  switch (policy) {
    case v1::GROUP_POLICY_AFFINITY:
      return "affinity";
    case v1::GROUP_POLICY_ANTI_AFFINITY:
      return "anti-affinity";
    case v1::GROUP_POLICY_SOFT_AFFINITY:
      return "soft-affinity";
    case v1::GROUP_POLICY_SOFT_ANTI_AFFINITY:
      return "soft-anti-affinity";
    default:
      return "";
  }
}

void PlaceOptions::AddTo(CLI::App& verb) {
  verb.add_option(
          "--group", group,
          "Server group: NAME, with the policy of the members that are there, or NAME:POLICY[:MAX] with "
          "policy affinity, anti-affinity, soft-affinity, soft-anti-affinity")
      ->type_name("GROUP");
  verb.add_option("--same-host", same_host, "On the host of this instance, or of one of these; repeatable")
      ->type_name("INSTANCE")
      ->allow_extra_args(false);
  verb.add_option("--different-host", different_host, "Not on the host of this instance; repeatable")
      ->type_name("INSTANCE")
      ->allow_extra_args(false);
  verb.add_option("--availability-zone", availability_zone, "Only in this zone")->type_name("ZONE");
  verb.add_option("--project", project, "Of this tenant, for aggregates that are isolated")
      ->type_name("PROJECT");
}

Status PlaceOptions::Fill(v1::CreateInstanceRequest& request) const {
  if (!group.empty()) {
    TRY_ASSIGN(*request.mutable_group(), ParseGroup(group));
  }
  for (const std::string& instance : same_host) request.add_same_host(instance);
  for (const std::string& instance : different_host) request.add_different_host(instance);
  request.set_availability_zone(availability_zone);
  request.set_project(project);
  return OkStatus();
}

}  // namespace berth::cli
