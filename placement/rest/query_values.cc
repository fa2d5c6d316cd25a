#include <algorithm>
#include <charconv>
#include <unordered_set>

#include "placement/rest/query.h"
#include "placement/rest/text.h"

namespace berth::placement::rest {
namespace {

// As Python's int(): blanks around, a sign, single underscores between digits.
std::optional<int64_t> ParsePythonInt(std::string_view text) {
  text = Strip(text);
  std::string digits;
  bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '_') {
      if (i == 0 || i + 1 == text.size() || text[i - 1] == '_') return std::nullopt;
      continue;
    }
    if (text[i] < '0' || text[i] > '9') return std::nullopt;
    digits += text[i];
  }
  if (digits.empty()) return std::nullopt;
  int64_t value = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error == std::errc::result_out_of_range) value = INT64_MAX;  // no provider has as much
  return negative ? -value : value;
}

std::string BadlyFormed(std::string_view got) {
  return "Badly formed resources parameter. Expected resources query string parameter in form: "
         "?resources=VCPU:2,MEMORY_MB:1024. Got: " +
         std::string(got) + ".";
}

constexpr std::string_view kExpected =
    "Invalid query string parameters: Expected 'required' parameter value of the form: ";
constexpr std::string_view kAnyForm =
    "Invalid query string parameters: The format 'in:HW_CPU_X86_VMX,CUSTOM_MAGIC' ";

// A list in the order in which its items came, each of them once.
template <class T>
class Once {
 public:
  void Add(T item) {
    if (seen_.insert(item).second) list_.push_back(std::move(item));
  }
  std::vector<T> Take() { return std::move(list_); }

 private:
  std::vector<T> list_;
  std::unordered_set<T> seen_;
};

tl::expected<TraitsValue, ApiError> ParseAnyTraits(std::string_view value, bool allow_any) {
  std::string got(value);
  if (!allow_any) {
    return tl::unexpected(
        BadRequest(std::string(kAnyForm) + "only supported since microversion 1.39. Got: " + got));
  }
  Once<std::string> any;
  bool forbidden = false;
  for (std::string_view part : Split(value.substr(3), ',')) {
    std::string_view trait = Strip(part);
    if (trait.empty()) {
      return tl::unexpected(BadRequest(std::string(kExpected) +
                                       "in:HW_CPU_X86_VMX,CUSTOM_MAGIC. Got an empty trait in: " + got));
    }
    forbidden = forbidden || trait.starts_with('!');
    any.Add(std::string(trait));
  }
  if (forbidden) {
    return tl::unexpected(
        BadRequest(std::string(kAnyForm) + "does not support forbidden traits. Got: " + got));
  }
  return TraitsValue{.required = {any.Take()}, .forbidden = {}};
}

}  // namespace

tl::expected<std::vector<ResourceAmount>, ApiError> ParseResources(std::string_view value) {
  if (Strip(value).empty()) return tl::unexpected(BadRequest(BadlyFormed("empty string")));
  std::vector<ResourceAmount> resources;
  for (std::string_view part : Split(value, ',')) {
    std::vector<std::string_view> pair = Split(part, ':');
    if (pair.size() != 2) return tl::unexpected(BadRequest(BadlyFormed(part)));
    std::string name(pair[0]);
    std::optional<int64_t> amount = ParsePythonInt(pair[1]);
    if (!amount) {
      return tl::unexpected(BadRequest("Requested resource " + name +
                                       " expected positive integer amount. Got: " + std::string(pair[1]) +
                                       "."));
    }
    if (*amount < 1) {
      return tl::unexpected(BadRequest("Requested resource " + name +
                                       " requires amount >= 1. Got: " + std::to_string(*amount) + "."));
    }
    auto known = std::find_if(resources.begin(), resources.end(),
                              [&](const ResourceAmount& r) { return r.resource_class == name; });
    if (known != resources.end()) {
      known->amount = static_cast<uint64_t>(*amount);
    } else {
      resources.push_back({std::move(name), static_cast<uint64_t>(*amount)});
    }
  }
  return resources;
}

