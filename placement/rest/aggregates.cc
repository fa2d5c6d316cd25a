#include <unordered_set>
#include <vector>

#include "placement/rest/handlers.h"
#include "placement/rest/inventory_body.h"
#include "placement/rest/json_writer.h"
#include "placement/rest/schemas.h"
#include "placement/rest/text.h"

namespace berth::placement::rest {
namespace {

http::Response AggregatesAnswer(const Call& call, const std::vector<Uuid>& aggregates, uint64_t generation) {
  JsonWriter json;
  json.BeginObject().Key("aggregates").BeginArray();
  for (const Uuid& aggregate : aggregates) json.String(aggregate.ToString());
  json.EndArray();
  if (call.version.At(19)) json.Key("resource_provider_generation").Int(static_cast<int64_t>(generation));
  json.EndObject();
  return JsonAnswer(call, std::move(json).Take());
}

ApiError NoSuchProvider(const Call& call) {
  return NotFoundError("No resource provider with uuid " + call.path[0] + " found");
}

}  // namespace

Answer GetAggregates(const Call& call) {
  ProviderRef provider = FindProviderInPath(call);
  if (!provider) return NoSuchProvider(call);
  std::vector<Uuid> aggregates;
  for (AggregateId id : provider.tree->aggregates(provider.index)) {
    aggregates.push_back(call.view->aggregates().name(id));
  }
  return AggregatesAnswer(call, aggregates, provider.generation());
}

Answer PutAggregates(const Call& call) {
  ProviderRef provider = FindProviderInPath(call);
  if (!provider) return NoSuchProvider(call);
  auto body = ReadBody(call, AggregatesSchema(call.version));
  if (!body) return body.error();
  bool with_generation = call.version.At(19);
  SetAggregates command{.provider = provider.uuid(),
                        .generation = std::nullopt,
                        .aggregates = {},
                        .raise_generation = with_generation};
  if (with_generation) command.generation = ReadGeneration((*body)["resource_provider_generation"]);
  std::unordered_set<Uuid> seen;
  const JsonValue& list = with_generation ? (*body)["aggregates"] : static_cast<const JsonValue&>(*body);
  for (const JsonValue& item : list.GetArray()) {
    const Uuid uuid = *ParseUuidLike(TextOf(item));
    if (seen.insert(uuid).second) command.aggregates.push_back(uuid);
  }
  std::vector<Uuid> sent = command.aggregates;
  return Write{.command = std::move(command), .answer = [call = &call, sent](const Outcome& outcome) {
                 return AggregatesAnswer(*call, sent, outcome.generation);
               }};
}

}  // namespace berth::placement::rest
