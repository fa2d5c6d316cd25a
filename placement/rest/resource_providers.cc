#include <algorithm>

#include "placement/candidates/candidates.h"
#include "placement/rest/handlers.h"
#include "placement/rest/json_writer.h"
#include "placement/rest/query.h"
#include "placement/rest/schemas.h"
#include "placement/rest/text.h"

namespace berth::placement::rest {
namespace {

void WriteLinks(JsonWriter& json, const std::string& url, Microversion version) {
  auto link = [&](std::string_view rel, std::string_view path) {
    json.BeginObject().Key("rel").String(rel).Key("href").String(url + std::string(path)).EndObject();
  };
  json.Key("links").BeginArray();
  link("self", "");
  link("inventories", "/inventories");
  link("usages", "/usages");
  if (version.At(1)) link("aggregates", "/aggregates");
  if (version.At(6)) link("traits", "/traits");
  if (version.At(11)) link("allocations", "/allocations");
  json.EndArray();
}

void WriteProvider(JsonWriter& json, const Call& call, const ProviderTree& tree, uint32_t index) {
  std::string uuid = tree.uuid(index).ToString();
  json.BeginObject().Key("uuid").String(uuid);
  json.Key("name").String(tree.name(index));
  json.Key("generation").Int(static_cast<int64_t>(tree.generation(index)));
  WriteLinks(json, std::string(call.prefix) + "/resource_providers/" + uuid, call.version);
  if (call.version.At(14)) {
    uint32_t parent = tree.parent(index);
    json.Key("parent_provider_uuid");
    if (parent == ProviderTree::kNone) {
      json.Null();
    } else {
      json.String(tree.uuid(parent).ToString());
    }
    json.Key("root_provider_uuid").String(tree.uuid(0).ToString());
  }
  json.EndObject();
}

http::Response ProviderAnswer(const Call& call, const ProviderRef& provider) {
  JsonWriter json;
  WriteProvider(json, call, *provider.tree, provider.index);
  return JsonAnswer(call, std::move(json).Take(),
                    ModifiedAt(call, provider.tree->created_at_ms(provider.index),
                               provider.tree->updated_at_ms(provider.index)));
}

ApiError NoSuchProvider(const Call& call) {
  return NotFoundError("No resource provider with uuid " + call.path[0] + " found");
}

// An absent key and null are the same where a parent is given.
std::optional<Uuid> ParentOf(const JsonDocument& body) {
  auto member = body.FindMember("parent_provider_uuid");
  if (member == body.MemberEnd() || !member->value.IsString()) return std::nullopt;
  return ParseUuidLike(TextOf(member->value));
}

tl::expected<ProviderQuery, ApiError> ParseProviderQuery(const Call& call) {
  ProviderQuery query;
  auto member_of = ParseMemberOf(call.query, "", call.version);
  if (!member_of) return tl::unexpected(member_of.error());
  query.filter.member_of = std::move(member_of->required);
  query.filter.forbidden_aggregates = std::move(member_of->forbidden);
  auto traits = ParseRequired(call.query, "", call.version);
  if (!traits) return tl::unexpected(traits.error());
  query.filter.required_traits = std::move(traits->required);
  query.filter.forbidden_traits = std::move(traits->forbidden);
  // Empty values do not restrict. The schema has checked the UUIDs.
  if (auto uuid = call.query.Last("uuid"); uuid && !uuid->empty()) query.uuid = ParseUuidLike(*uuid);
  if (auto name = call.query.Last("name"); name && !name->empty()) query.name = *name;
  if (auto tree = call.query.Last("in_tree"); tree && !tree->empty())
    query.filter.in_tree = ParseUuidLike(*tree);
  if (auto value = call.query.Last("resources")) {
    auto resources = ParseResources(*value);
    if (!resources) return tl::unexpected(resources.error());
    query.resources = *std::move(resources);
  }
  return query;
}

}  // namespace

Answer ListProviders(const Call& call) {
  if (auto valid = call.query.Check(ListProvidersSchema(call.version)); !valid) return valid.error();
  auto query = ParseProviderQuery(call);
  if (!query) return query.error();
  Result<std::vector<ProviderPlace>> found = FindProviders(*call.view, *query);
  if (!found) {
    return BadRequest((found.error().field() == "resources"
                           ? "Invalid resource class in resources parameter: "
                           : "Invalid trait(s) in \"required\" parameter: ") +
                      found.error().message());
  }
  JsonWriter json;
  json.Reserve(found->size() * 900 + 64);
  uint64_t modified = 0;
  json.BeginObject().Key("resource_providers").BeginArray();
  for (const ProviderPlace& place : *found) {
    const ProviderTree& tree = *call.view->tree(place.tree);
    WriteProvider(json, call, tree, place.provider);
    modified = std::max(
        modified, ModifiedAt(call, tree.created_at_ms(place.provider), tree.updated_at_ms(place.provider)));
  }
  json.EndArray().EndObject();
  return JsonAnswer(call, std::move(json).Take(), modified);
}

Answer GetProvider(const Call& call) {
  ProviderRef provider = FindProviderInPath(call);
  if (!provider) return NoSuchProvider(call);
  return ProviderAnswer(call, provider);
}

Answer PostProvider(const Call& call) {
  auto body = ReadBody(call, CreateProviderSchema(call.version));
  if (!body) return body.error();
  CreateProvider command;
  command.name = TextOf((*body)["name"]);
  auto uuid = body->FindMember("uuid");
  command.uuid = uuid == body->MemberEnd() ? Uuid::Random() : *ParseUuidLike(TextOf(uuid->value));
  command.parent = ParentOf(*body);
  Uuid created = command.uuid;
  return Write{.command = std::move(command), .answer = [call = &call, created](const Outcome& outcome) {
                 http::Response response =
                     call->version.At(20) ? ProviderAnswer(*call, outcome.provider) : EmptyAnswer(201);
                 response.headers.Set("location", ProviderUrl(call->prefix, created));
                 return response;
               }};
}

Answer PutProvider(const Call& call) {
  ProviderRef provider = FindProviderInPath(call);
  if (!provider) return NoSuchProvider(call);
  auto body = ReadBody(call, UpdateProviderSchema(call.version));
  if (!body) return body.error();
  UpdateProvider command{.uuid = provider.uuid(),
                         .name = std::string(TextOf((*body)["name"])),
                         .set_parent = body->HasMember("parent_provider_uuid"),
                         .parent = ParentOf(*body),
                         .allow_reparenting = call.version.At(37)};
  return Write{.command = std::move(command), .answer = [call = &call](const Outcome& outcome) {
                 return ProviderAnswer(*call, outcome.provider);
               }};
}

Answer DeleteProviderByUuid(const Call& call) {
  ProviderRef provider = FindProviderInPath(call);
  if (!provider) return NotFoundError("No resource provider with uuid " + call.path[0] + " found for delete");
  return Write{.command = DeleteProvider{.uuid = provider.uuid()},
               .answer = [](const Outcome&) { return EmptyAnswer(204); }};
}

}  // namespace berth::placement::rest
