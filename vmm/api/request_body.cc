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
  // No value of a field is nested: deep documents are cut off early.
  bool deep = false;
  auto shallow = [&deep](int depth, Json::parse_event_t event, Json&) {
    const bool opens =
        event == Json::parse_event_t::object_start || event == Json::parse_event_t::array_start;
    if (opens && depth > 0) deep = true;
    return !deep;
  };
  auto fields = std::make_unique<Fields>();
  fields->json = Json::parse(text.begin(), text.end(), shallow, /*allow_exceptions=*/false);
  if (deep || !fields->json.is_object()) return InvalidArgument("not a JSON object of plain fields", "body");
  for (const auto& [name, value] : fields->json.items()) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    std::string list;
    for (std::string_view field : known) list += (list.empty() ? "" : ", ") + std::string(field);
    return InvalidArgument("unknown field", name, "known are " + list);
  }
  return RequestBody(std::move(fields));
}

bool RequestBody::Has(std::string_view field) const {
  return fields_->Find(field) != nullptr;
}

Result<std::optional<uint64_t>> RequestBody::Number(std::string_view field, uint64_t max) const {
  const Json* value = fields_->Find(field);
  if (value == nullptr) return std::optional<uint64_t>();
  if (!value->is_number_unsigned() || value->get<uint64_t>() > max) {
    return InvalidArgument("not an unsigned integer up to " + std::to_string(max), std::string(field));
  }
  return std::optional<uint64_t>(value->get<uint64_t>());
}

Result<std::optional<bool>> RequestBody::Toggle(std::string_view field) const {
  const Json* value = fields_->Find(field);
  if (value == nullptr) return std::optional<bool>();
  if (!value->is_boolean()) return InvalidArgument("not true or false", std::string(field));
  return std::optional<bool>(value->get<bool>());
}

Result<std::string> RequestBody::Text(std::string_view field) const {
  const Json* value = fields_->Find(field);
  if (value == nullptr) return InvalidArgument("is missing", std::string(field));
  if (!value->is_string() || value->get<std::string>().empty()) {
    return InvalidArgument("not a text with at least one character", std::string(field));
  }
  return value->get<std::string>();
}

Result<std::chrono::milliseconds> RequestBody::Timeout() const {
  constexpr uint64_t kDay = 24ull * 60 * 60 * 1000;
  TRY_ASSIGN(const std::optional<uint64_t> given, Number("timeout_ms", kDay));
  return given ? std::chrono::milliseconds(*given) : kDefaultTimeout;
}

}  // namespace berth::vmm
