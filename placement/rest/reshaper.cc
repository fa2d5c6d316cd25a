#include "placement/rest/consumer_body.h"
#include "placement/rest/handlers.h"
#include "placement/rest/inventory_body.h"
#include "placement/rest/schemas.h"
#include "placement/rest/text.h"

namespace berth::placement::rest {

Answer PostReshaper(const Call& call) {
  auto body = ReadBody(call, ReshaperSchema(call.version));
  if (!body) return body.error();
  Reshape command;
  for (const auto& member : (*body)["inventories"].GetObject()) {
    std::string name(TextOf(member.name));
    std::optional<Uuid> uuid = ParseUuidLike(name);
    if (!uuid) {
      return BadRequest("Resource provider " + name +
                            " in inventories not found: No resource provider with uuid " + name + " found",
                        kProviderNotFound);
    }
    auto inventories = ReadInventories(member.value["inventories"]);
    if (!inventories) return inventories.error();
    command.providers.push_back({.provider = *uuid,
                                 .generation = ReadGeneration(member.value["resource_provider_generation"]),
                                 .inventories = *std::move(inventories)});
  }
  auto consumers = ReadConsumers((*body)["allocations"], call.version);
  if (!consumers) return consumers.error();
  command.consumers = *std::move(consumers);
  return Write{.command = std::move(command), .answer = [](const Outcome&) { return EmptyAnswer(204); }};
}

}  // namespace berth::placement::rest
