#include <algorithm>

#include "placement/rest/handlers.h"
#include "placement/rest/json_writer.h"
#include "placement/rest/schemas.h"

namespace berth::placement::rest {
namespace {

std::string ClassUrl(std::string_view prefix, std::string_view name) {
  return std::string(prefix) + "/resource_classes/" + std::string(name);
}

void WriteClass(JsonWriter& json, std::string_view prefix, std::string_view name) {
  json.BeginObject().Key("name").String(name);
  json.Key("links").BeginArray().BeginObject();
  json.Key("rel").String("self").Key("href").String(ClassUrl(prefix, name));
  json.EndObject().EndArray().EndObject();
}

http::Response Located(int status, std::string url) {
  http::Response response = EmptyAnswer(status);
  response.headers.Set("location", std::move(url));
  return response;
}

ApiError NoSuchClass(const std::string& name) {
  return NotFoundError("No such resource class " + name + ".");
}

// 1.2 to 1.6: renames.
Answer RenameClass(const Call& call) {
  if (auto error = RequireJson(call)) return *error;
  auto body = ReadBody(call, ResourceClassSchema());
  if (!body) return body.error();
  const std::string& name = call.path[0];
  if (!call.view->resource_classes().Find(name)) return NoSuchClass(name);
  std::string new_name((*body)["name"].GetString());
  return Write{.command = RenameResourceClass{.name = name, .new_name = new_name},
               .answer = [call = &call, new_name](const Outcome&) {
                 JsonWriter json;
                 WriteClass(json, call->prefix, new_name);
                 http::Response response{.status = 200, .headers = {}, .body = std::move(json).Take()};
                 response.headers.Set("content-type", "application/json");
                 return response;
               }};
}

}  // namespace

Answer ListResourceClasses(const Call& call) {
  JsonWriter json;
  uint64_t modified = 0;
  json.BeginObject().Key("resource_classes").BeginArray();
  call.view->resource_classes().ForEach([&](ResourceClassId, const auto& entry) {
    WriteClass(json, call.prefix, entry.name);
    modified = std::max(modified, ModifiedAt(call, entry.created_at_ms, entry.updated_at_ms));
  });
  json.EndArray().EndObject();
  return JsonAnswer(call, std::move(json).Take(), modified);
}

Answer PostResourceClass(const Call& call) {
  auto body = ReadBody(call, ResourceClassSchema());
  if (!body) return body.error();
  std::string name((*body)["name"].GetString());
  return Write{.command = CreateResourceClass{.name = name}, .answer = [call = &call, name](const Outcome&) {
                 return Located(201, ClassUrl(call->prefix, name));
               }};
}

Answer GetResourceClass(const Call& call) {
  const ResourceClassTable& classes = call.view->resource_classes();
  std::optional<ResourceClassId> id = classes.Find(call.path[0]);
  if (!id) return NoSuchClass(call.path[0]);
  JsonWriter json;
  WriteClass(json, call.prefix, call.path[0]);
  const auto& entry = classes.entry(*id);
  return JsonAnswer(call, std::move(json).Take(), ModifiedAt(call, entry.created_at_ms, entry.updated_at_ms));
}

// From 1.7 on: makes sure that it is there.
Answer PutResourceClass(const Call& call) {
  if (!call.version.At(7)) return RenameClass(call);
  const std::string& name = call.path[0];
  JsonDocument document;
  document.SetObject();
  document.AddMember("name", JsonValue(name.data(), static_cast<rapidjson::SizeType>(name.size())),
                     document.GetAllocator());
  if (std::string error = ResourceClassSchema().Check(document); !error.empty()) {
    return BadRequest("JSON does not validate: " + error);
  }
  return Write{.command = CreateResourceClass{.name = name, .idempotent = true},
               .answer = [call = &call, name](const Outcome& outcome) {
                 return Located(outcome.created ? 201 : 204, ClassUrl(call->prefix, name));
               }};
}

Answer DeleteResourceClassByName(const Call& call) {
  if (!call.view->resource_classes().Find(call.path[0])) return NoSuchClass(call.path[0]);
  return Write{.command = DeleteResourceClass{.name = call.path[0]},
               .answer = [](const Outcome&) { return EmptyAnswer(204); }};
}

}  // namespace berth::placement::rest
