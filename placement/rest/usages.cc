#include <map>

#include "placement/rest/handlers.h"
#include "placement/rest/json_writer.h"
#include "placement/rest/schemas.h"

namespace berth::placement::rest {
namespace {

// What the consumers of one type (or of all) hold.
struct TypeUsage {
  uint64_t consumers = 0;
  std::map<ResourceClassId, int64_t> used;
};

void Add(TypeUsage& sum, const UsageGroup& group) {
  sum.consumers += group.consumers;
  for (const auto& [resource_class, amount] : group.used) sum.used[resource_class] += amount;
}

void WriteUsed(JsonWriter& json, const Call& call, const TypeUsage& usage) {
  for (const auto& [id, amount] : usage.used) json.Key(call.view->resource_classes().name(id)).Int(amount);
}

// The groups that the query asks for, by the name under which the answer tells them. Before 1.38 all is one.
std::map<std::string, TypeUsage> Collect(const Call& call, const std::string& project_name) {
  std::map<std::string, TypeUsage> types;
  const ResourceView& view = *call.view;
  std::optional<ProjectId> project = view.projects().Find(project_name);
  if (!project) return types;
  std::optional<UserId> user;
  if (std::optional<std::string> name = call.query.Last("user_id")) {
    user = view.users().Find(*name);
    if (!user) return types;
  }
  std::string type = call.version.At(38) ? call.query.Last("consumer_type").value_or("") : "all";
  view.ForEachUsage(*project, user, [&](const UsageGroup& group) {
    const std::string& own = view.consumer_types().name(group.type);
    if (type.empty() || type == own) {
      Add(types[own], group);
    } else if (type == "all") {
      Add(types["all"], group);
    }
  });
  return types;
}

}  // namespace

Answer GetProviderUsages(const Call& call) {
  ProviderRef provider = FindProviderInPath(call);
  if (!provider) {
    std::string text = "No resource provider with uuid " + call.path[0] + " found";
    return NotFoundError(text + ": " + text);
  }
  auto inventories = provider.tree->inventories(provider.index);
  auto used = provider.tree->used(provider.index);
  JsonWriter json;
  json.BeginObject();
  json.Key("resource_provider_generation").Int(static_cast<int64_t>(provider.generation()));
  json.Key("usages").BeginObject();
  for (size_t i = 0; i < inventories.size(); ++i) {
    json.Key(call.view->resource_classes().name(inventories[i].resource_class)).Int(used[i]);
  }
  json.EndObject().EndObject();
  return JsonAnswer(call, std::move(json).Take());
}

Answer GetUsages(const Call& call) {
  std::string project = call.query.Last("project_id").value_or("");
  constexpr std::string_view kRule = "placement:usages";
  if (!call.policy->Allows(kRule, call.identity, {.project_id = project, .user_id = call.identity.user_id})) {
    return Forbidden(kRule);
  }
  if (auto valid = call.query.Check(UsagesSchema(call.version)); !valid) return valid.error();
  JsonWriter json;
  json.BeginObject().Key("usages").BeginObject();
  for (const auto& [type, usage] : Collect(call, project)) {
    if (!call.version.At(38)) {
      WriteUsed(json, call, usage);
      continue;
    }
    json.Key(type).BeginObject();
    WriteUsed(json, call, usage);
    json.Key("consumer_count").Int(static_cast<int64_t>(usage.consumers));
    json.EndObject();
  }
  json.EndObject().EndObject();
  return JsonAnswer(call, std::move(json).Take());
}

}  // namespace berth::placement::rest
