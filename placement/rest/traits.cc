#include <algorithm>

#include "placement/rest/handlers.h"
#include "placement/rest/json_writer.h"
#include "placement/rest/schemas.h"
#include "placement/rest/text.h"

namespace berth::placement::rest {
namespace {

ApiError NoSuchTrait(const std::string& name) {
  return NotFoundError("No such trait(s): " + name + ".");
}

// Which traits ?name= leaves: "in:A,B" or "startswith:P".
struct NameFilter {
  std::vector<std::string> in;
  bool by_name = false;
  std::string prefix;

  bool Keeps(std::string_view name) const {
    if (by_name && std::find(in.begin(), in.end(), name) == in.end()) return false;
    return name.starts_with(prefix);
  }
};

tl::expected<NameFilter, ApiError> ParseNameFilter(const Query& query) {
  NameFilter filter;
  std::optional<std::string> value = query.Last("name");
  if (!value) return filter;
  size_t colon = value->find(':');
  if (colon == std::string::npos) {
    return tl::unexpected(
        BadRequest("Badly formatted name parameter. Expected name query string parameter in form: "
                   "?name=[in|startswith]:[name1,name2|prefix]. Got: \"" +
                   *value + "\""));
  }
  std::string_view kind = std::string_view(*value).substr(0, colon);
  std::string_view rest = std::string_view(*value).substr(colon + 1);
  if (kind == "in") {
    filter.by_name = true;
    for (std::string_view name : Split(rest, ',')) filter.in.emplace_back(name);
  } else if (kind == "startswith") {
    filter.prefix = rest;
  }
  return filter;
}

bool IsAssociated(const ResourceView& view, TraitId id) {
  return !view.TreesWith(id).Empty();
}

}  // namespace

Answer ListTraits(const Call& call) {
  if (auto valid = call.query.Check(ListTraitsSchema()); !valid) return valid.error();
  auto filter = ParseNameFilter(call.query);
  if (!filter) return filter.error();
  std::optional<bool> associated;
  if (std::optional<std::string> value = call.query.Last("associated")) {
    bool yes = http::EqualsIgnoreCase(*value, "true");
    if (!yes && !http::EqualsIgnoreCase(*value, "false")) {
      return BadRequest("The query parameter \"associated\" only accepts \"true\" or \"false\"");
    }
    associated = yes;
  }
  JsonWriter json;
  uint64_t modified = 0;
  json.BeginObject().Key("traits").BeginArray();
  call.view->traits().ForEach([&](TraitId id, const auto& entry) {
    if (!filter->Keeps(entry.name)) return;
    if (associated && IsAssociated(*call.view, id) != *associated) return;
    json.String(entry.name);
    modified = std::max(modified, ModifiedAt(call, entry.created_at_ms, entry.updated_at_ms));
  });
  json.EndArray().EndObject();
  return JsonAnswer(call, std::move(json).Take(), modified);
}

Answer GetTrait(const Call& call) {
  std::optional<TraitId> id = call.view->traits().Find(call.path[0]);
  if (!id) return NoSuchTrait(call.path[0]);
  http::Response response = EmptyAnswer(204);
  AddCacheHeaders(call, response, call.view->traits().entry(*id).created_at_ms);
  return response;
}

Answer PutTrait(const Call& call) {
  const std::string& name = call.path[0];
  if (!IsCustomName(name) || name.size() > 255) {
    return BadRequest(
        "The trait is invalid. A valid trait must be no longer than 255 characters, start with the prefix "
        "\"CUSTOM_\" and use following characters: \"A\"-\"Z\", \"0\"-\"9\" and \"_\"");
  }
  return Write{.command = CreateTrait{.name = name}, .answer = [call = &call, name](const Outcome& outcome) {
                 http::Response response = EmptyAnswer(outcome.created ? 201 : 204);
                 response.headers.Set("location", std::string(call->prefix) + "/traits/" + name);
                 std::optional<TraitId> id = call->view->traits().Find(name);
                 AddCacheHeaders(*call, response, id ? call->view->traits().entry(*id).created_at_ms : 0);
                 return response;
               }};
}

Answer DeleteTraitByName(const Call& call) {
  if (!call.view->traits().Find(call.path[0])) return NoSuchTrait(call.path[0]);
  return Write{.command = DeleteTrait{.name = call.path[0]},
               .answer = [](const Outcome&) { return EmptyAnswer(204); }};
}

}  // namespace berth::placement::rest
