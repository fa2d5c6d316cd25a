#include "placement/rest/handlers.h"
#include "placement/rest/json_writer.h"

namespace berth::placement::rest {

// The versions document.
Answer GetRoot(const Call& call) {
  JsonWriter json;
  json.BeginObject().Key("versions").BeginArray().BeginObject();
  json.Key("id").String("v" + kMinMicroversion.ToString());
  json.Key("max_version").String(kMaxMicroversion.ToString());
  json.Key("min_version").String(kMinMicroversion.ToString());
  json.Key("status").String("CURRENT");
  json.Key("links").BeginArray().BeginObject();
  // Relative to whatever the client has used: the service need not know its outer address.
  json.Key("rel").String("self").Key("href").String("");
  json.EndObject().EndArray().EndObject().EndArray().EndObject();
  return JsonAnswer(call, std::move(json).Take());
}

}  // namespace berth::placement::rest
