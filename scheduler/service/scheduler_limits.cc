#include <algorithm>
#include <map>
#include <utility>

#include "scheduler/service/scheduler.h"

// What a request says of other instances: server groups, same and different hosts.
namespace berth::scheduler {
namespace {

using placement::ServerGroupPolicy;
using placement::ServerGroupPolicyName;

void SortUnique(std::vector<size_t>& slots) {
  std::sort(slots.begin(), slots.end());
  slots.erase(std::unique(slots.begin(), slots.end()), slots.end());
}

// Both at once.
HostLimits Meet(const HostLimits& a, const HostLimits& b) {
  HostLimits out = a.code.empty() ? b : a;
  out.only.reset();
  if (a.only && b.only) {
    out.only.emplace();
    std::set_intersection(a.only->begin(), a.only->end(), b.only->begin(), b.only->end(),
                          std::back_inserter(*out.only));
  } else if (a.only || b.only) {
    out.only = a.only ? a.only : b.only;
  }
  out.excluded = a.excluded;
  out.excluded.insert(out.excluded.end(), b.excluded.begin(), b.excluded.end());
  SortUnique(out.excluded);
  return out;
}

HostLimits Group(const std::string& name, ServerGroupPolicy policy) {
  HostLimits out;
  out.code = "server_group";
  out.text = "server group \"" + name + "\" with policy " + ServerGroupPolicyName(policy) +
             " does not allow the host";
  return out;
}

// Slots of a group's members by how many a host has.
std::map<uint32_t, std::vector<size_t>> ByCount(const Mirror::Group& group, const Mirror::Located& located) {
  std::map<uint32_t, std::vector<size_t>> out;
  for (const auto& [host, count] : group.hosts) {
    auto slot = located.slots.find(host);
    if (slot != located.slots.end()) out[count].push_back(slot->second);
  }
  for (auto& [count, slots] : out) SortUnique(slots);
  return out;
}

// One step of a group's wish after another, the best first; one of a promise.
std::vector<HostLimits> StepsOf(const placement::ServerGroup& rules, const Mirror::Group& group,
                                const Mirror::Located& located) {
  auto by_count = ByCount(group, located);
  HostLimits limits = Group(rules.name, rules.policy);
  std::vector<HostLimits> steps;
  switch (rules.policy) {
    case ServerGroupPolicy::kAffinity:
      limits.only.emplace();
      for (const auto& [count, slots] : by_count)
        limits.only->insert(limits.only->end(), slots.begin(), slots.end());
      SortUnique(*limits.only);
      return {limits};
    case ServerGroupPolicy::kAntiAffinity:
      for (const auto& [count, slots] : by_count) {
        if (count >= rules.max_per_host)
          limits.excluded.insert(limits.excluded.end(), slots.begin(), slots.end());
      }
      SortUnique(limits.excluded);
      return {limits};
    case ServerGroupPolicy::kSoftAffinity:
      for (auto it = by_count.rbegin(); it != by_count.rend(); ++it) {
        steps.push_back(limits);
        steps.back().only = it->second;
      }
      break;
    case ServerGroupPolicy::kSoftAntiAffinity:
      steps.push_back(limits);
      for (const auto& [count, slots] : by_count) {
        HostLimits& first = steps.front();
        first.excluded.insert(first.excluded.end(), slots.begin(), slots.end());
        steps.push_back(limits);
        steps.back().only = slots;
      }
      SortUnique(steps.front().excluded);
      break;
  }
  steps.emplace_back();  // a wish refuses nobody
  return steps;
}

}  // namespace

Result<std::optional<placement::ServerGroup>> Scheduler::GroupOf(const InstanceRequest& request) const {
  if (!request.group) return std::optional<placement::ServerGroup>();
  auto known = mirror_.FindGroup(request.group->name);
  if (!request.group_policy_given) {
    if (known) return std::optional(known->rules);
    return InvalidArgument("server group \"" + request.group->name + "\" has no members yet", "group.policy",
                           "name a policy: affinity, anti-affinity, soft-affinity, soft-anti-affinity");
  }
  if (known && known->rules != *request.group) {
    return InvalidArgument("server group \"" + request.group->name + "\" has policy " +
                               ServerGroupPolicyName(known->rules.policy) + " with max_per_host " +
                               std::to_string(known->rules.max_per_host) + ", asked is " +
                               ServerGroupPolicyName(request.group->policy) + " with " +
                               std::to_string(request.group->max_per_host),
                           "group", "a group has one policy; it is gone with its last member");
  }
  return std::optional(*request.group);
}

Result<std::vector<Uuid>> Scheduler::HostsOf(const std::vector<std::string>& instances,
                                             const char* field) const {
  std::vector<Uuid> hosts;
  for (const std::string& instance : instances) {
    auto found = mirror_.FindClaim(instance);
    if (!found) return NotFound("instance \"" + instance + "\" does not exist", field);
    hosts.push_back(found->claim->host);
  }
  return hosts;
}

Result<std::vector<HostLimits>> Scheduler::LimitsOf(const InstanceRequest& request,
                                                    const std::optional<placement::ServerGroup>& group,
                                                    std::shared_ptr<const Fleet>& fleet) const {
  TRY_ASSIGN(std::vector<Uuid> different, HostsOf(request.different_host, "different_host"));
  TRY_ASSIGN(std::vector<Uuid> same, HostsOf(request.same_host, "same_host"));
  std::optional<Mirror::Group> members;
  if (group) members = mirror_.FindGroup(group->name);
  if (!members && different.empty() && same.empty()) {
    fleet = mirror_.Snapshot();
    return std::vector<HostLimits>(1);
  }
  std::vector<Uuid> hosts = different;
  hosts.insert(hosts.end(), same.begin(), same.end());
  if (members) {
    for (const auto& [host, count] : members->hosts) hosts.push_back(host);
  }
  Mirror::Located located = mirror_.Locate(hosts);
  fleet = located.fleet;
  HostLimits hints;
  if (!same.empty()) {
    hints.code = "same_host";
    hints.text = "the host holds none of the instances that same_host names";
    hints.only.emplace();
    for (const Uuid& host : same) {
      if (located.slots.contains(host)) hints.only->push_back(located.slots.at(host));
    }
    SortUnique(*hints.only);
  }
  if (!different.empty()) {
    if (hints.code.empty()) {
      hints.code = "different_host";
      hints.text = "the host holds an instance that different_host names";
    }
    for (const Uuid& host : different) {
      if (located.slots.contains(host)) hints.excluded.push_back(located.slots.at(host));
    }
    SortUnique(hints.excluded);
  }
  if (!members) return std::vector<HostLimits>{hints};
  std::vector<HostLimits> steps = StepsOf(*group, *members, located);
  for (HostLimits& step : steps) step = Meet(step, hints);
  return steps;
}

Result<Decision> Scheduler::DecideOnce(const InstanceRequest& request, const RequestSpec& spec,
                                       const std::optional<placement::ServerGroup>& group,
                                       bool every_verdict) {
  if (policy_.settings.backoff_first_s > 0) mirror_.EndRests(clock_());
  std::shared_ptr<const Fleet> fleet;
  TRY_ASSIGN(std::vector<HostLimits> steps, LimitsOf(request, group, fleet));
  Decision decision;
  for (const HostLimits& limits : steps) {
    decision = request.host.empty() && !every_verdict
                   ? DecideByClass(candidates_, fleet, spec, &policy_, limits)
                   : Decide(*fleet, spec, request.host, every_verdict, &policy_, limits);
    if (decision.choice) break;
  }
  return decision;
}

Decision Scheduler::DecideMove(const placement::Claim& claim, const RequestSpec& spec,
                               const std::string& only, const Uuid& except) const {
  std::optional<Mirror::Group> members;
  if (claim.group) members = mirror_.FindGroup(claim.group->name);
  std::vector<Uuid> hosts;
  if (!except.is_nil()) hosts.push_back(except);
  if (members) {
    auto own = members->hosts.find(claim.host);
    if (own != members->hosts.end() && --own->second == 0) members->hosts.erase(own);
    for (const auto& [host, count] : members->hosts) hosts.push_back(host);
  }
  Mirror::Located located = mirror_.Locate(hosts);
  HostLimits away;
  if (located.slots.contains(except)) {
    away.code = "move";
    away.text = "the instance is to leave this host";
    away.excluded.push_back(located.slots.at(except));
  }
  std::vector<HostLimits> steps(1);
  if (members && !members->hosts.empty()) steps = StepsOf(*claim.group, *members, located);
  Decision decision;
  for (const HostLimits& step : steps) {
    decision = Decide(*located.fleet, spec, only, false, &policy_, Meet(step, away));
    if (decision.choice) break;
  }
  return decision;
}

Status Scheduler::RefreshGroup(const std::string& group) {
  TRY_ASSIGN(std::vector<placement::Claim> members, client_.ListGroup(group));
  std::vector<Uuid> hosts;
  for (const placement::Claim& member : members) hosts.push_back(member.host);
  std::sort(hosts.begin(), hosts.end());
  hosts.erase(std::unique(hosts.begin(), hosts.end()), hosts.end());
  auto known = mirror_.FindGroup(group);
  if (known) {
    for (const auto& [host, count] : known->hosts) hosts.push_back(host);
  }
  for (const Uuid& host : hosts) {
    auto state = client_.GetHost(host);
    if (state.has_value()) {
      mirror_.Refresh(host, *std::move(state));
    } else if (state.error().code() != StatusCode::kNotFound) {
      return state.error();
    }
  }
  return OkStatus();
}

}  // namespace berth::scheduler
