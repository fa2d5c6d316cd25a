#include <algorithm>

#include "placement/rest/handlers.h"
#include "placement/rest/inventory_body.h"
#include "placement/rest/json_writer.h"
#include "placement/rest/schemas.h"

namespace berth::placement::rest {
namespace {

http::Response TraitsAnswer(const Call& call, const ProviderRef& provider) {
  JsonWriter json;
  uint64_t modified = 0;
  json.BeginObject().Key("traits").BeginArray();
  for (TraitId id : provider.tree->traits(provider.index)) {
    const auto& entry = call.view->traits().entry(id);
    json.String(entry.name);
    modified = std::max(modified, ModifiedAt(call, entry.created_at_ms, entry.updated_at_ms));
  }
  json.EndArray();
  json.Key("resource_provider_generation").Int(static_cast<int64_t>(provider.generation()));
  json.EndObject();
  return JsonAnswer(call, std::move(json).Take(), modified);
}

std::string NotFoundText(const Call& call) {
  return "No resource provider with uuid " + call.path[0] + " found";
}

}  // namespace

Answer GetProviderTraits(const Call& call) {
  ProviderRef provider = FindProviderInPath(call);
  if (!provider) return NotFoundError(NotFoundText(call) + ": " + NotFoundText(call));
  return TraitsAnswer(call, provider);
}

Answer PutProviderTraits(const Call& call) {
  auto body = ReadBody(call, ProviderTraitsSchema());
  if (!body) return body.error();
  ProviderRef provider = FindProviderInPath(call);
  if (!provider) return NotFoundError(NotFoundText(call));
  SetTraits command{.provider = provider.uuid(),
                    .generation = ReadGeneration((*body)["resource_provider_generation"]),
                    .traits = {}};
  for (const JsonValue& trait : (*body)["traits"].GetArray()) command.traits.emplace_back(TextOf(trait));
  return Write{.command = std::move(command), .answer = [call = &call](const Outcome& outcome) {
                 return TraitsAnswer(*call, outcome.provider);
               }};
}

Answer DeleteProviderTraits(const Call& call) {
  ProviderRef provider = FindProviderInPath(call);
  if (!provider) return NotFoundError(NotFoundText(call));
  return Write{.command = SetTraits{.provider = provider.uuid(), .generation = std::nullopt, .traits = {}},
               .answer = [](const Outcome&) { return EmptyAnswer(204); }};
}

}  // namespace berth::placement::rest
