#include <algorithm>
#include <cmath>

#include "placement/rest/handlers.h"
#include "placement/rest/inventory_body.h"
#include "placement/rest/json_writer.h"
#include "placement/rest/schemas.h"
#include "placement/rest/text.h"

namespace berth::placement::rest {
namespace {

void WriteFields(JsonWriter& json, const Inventory& inventory) {
  json.Key("total").Int(inventory.total);
  json.Key("reserved").Int(inventory.reserved);
  json.Key("min_unit").Int(inventory.min_unit);
  json.Key("max_unit").Int(inventory.max_unit);
  json.Key("step_size").Int(inventory.step_size);
  json.Key("allocation_ratio").Double(inventory.allocation_ratio);
}

// 0: never, which the API tells as no Last-Modified of its own; then now.
uint64_t InventoriesAt(const ProviderRef& provider) {
  return provider.tree->inventories_at_ms(provider.index);
}

http::Response InventoriesAnswer(const Call& call, const ProviderRef& provider) {
  const ResourceClassTable& classes = call.view->resource_classes();
  JsonWriter json;
  json.BeginObject();
  json.Key("resource_provider_generation").Int(static_cast<int64_t>(provider.generation()));
  json.Key("inventories").BeginObject();
  for (const Inventory& inventory : provider.tree->inventories(provider.index)) {
    json.Key(classes.name(inventory.resource_class)).BeginObject();
    WriteFields(json, inventory);
    json.EndObject();
  }
  json.EndObject().EndObject();
  return JsonAnswer(call, std::move(json).Take(), InventoriesAt(provider));
}

http::Response InventoryAnswer(const Call& call, const ProviderRef& provider, const std::string& name,
                               int status) {
  std::optional<ResourceClassId> id = call.view->resource_classes().Find(name);
  ProviderTree::Stock stock = id ? provider.tree->Find(provider.index, *id) : ProviderTree::Stock{};
  JsonWriter json;
  json.BeginObject();
  if (stock.inventory) WriteFields(json, *stock.inventory);
  // As the API has it: generation 0 is left out.
  if (provider.generation() != 0) {
    json.Key("resource_provider_generation").Int(static_cast<int64_t>(provider.generation()));
  }
  json.EndObject();
  return JsonAnswer(call, std::move(json).Take(), InventoriesAt(provider), status);
}

ApiError NoSuchProvider(const Call& call) {
  return NotFoundError("No resource provider with uuid " + call.path[0] + " found");
}

// The GETs say it twice, the writes once.
ApiError NoSuchProviderTwice(const Call& call) {
  return NotFoundError("No resource provider with uuid " + call.path[0] +
                       " found : No resource provider with uuid " + call.path[0] + " found");
}

}  // namespace

Answer ListInventories(const Call& call) {
  ProviderRef provider = FindProviderInPath(call);
  if (!provider) return NoSuchProviderTwice(call);
  return InventoriesAnswer(call, provider);
}

Answer GetInventory(const Call& call) {
  ProviderRef provider = FindProviderInPath(call);
  if (!provider) return NoSuchProviderTwice(call);
  std::optional<ResourceClassId> id = call.view->resource_classes().Find(call.path[1]);
  if (!id || !provider.tree->Find(provider.index, *id).inventory) {
    return NotFoundError("No inventory of class " + call.path[1] + " for " + call.path[0]);
  }
  return InventoryAnswer(call, provider, call.path[1], 200);
}

Answer PostInventory(const Call& call) {
  ProviderRef provider = FindProviderInPath(call);
  if (!provider) return NoSuchProvider(call);
  auto body = ReadBody(call, NewInventorySchema());
  if (!body) return body.error();
  std::string name(TextOf((*body)["resource_class"]));
  return Write{.command = AddInventory{.provider = provider.uuid(),
                                       .inventory = ReadInventory(name, *body),
                                       .reserved_may_equal_total = call.version.At(26)},
               .answer = [call = &call, name](const Outcome& outcome) {
                 http::Response response = InventoryAnswer(*call, outcome.provider, name, 201);
                 response.headers.Set(
                     "location", ProviderUrl(call->prefix, outcome.provider.uuid()) + "/inventories/" + name);
                 return response;
               }};
}

Answer PutInventories(const Call& call) {
  ProviderRef provider = FindProviderInPath(call);
  if (!provider) return NoSuchProvider(call);
  auto body = ReadBody(call, InventoriesSchema());
  if (!body) return body.error();
  SetInventories command{.provider = provider.uuid(),
                         .generation = ReadGeneration((*body)["resource_provider_generation"]),
                         .inventories = {},
                         .reserved_may_equal_total = call.version.At(26)};
  auto inventories = ReadInventories((*body)["inventories"]);
  if (!inventories) return inventories.error();
  command.inventories = *std::move(inventories);
  return Write{.command = std::move(command), .answer = [call = &call](const Outcome& outcome) {
                 return InventoriesAnswer(*call, outcome.provider);
               }};
}

Answer DeleteInventories(const Call& call) {
  ProviderRef provider = FindProviderInPath(call);
  if (!provider) return NoSuchProvider(call);
  return Write{.command = RemoveInventories{.provider = provider.uuid()},
               .answer = [](const Outcome&) { return EmptyAnswer(204); }};
}

Answer PutInventory(const Call& call) {
  ProviderRef provider = FindProviderInPath(call);
  if (!provider) return NoSuchProvider(call);
  auto body = ReadBody(call, InventorySchema());
  if (!body) return body.error();
  const std::string& name = call.path[1];
  return Write{
      .command = UpdateInventory{.provider = provider.uuid(),
                                 .generation = ReadGeneration((*body)["resource_provider_generation"]),
                                 .inventory = ReadInventory(name, *body),
                                 .reserved_may_equal_total = call.version.At(26)},
      .answer = [call = &call, name](const Outcome& outcome) {
        return InventoryAnswer(*call, outcome.provider, name, 200);
      }};
}

Answer DeleteInventory(const Call& call) {
  ProviderRef provider = FindProviderInPath(call);
  if (!provider) return NoSuchProvider(call);
  return Write{.command = RemoveInventory{.provider = provider.uuid(), .resource_class = call.path[1]},
               .answer = [](const Outcome&) { return EmptyAnswer(204); }};
}

}  // namespace berth::placement::rest
