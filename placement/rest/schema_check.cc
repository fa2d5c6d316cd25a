// Applies a schema to a value: all errors are found, the least deep one is told (of equals the first, choices
// among alternatives last), as jsonschema's best_match does.
#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "placement/rest/schema.h"
#include "placement/rest/text.h"

namespace berth::placement::rest {
namespace {

std::string NumberText(double value) {
  if (value == std::floor(value) && std::abs(value) < 1e15)
    return std::to_string(static_cast<int64_t>(value));
  JsonValue number(value);
  return PythonNumber(number);
}

bool HasType(const JsonValue& value, const std::string& type) {
  if (type == "object") return value.IsObject();
  if (type == "array") return value.IsArray();
  if (type == "string") return value.IsString();
  if (type == "null") return value.IsNull();
  if (type == "number") return value.IsNumber();
  if (type == "integer") {
    return value.IsInt64() || value.IsUint64() ||
           (value.IsDouble() && value.GetDouble() == std::floor(value.GetDouble()));
  }
  return false;
}

// Quoted names, comma-separated.
std::string QuotedList(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) {
    if (!out.empty()) out += ", ";
    out += PythonRepr(name);
  }
  return out;
}

}  // namespace

struct Schema::Error {
  std::string message;
  std::string_view keyword;
  const Schema* schema = nullptr;
  const JsonValue* instance = nullptr;
  std::vector<std::string> schema_path;    // up to the schema, already in brackets
  std::vector<std::string> instance_path;  // likewise
};

class Schema::Checker {
 public:
  void Check(const Schema& schema, const JsonValue& value) {
    for (const Keyword& keyword : schema.keywords_) {
      // Nothing deeper than what is known already can be told.
      if (best_ && instance_path_.size() > best_->instance_path.size()) return;
      CheckKeyword(schema, keyword, value);
    }
  }
  const std::optional<Error>& best() const { return best_; }

 private:
  void Fail(const Schema& schema, std::string_view keyword, const JsonValue& value, std::string message) {
    bool weak = keyword == "anyOf";
    if (best_) {
      if (best_->instance_path.size() < instance_path_.size()) return;
      if (best_->instance_path.size() == instance_path_.size() && (weak || best_->keyword != "anyOf")) return;
    }
    best_ = Error{.message = std::move(message),
                  .keyword = keyword,
                  .schema = &schema,
                  .instance = &value,
                  .schema_path = schema_path_,
                  .instance_path = instance_path_};
  }

  void Descend(const Schema& schema, const JsonValue& value, std::vector<std::string> in_schema,
               std::string in_value) {
    size_t depth = schema_path_.size();
    for (std::string& step : in_schema) schema_path_.push_back("[" + std::move(step) + "]");
    instance_path_.push_back("[" + std::move(in_value) + "]");
    Check(schema, value);
    instance_path_.pop_back();
    schema_path_.resize(depth);
  }

  void CheckKeyword(const Schema& schema, const Keyword& keyword, const JsonValue& value) {
    switch (keyword.kind) {
      case Kind::kType:
        if (std::none_of(keyword.names.begin(), keyword.names.end(),
                         [&](const std::string& name) { return HasType(value, name); })) {
          Fail(schema, "type", value, PythonRepr(value) + " is not of type " + QuotedList(keyword.names));
        }
        break;
      case Kind::kEnum:
        if (!value.IsString() ||
            std::find(keyword.names.begin(), keyword.names.end(), TextOf(value)) == keyword.names.end()) {
          Fail(schema, "enum", value, PythonRepr(value) + " is not one of " + PythonRepr(keyword.names));
        }
        break;
      case Kind::kAnyOf:
        if (std::none_of(keyword.children.begin(), keyword.children.end(),
                         [&](const auto& child) { return child.second.Check(value).empty(); })) {
          Fail(schema, "anyOf", value, PythonRepr(value) + " is not valid under any of the given schemas");
        }
        break;
      default:
        if (value.IsObject()) CheckObject(schema, keyword, value);
        if (value.IsArray()) CheckArray(schema, keyword, value);
        if (value.IsString()) CheckString(schema, keyword, value);
        if (value.IsNumber()) CheckNumber(schema, keyword, value);
    }
  }

