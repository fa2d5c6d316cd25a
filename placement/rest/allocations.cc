#include <algorithm>

#include "placement/rest/consumer_body.h"
#include "placement/rest/handlers.h"
#include "placement/rest/json_writer.h"
#include "placement/rest/schemas.h"
#include "placement/rest/text.h"

namespace berth::placement::rest {
namespace {

// Calls `visit(provider, first, last)` for each run of allocations on one provider.
template <class F>
void ForEachProvider(const std::vector<Allocation>& allocations, F&& visit) {
  for (auto first = allocations.begin(); first != allocations.end();) {
    auto last = std::find_if(first, allocations.end(),
                             [&](const Allocation& a) { return a.provider != first->provider; });
    visit(first->provider, first, last);
    first = last;
  }
}

template <class It>
void WriteResources(JsonWriter& json, const Call& call, It first, It last) {
  json.Key("resources").BeginObject();
  for (; first != last; ++first)
    json.Key(call.view->resource_classes().name(first->resource_class)).Int(first->amount);
  json.EndObject();
}

void WriteConsumer(JsonWriter& json, const Call& call, const Consumer& consumer) {
  const ResourceView& view = *call.view;
  ForEachProvider(consumer.allocations, [&](const Uuid& uuid, auto first, auto last) {
    json.Key(uuid.ToString()).BeginObject();
    WriteResources(json, call, first, last);
    ProviderRef provider = view.FindProvider(uuid);
    json.Key("generation").Int(provider ? static_cast<int64_t>(provider.generation()) : 0);
    json.EndObject();
  });
}

}  // namespace

Answer GetAllocations(const Call& call) {
  std::optional<Uuid> uuid = ParseUuidLike(call.path[0]);
  std::shared_ptr<const Consumer> consumer = uuid ? call.view->FindConsumer(*uuid) : nullptr;
  JsonWriter json;
  json.BeginObject().Key("allocations").BeginObject();
  if (consumer) WriteConsumer(json, call, *consumer);
  json.EndObject();
  if (consumer && call.version.At(12)) {
    json.Key("project_id").String(call.view->projects().name(consumer->project));
    json.Key("user_id").String(call.view->users().name(consumer->user));
    if (call.version.At(28)) json.Key("consumer_generation").Int(static_cast<int64_t>(consumer->generation));
    if (call.version.At(38))
      json.Key("consumer_type").String(call.view->consumer_types().name(consumer->type));
  }
  json.EndObject();
  return JsonAnswer(call, std::move(json).Take(), consumer ? consumer->updated_at_ms : 0);
}

Answer PutAllocations(const Call& call) {
  std::optional<Uuid> uuid = ParseUuidLike(call.path[0]);
  if (!uuid) return BadRequest("Malformed consumer_uuid: " + call.path[0]);
  auto body = ReadBody(call, AllocationsSchema(call.version));
  if (!body) return body.error();
  auto consumer = ReadConsumer(*uuid, *body, call.version);
  if (!consumer) return consumer.error();
  SetAllocations command;
  command.consumers.push_back(*std::move(consumer));
  return Write{.command = std::move(command), .answer = [](const Outcome&) { return EmptyAnswer(204); }};
}

Answer PostAllocations(const Call& call) {
  auto body = ReadBody(call, ManyAllocationsSchema(call.version));
  if (!body) return body.error();
  auto consumers = ReadConsumers(*body, call.version);
  if (!consumers) return consumers.error();
  return Write{.command = SetAllocations{.consumers = *std::move(consumers), .many = true},
               .answer = [](const Outcome&) { return EmptyAnswer(204); }};
}

Answer DeleteAllocationsOfConsumer(const Call& call) {
  std::optional<Uuid> uuid = ParseUuidLike(call.path[0]);
  if (!uuid || !call.view->FindConsumer(*uuid)) {
    return NotFoundError("No allocations for consumer '" + call.path[0] + "'");
  }
  return Write{.command = DeleteAllocations{.consumer = *uuid},
               .answer = [](const Outcome&) { return EmptyAnswer(204); }};
}

Answer GetProviderAllocations(const Call& call) {
  ProviderRef provider = FindProviderInPath(call);
  if (!provider) {
    return NotFoundError("Resource provider '" + call.path[0] +
                         "' not found: No resource provider with uuid " + call.path[0] + " found");
  }
  JsonWriter json;
  uint64_t modified = 0;
  json.BeginObject().Key("allocations").BeginObject();
  for (const std::shared_ptr<const Consumer>& consumer : call.view->ConsumersOf(provider.uuid())) {
    ForEachProvider(consumer->allocations, [&](const Uuid& uuid, auto first, auto last) {
      if (uuid != provider.uuid()) return;
      json.Key(consumer->uuid.ToString()).BeginObject();
      WriteResources(json, call, first, last);
      if (call.version.At(28))
        json.Key("consumer_generation").Int(static_cast<int64_t>(consumer->generation));
      json.EndObject();
    });
    modified = std::max(modified, consumer->updated_at_ms);
  }
  json.EndObject();
  json.Key("resource_provider_generation").Int(static_cast<int64_t>(provider.generation()));
  json.EndObject();
  return JsonAnswer(call, std::move(json).Take(), modified);
}

}  // namespace berth::placement::rest
