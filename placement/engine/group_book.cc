#include "placement/engine/group_book.h"

namespace berth::placement {
namespace {

std::string RulesOf(const ServerGroup& group) {
  std::string text = ServerGroupPolicyName(group.policy);
  if (group.policy == ServerGroupPolicy::kAntiAffinity)
    text += " with at most " + std::to_string(group.max_per_host) + " per host";
  return text;
}

}  // namespace

std::string GroupBook::KeyOf(const ServerGroup& group, const Uuid& host) {
  std::string key(reinterpret_cast<const char*>(host.bytes.data()), host.bytes.size());
  return key + group.name;
}

Status GroupBook::Check(const ServerGroup& group, const Uuid& host) const {
  const Group* known = groups_.Find(group.name);
  if (known == nullptr) return OkStatus();
  const std::string name = "server group \"" + group.name + "\"";
  if (known->rules != group) {
    return InvalidArgument(name + " has the policy " + RulesOf(known->rules) + ", asked is " + RulesOf(group),
                           "group", "a group has one policy; it is gone with its last member");
  }
  const uint32_t* found = on_hosts_.Find(KeyOf(group, host));
  const uint32_t here = found == nullptr ? 0 : *found;
  if (group.policy == ServerGroupPolicy::kAntiAffinity && here >= group.max_per_host) {
    return Status(StatusCode::kAborted,
                  name + " has " + std::to_string(here) + " members on host " + host.ToString() +
                      ", allowed are " + std::to_string(group.max_per_host),
                  "group");
  }
  if (group.policy == ServerGroupPolicy::kAffinity && here != known->members) {
    return Status(StatusCode::kAborted,
                  name + " has " + std::to_string(known->members - here) + " members on another host than " +
                      host.ToString(),
                  "group");
  }
  return OkStatus();
}

void GroupBook::Add(const ServerGroup& group, const Uuid& host) {
  const Group* known = groups_.Find(group.name);
  Group next = known == nullptr ? Group{group, 0} : *known;
  ++next.members;
  groups_.Put(group.name, std::move(next));
  const std::string key = KeyOf(group, host);
  const uint32_t* here = on_hosts_.Find(key);
  on_hosts_.Put(key, here == nullptr ? 1 : *here + 1);
}

void GroupBook::Remove(const ServerGroup& group, const Uuid& host) {
  const Group* known = groups_.Find(group.name);
  CHECK(known != nullptr);
  Group next = *known;
  if (--next.members == 0) {
    groups_.Erase(group.name);
  } else {
    groups_.Put(group.name, std::move(next));
  }
  const std::string key = KeyOf(group, host);
  const uint32_t* here = on_hosts_.Find(key);
  CHECK(here != nullptr);
  if (*here == 1) {
    on_hosts_.Erase(key);
  } else {
    on_hosts_.Put(key, *here - 1);
  }
}

void GroupBook::Commit() {
  groups_.Commit();
  on_hosts_.Commit();
}

void GroupBook::Rollback() {
  groups_.Rollback();
  on_hosts_.Rollback();
}

}  // namespace berth::placement