  void CheckObject(const Schema& schema, const Keyword& keyword, const JsonValue& value) {
    if (keyword.kind == Kind::kProperties) {
      for (const auto& [name, child] : keyword.children) {
        auto member = value.FindMember(rapidjson::StringRef(name.data(), name.size()));
        if (member == value.MemberEnd()) continue;
        Descend(child, member->value, {"'properties'", PythonRepr(name)}, PythonRepr(name));
      }
    } else if (keyword.kind == Kind::kPatternProperties) {
      for (size_t i = 0; i < keyword.patterns.size(); ++i) {
        for (const auto& member : value.GetObject()) {
          if (!keyword.patterns[i].matches(TextOf(member.name))) continue;
          Descend(keyword.children[i].second, member.value,
                  {"'patternProperties'", PythonRepr(keyword.patterns[i].text)},
                  PythonRepr(TextOf(member.name)));
        }
      }
    } else if (keyword.kind == Kind::kAdditional) {
      CheckAdditional(schema, value);
    } else if (keyword.kind == Kind::kRequired) {
      for (const std::string& name : keyword.names) {
        if (value.FindMember(rapidjson::StringRef(name.data(), name.size())) != value.MemberEnd()) continue;
        Fail(schema, "required", value, PythonRepr(name) + " is a required property");
      }
    } else if (keyword.kind == Kind::kMinProperties && value.MemberCount() < keyword.number) {
      Fail(schema, "minProperties", value,
           PythonRepr(value) +
               (keyword.number == 1 ? " should be non-empty" : " does not have enough properties"));
    }
  }

  void CheckAdditional(const Schema& schema, const JsonValue& value) {
    const Keyword* properties = schema.Find(Kind::kProperties);
    const Keyword* patterns = schema.Find(Kind::kPatternProperties);
    std::vector<std::string> extras;
    for (const auto& member : value.GetObject()) {
      std::string_view name = TextOf(member.name);
      bool known = properties && std::any_of(properties->children.begin(), properties->children.end(),
                                             [&](const auto& child) { return child.first == name; });
      bool matched = patterns && std::any_of(patterns->patterns.begin(), patterns->patterns.end(),
                                             [&](const Pattern& pattern) { return pattern.matches(name); });
      if (!known && !matched && extras.size() < 20) extras.emplace_back(name);
    }
    if (extras.empty()) return;
    if (!patterns) {
      Fail(schema, "additionalProperties", value,
           "Additional properties are not allowed (" + QuotedList(extras) +
               (extras.size() == 1 ? " was" : " were") + " unexpected)");
      return;
    }
    std::sort(extras.begin(), extras.end());
    std::vector<std::string> texts;
    for (const Pattern& pattern : patterns->patterns) texts.push_back(pattern.text);
    std::sort(texts.begin(), texts.end());
    Fail(schema, "additionalProperties", value,
         QuotedList(extras) + (extras.size() == 1 ? " does" : " do") +
             " not match any of the regexes: " + QuotedList(texts));
  }

  void CheckArray(const Schema& schema, const Keyword& keyword, const JsonValue& value) {
    if (keyword.kind == Kind::kItems) {
      for (rapidjson::SizeType i = 0; i < value.Size(); ++i) {
        Descend(keyword.children[0].second, value[i], {"'items'"}, std::to_string(i));
      }
    } else if (keyword.kind == Kind::kMinItems && value.Size() < keyword.number) {
      Fail(schema, "minItems", value,
           PythonRepr(value) + (keyword.number == 1 ? " should be non-empty" : " is too short"));
    } else if (keyword.kind == Kind::kUniqueItems && !AllDifferent(value)) {
      Fail(schema, "uniqueItems", value, PythonRepr(value) + " has non-unique elements");
    }
  }

  // Of texts, which is all that the API has lists of.
  static bool AllDifferent(const JsonValue& value) {
    std::unordered_set<std::string_view> seen;
    return std::all_of(value.Begin(), value.End(), [&](const JsonValue& item) {
      return !item.IsString() || seen.insert(TextOf(item)).second;
    });
  }

