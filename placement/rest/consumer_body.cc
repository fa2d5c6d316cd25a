#include "placement/rest/consumer_body.h"

#include <unordered_map>
#include <unordered_set>

#include "placement/model/inventory.h"
#include "placement/rest/inventory_body.h"
#include "placement/rest/text.h"

namespace berth::placement::rest {
namespace {

using Read = tl::expected<void, ApiError>;

Read ReadResources(std::string_view provider, const JsonValue& resources, ConsumerInput& consumer) {
  std::optional<Uuid> uuid = ParseUuidLike(provider);
  if (!uuid) {
    return tl::unexpected(
        BadRequest("Allocation for resource provider '" + std::string(provider) + "' that does not exist."));
  }
  for (const auto& member : resources.GetObject()) {
    double amount = member.value.GetDouble();
    if (amount > kMaxAmount) {
      return tl::unexpected(BadRequest("JSON does not validate: " + PythonNumber(member.value) +
                                       " is greater than the maximum of " + std::to_string(kMaxAmount)));
    }
    consumer.allocations.push_back({.provider = *uuid,
                                    .resource_class = std::string(TextOf(member.name)),
                                    .amount = static_cast<int32_t>(amount)});
  }
  return {};
}

// Before 1.12 a list; of a provider that comes twice the last counts.
Read ReadList(const JsonValue& list, ConsumerInput& consumer) {
  std::unordered_map<std::string_view, rapidjson::SizeType> last;
  for (rapidjson::SizeType i = 0; i < list.Size(); ++i) {
    last[TextOf(list[i]["resource_provider"]["uuid"])] = i;
  }
  for (rapidjson::SizeType i = 0; i < list.Size(); ++i) {
    std::string_view provider = TextOf(list[i]["resource_provider"]["uuid"]);
    if (last[provider] != i) continue;
    if (Read done = ReadResources(provider, list[i]["resources"], consumer); !done) return done;
  }
  return {};
}

}  // namespace

tl::expected<ConsumerInput, ApiError> ReadConsumer(const Uuid& consumer, const JsonValue& body,
                                                   Microversion version) {
  ConsumerInput input;
  input.consumer = consumer;
  auto text = [&](const char* name) -> std::optional<std::string> {
    auto member = body.FindMember(name);
    if (member == body.MemberEnd() || !member->value.IsString()) return std::nullopt;
    return std::string(TextOf(member->value));
  };
  input.project = text("project_id");
  input.user = text("user_id");
  if (version.At(28)) {
    input.check_generation = true;
    const JsonValue& generation = body["consumer_generation"];
    if (!generation.IsNull()) input.generation = ReadGeneration(generation);
  }
  if (version.At(38)) input.consumer_type = text("consumer_type");
  const JsonValue& allocations = body["allocations"];
  if (allocations.IsArray()) {
    if (Read done = ReadList(allocations, input); !done) return tl::unexpected(done.error());
    return input;
  }
  for (const auto& member : allocations.GetObject()) {
    if (Read done = ReadResources(TextOf(member.name), member.value["resources"], input); !done) {
      return tl::unexpected(done.error());
    }
  }
  return input;
}

tl::expected<std::vector<ConsumerInput>, ApiError> ReadConsumers(const JsonValue& body,
                                                                 Microversion version) {
  std::vector<ConsumerInput> consumers;
  std::unordered_set<Uuid> named;
  for (const auto& member : body.GetObject()) {
    std::optional<Uuid> uuid = ParseUuidLike(TextOf(member.name));
    if (!uuid) {
      return tl::unexpected(BadRequest("Malformed consumer_uuid: " + std::string(TextOf(member.name))));
    }
    if (!named.insert(*uuid).second) {
      return tl::unexpected(BadRequest("consumer " + uuid->ToString() + " is given twice"));
    }
    auto consumer = ReadConsumer(*uuid, member.value, version);
    if (!consumer) return tl::unexpected(consumer.error());
    consumers.push_back(*std::move(consumer));
  }
  return consumers;
}

}  // namespace berth::placement::rest
