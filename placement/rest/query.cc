#include "placement/rest/query.h"

#include <algorithm>

#include "placement/rest/text.h"

namespace berth::placement::rest {
namespace {

std::string DecodeForm(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+') {
      out += ' ';
    } else if (std::string decoded; text[i] == '%' && http::PercentDecode(text.substr(i, 3), &decoded)) {
      out += decoded;
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace

Query Query::Parse(std::string_view text) {
  Query query;
  if (text.empty()) return query;
  for (std::string_view part : Split(text, '&')) {
    if (part.empty()) continue;
    size_t equals = part.find('=');
    std::string_view value = equals == std::string_view::npos ? std::string_view() : part.substr(equals + 1);
    query.parameters_.emplace_back(DecodeForm(part.substr(0, equals)), DecodeForm(value));
  }
  return query;
}

std::optional<std::string> Query::Last(std::string_view name) const {
  for (auto at = parameters_.rbegin(); at != parameters_.rend(); ++at) {
    if (at->first == name) return at->second;
  }
  return std::nullopt;
}

std::vector<std::string> Query::All(std::string_view name) const {
  std::vector<std::string> values;
  for (const Parameter& parameter : parameters_) {
    if (parameter.first == name) values.push_back(parameter.second);
  }
  return values;
}

tl::expected<void, ApiError> Query::Check(const Schema& schema) const {
  JsonDocument document;
  document.SetObject();
  auto& allocator = document.GetAllocator();
  for (const auto& [name, value] : parameters_) {
    if (!IsUtf8(name) || !IsUtf8(value)) {
      return tl::unexpected(BadRequest("Invalid query string parameters: the query string is no UTF-8"));
    }
    JsonValue text(value.data(), static_cast<rapidjson::SizeType>(value.size()), allocator);
    auto known = document.FindMember(rapidjson::StringRef(name.data(), name.size()));
    if (known != document.MemberEnd()) {
      known->value = text;
    } else {
      document.AddMember(JsonValue(name.data(), static_cast<rapidjson::SizeType>(name.size()), allocator),
                         text, allocator);
    }
  }
  std::string error = schema.Check(document);
  if (error.empty()) return {};
  return tl::unexpected(BadRequest("Invalid query string parameters: " + error));
}

}  // namespace berth::placement::rest