  void CheckString(const Schema& schema, const Keyword& keyword, const JsonValue& value) {
    std::string_view text = TextOf(value);
    if (keyword.kind == Kind::kMinLength && static_cast<double>(CountCharacters(text)) < keyword.number) {
      Fail(schema, "minLength", value,
           PythonRepr(value) + (keyword.number == 1 ? " should be non-empty" : " is too short"));
    } else if (keyword.kind == Kind::kMaxLength &&
               static_cast<double>(CountCharacters(text)) > keyword.number) {
      Fail(schema, "maxLength", value, PythonRepr(value) + " is too long");
    } else if (keyword.kind == Kind::kPattern && !keyword.patterns[0].matches(text)) {
      Fail(schema, "pattern", value,
           PythonRepr(value) + " does not match " + PythonRepr(keyword.patterns[0].text));
    } else if (keyword.kind == Kind::kFormat && !ParseUuidLike(text)) {
      Fail(schema, "format", value, PythonRepr(value) + " is not a 'uuid'");
    }
  }

  void CheckNumber(const Schema& schema, const Keyword& keyword, const JsonValue& value) {
    double number = value.GetDouble();
    if (keyword.kind == Kind::kMinimum && number < keyword.number) {
      Fail(schema, "minimum", value,
           PythonNumber(value) + " is less than the minimum of " + NumberText(keyword.number));
    } else if (keyword.kind == Kind::kMaximum && number > keyword.number) {
      Fail(schema, "maximum", value,
           PythonNumber(value) + " is greater than the maximum of " + NumberText(keyword.number));
    }
  }

  std::optional<Error> best_;
  std::vector<std::string> schema_path_;
  std::vector<std::string> instance_path_;
};

std::string Schema::Check(const JsonValue& instance) const {
  Checker checker;
  checker.Check(*this, instance);
  if (!checker.best()) return {};
  const Error& error = *checker.best();
  std::string text = error.message + "\n\nFailed validating " + PythonRepr(error.keyword) + " in schema";
  for (const std::string& step : error.schema_path) text += step;
  text += ":\n    " + error.schema->Repr() + "\n\nOn instance";
  for (const std::string& step : error.instance_path) text += step;
  return text + ":\n    " + PythonRepr(*error.instance);
}

std::string Schema::Repr() const {
  std::vector<std::string> parts;
  auto children = [](const Keyword& keyword) {
    std::string out = "{";
    for (const auto& [name, child] : keyword.children) {
      if (out.size() > 1) out += ", ";
      out += PythonRepr(name) + ": " + child.Repr();
    }
    return out + "}";
  };
  for (const Keyword& k : keywords_) {
    switch (k.kind) {
      case Kind::kType:
        parts.push_back("'type': " + (k.names.size() == 1 ? PythonRepr(k.names[0]) : PythonRepr(k.names)));
        break;
      case Kind::kProperties:
        parts.push_back("'properties': " + children(k));
        break;
      case Kind::kPatternProperties:
        parts.push_back("'patternProperties': " + children(k));
        break;
      case Kind::kAdditional:
        parts.emplace_back("'additionalProperties': False");
        break;
      case Kind::kRequired:
        parts.push_back("'required': " + PythonRepr(k.names));
        break;
      case Kind::kMinProperties:
        parts.push_back("'minProperties': " + NumberText(k.number));
        break;
      case Kind::kItems:
        parts.push_back("'items': " + k.children[0].second.Repr());
        break;
      case Kind::kMinItems:
        parts.push_back("'minItems': " + NumberText(k.number));
        break;
      case Kind::kUniqueItems:
        parts.emplace_back("'uniqueItems': True");
        break;
      case Kind::kMinLength:
        parts.push_back("'minLength': " + NumberText(k.number));
        break;
      case Kind::kMaxLength:
        parts.push_back("'maxLength': " + NumberText(k.number));
        break;
      case Kind::kMinimum:
        parts.push_back("'minimum': " + NumberText(k.number));
        break;
      case Kind::kMaximum:
        parts.push_back("'maximum': " + NumberText(k.number));
        break;
      case Kind::kPattern:
        parts.push_back("'pattern': " + PythonRepr(k.patterns[0].text));
        break;
      case Kind::kFormat:
        parts.emplace_back("'format': 'uuid'");
        break;
      case Kind::kEnum:
        parts.push_back("'enum': " + PythonRepr(k.names));
        break;
      case Kind::kAnyOf:
        parts.push_back("'anyOf': " + children(k));
        break;
    }
  }
  std::sort(parts.begin(), parts.end());
  return "{" + Join(parts, ", ") + "}";
}

}  // namespace berth::placement::rest
