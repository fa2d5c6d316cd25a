#include "vmm/api/request_body.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

namespace berth::vmm {
namespace {

using Json = nlohmann::json;

}  // namespace

struct RequestBody::Fields {
  Json json;
  std::string prefix = {};  // of the fields' names in errors

  std::string Name(std::string_view field) const { return prefix + std::string(field); }
  const Json* Find(std::string_view field) const {
    auto found = json.find(field);
    return found == json.end() || found->is_null() ? nullptr : &*found;
  }
};

RequestBody::RequestBody(std::unique_ptr<Fields> fields) : fields_(std::move(fields)) {}
RequestBody::~RequestBody() = default;
RequestBody::RequestBody(RequestBody&&) noexcept = default;
RequestBody& RequestBody::operator=(RequestBody&&) noexcept = default;

Result<RequestBody> RequestBody::Parse(std::string_view text, std::initializer_list<std::string_view> known) {
  return ParseNested(text, 0, known);
}

Result<RequestBody> RequestBody::ParseWithLists(std::string_view text,
                                                std::initializer_list<std::string_view> known) {
  constexpr int kInItems = 3;  // a list that should be null is told with its name
  return ParseNested(text, kInItems, known);
}

Result<RequestBody> RequestBody::ParseNested(std::string_view text, int most,
                                             std::initializer_list<std::string_view> known) {
  // Deep documents are cut off early.
  bool deep = false;
  auto shallow = [&deep, most](int depth, Json::parse_event_t event, Json&) {
    const bool opens =
        event == Json::parse_event_t::object_start || event == Json::parse_event_t::array_start;
    if (opens && depth > most) deep = true;
    return !deep;
  };
  auto fields = std::make_unique<Fields>();
  fields->json = Json::parse(text.begin(), text.end(), shallow, /*allow_exceptions=*/false);
  if (deep || !fields->json.is_object()) return InvalidArgument("not a JSON object of plain fields", "body");
  RequestBody body(std::move(fields));
  TRY(body.CheckKnown(known));
  return body;
}

Status RequestBody::CheckKnown(std::initializer_list<std::string_view> known) const {
  for (const auto& [name, value] : fields_->json.items()) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    std::string list;
    for (std::string_view field : known) list += (list.empty() ? "" : ", ") + std::string(field);
    return InvalidArgument("unknown field", fields_->Name(name), "known are " + list);
  }
  return OkStatus();
}

Result<std::vector<RequestBody>> RequestBody::List(std::string_view field,
                                                   std::initializer_list<std::string_view> known) const {
  std::vector<RequestBody> items;
  const Json* value = fields_->Find(field);
  if (value == nullptr) return items;
  if (!value->is_array()) return InvalidArgument("not a list", fields_->Name(field));
  for (const Json& item : *value) {
    const std::string name = fields_->Name(field) + "[" + std::to_string(items.size()) + "]";
    if (!item.is_object()) return InvalidArgument("not an object", name);
    RequestBody body(std::make_unique<Fields>(Fields{item, name + "."}));
    TRY(body.CheckKnown(known));
    items.push_back(std::move(body));
  }
  return items;
}

bool RequestBody::Has(std::string_view field) const {
  return fields_->Find(field) != nullptr;
}

Result<std::optional<uint64_t>> RequestBody::Number(std::string_view field, uint64_t max) const {
  const Json* value = fields_->Find(field);
  if (value == nullptr) return std::optional<uint64_t>();
  if (!value->is_number_unsigned() || value->get<uint64_t>() > max) {
    return InvalidArgument("not an unsigned integer up to " + std::to_string(max), fields_->Name(field));
  }
  return std::optional<uint64_t>(value->get<uint64_t>());
}

Result<std::optional<bool>> RequestBody::Toggle(std::string_view field) const {
  const Json* value = fields_->Find(field);
  if (value == nullptr) return std::optional<bool>();
  if (!value->is_boolean()) return InvalidArgument("not true or false", fields_->Name(field));
  return std::optional<bool>(value->get<bool>());
}

Result<std::string> RequestBody::Text(std::string_view field) const {
  const Json* value = fields_->Find(field);
  if (value == nullptr) return InvalidArgument("is missing", fields_->Name(field));
  if (!value->is_string() || value->get<std::string>().empty()) {
    return InvalidArgument("not a text with at least one character", fields_->Name(field));
  }
  return value->get<std::string>();
}

Result<std::chrono::milliseconds> RequestBody::Timeout() const {
  constexpr uint64_t kDay = 24ull * 60 * 60 * 1000;
  TRY_ASSIGN(const std::optional<uint64_t> given, Number("timeout_ms", kDay));
  return given ? std::chrono::milliseconds(*given) : kDefaultTimeout;
}

}  // namespace berth::vmm