tl::expected<TraitsValue, ApiError> ParseTraits(std::string_view value, bool allow_forbidden,
                                                bool allow_any) {
  if (value.starts_with("in:")) return ParseAnyTraits(value, allow_any);
  TraitsValue traits;
  Once<std::string> forbidden_traits;
  bool empty = false;
  for (std::string_view part : Split(value, ',')) {
    std::string_view trait = Strip(part);
    bool forbidden = trait.starts_with('!');
    if (forbidden) trait.remove_prefix(std::min(trait.find_first_not_of('!'), trait.size()));
    empty = empty || trait.empty();
    if (forbidden) {
      forbidden_traits.Add(std::string(trait));
    } else {
      traits.required.push_back({std::string(trait)});
    }
  }
  traits.forbidden = forbidden_traits.Take();
  std::string got(value);
  if (empty) {
    return tl::unexpected(
        BadRequest(std::string(kExpected) +
                   (allow_forbidden ? "HW_CPU_X86_VMX,!CUSTOM_MAGIC" : "HW_CPU_X86_VMX,CUSTOM_MAGIC") +
                   ". Got an empty trait in: " + got));
  }
  if (!traits.forbidden.empty() && !allow_forbidden) {
    return tl::unexpected(BadRequest(std::string(kExpected) + "HW_CPU_X86_VMX,CUSTOM_MAGIC. Got: " + got));
  }
  return traits;
}

tl::expected<TraitsValue, ApiError> ParseRequired(const Query& query, std::string_view suffix,
                                                  Microversion version) {
  std::vector<std::string> values = query.All("required" + std::string(suffix));
  if (!version.At(39) && values.size() > 1) values = {values.back()};
  TraitsValue all;
  Once<std::string> forbidden;
  for (const std::string& value : values) {
    auto one = ParseTraits(value, version.At(22), version.At(39));
    if (!one) return one;
    std::move(one->required.begin(), one->required.end(), std::back_inserter(all.required));
    for (std::string& trait : one->forbidden) forbidden.Add(std::move(trait));
  }
  all.forbidden = forbidden.Take();
  return all;
}

tl::expected<MemberOfValue, ApiError> ParseMemberOf(const Query& query, std::string_view suffix,
                                                    Microversion version) {
  std::string name = "member_of" + std::string(suffix);
  std::vector<std::string> values = query.All(name);
  if (!version.At(24) && values.size() > 1) {
    return tl::unexpected(BadRequest("Multiple " + name + " parameters are not supported"));
  }
  MemberOfValue all;
  for (std::string_view value : values) {
    if (value.find(',') != std::string_view::npos && !value.starts_with("in:") &&
        !value.starts_with("!in:")) {
      return tl::unexpected(BadRequest(
          "Multiple values for 'member_of' must be prefixed with the 'in:' or '!in:' keyword using the "
          "valid microversion. Got: " +
          std::string(value)));
    }
    bool forbidden = value.starts_with('!');
    if (forbidden) value.remove_prefix(1);
    if (value.starts_with("in:")) value.remove_prefix(3);
    Once<Uuid> named;
    for (std::string_view text : Split(value, ',')) {
      std::optional<Uuid> uuid = ParseUuidLike(text);
      if (!uuid) {
        return tl::unexpected(BadRequest(
            "Invalid query string parameters: Expected 'member_of' parameter to contain valid UUID(s). "
            "Got: " +
            std::string(text)));
      }
      named.Add(*uuid);
    }
    std::vector<Uuid> aggregates = named.Take();
    if (forbidden && !version.At(32)) {
      return tl::unexpected(
          BadRequest("Forbidden " + name + " parameters are not supported in the specified microversion"));
    }
    if (forbidden) {
      all.forbidden.insert(all.forbidden.end(), aggregates.begin(), aggregates.end());
    } else {
      all.required.push_back(std::move(aggregates));
    }
  }
  return all;
}

tl::expected<Uuid, ApiError> ParseInTree(std::string_view value) {
  std::optional<Uuid> uuid = ParseUuidLike(Strip(value));
  if (!uuid) {
    return tl::unexpected(BadRequest(
        "Invalid query string parameters: Expected 'in_tree' parameter to be a format of uuid. Got: " +
        std::string(value)));
  }
  return *uuid;
}

}  // namespace berth::placement::rest
