#include "placement/rest/schema.h"

#include <algorithm>

namespace berth::placement::rest {

Schema Schema::Type(std::vector<std::string> names) {
  Schema schema;
  schema.At(Kind::kType).names = std::move(names);
  return schema;
}

Schema Schema::Array(Schema items) {
  Schema schema = Type({"array"});
  schema.At(Kind::kItems).children.emplace_back("", std::move(items));
  return schema;
}

Schema Schema::AnyOf(std::vector<Schema> choices) {
  Schema schema;
  Keyword& keyword = schema.At(Kind::kAnyOf);
  for (Schema& choice : choices) keyword.children.emplace_back("", std::move(choice));
  return schema;
}

Schema::Keyword& Schema::At(Kind kind) {
  auto at =
      std::find_if(keywords_.begin(), keywords_.end(), [&](const Keyword& k) { return k.kind == kind; });
  if (at != keywords_.end()) return *at;
  return keywords_.emplace_back(
      Keyword{.kind = kind, .names = {}, .number = 0, .children = {}, .patterns = {}});
}

const Schema::Keyword* Schema::Find(Kind kind) const {
  auto at =
      std::find_if(keywords_.begin(), keywords_.end(), [&](const Keyword& k) { return k.kind == kind; });
  return at == keywords_.end() ? nullptr : &*at;
}

Schema Schema::Property(std::string name, Schema schema) && {
  auto& children = At(Kind::kProperties).children;
  auto at = std::find_if(children.begin(), children.end(), [&](const auto& c) { return c.first == name; });
  if (at == children.end()) {
    children.emplace_back(std::move(name), std::move(schema));
  } else {
    at->second = std::move(schema);
  }
  return std::move(*this);
}

Schema Schema::PatternProperty(Pattern pattern, Schema schema) && {
  Keyword& keyword = At(Kind::kPatternProperties);
  keyword.children.emplace_back(pattern.text, std::move(schema));
  keyword.patterns.push_back(std::move(pattern));
  return std::move(*this);
}

Schema Schema::NoOthers() && {
  At(Kind::kAdditional);
  return std::move(*this);
}

Schema Schema::Required(std::vector<std::string> names) && {
  auto& all = At(Kind::kRequired).names;
  all.insert(all.end(), names.begin(), names.end());
  return std::move(*this);
}

Schema Schema::MinProperties(int64_t count) && {
  At(Kind::kMinProperties).number = static_cast<double>(count);
  return std::move(*this);
}

Schema Schema::MinItems(int64_t count) && {
  At(Kind::kMinItems).number = static_cast<double>(count);
  return std::move(*this);
}

Schema Schema::UniqueItems() && {
  At(Kind::kUniqueItems);
  return std::move(*this);
}

Schema Schema::MinLength(int64_t count) && {
  At(Kind::kMinLength).number = static_cast<double>(count);
  return std::move(*this);
}

Schema Schema::MaxLength(int64_t count) && {
  At(Kind::kMaxLength).number = static_cast<double>(count);
  return std::move(*this);
}

Schema Schema::Minimum(double value) && {
  At(Kind::kMinimum).number = value;
  return std::move(*this);
}

Schema Schema::Maximum(double value) && {
  At(Kind::kMaximum).number = value;
  return std::move(*this);
}

Schema Schema::Matches(Pattern pattern) && {
  At(Kind::kPattern).patterns = {std::move(pattern)};
  return std::move(*this);
}

Schema Schema::UuidFormat() && {
  At(Kind::kFormat);
  return std::move(*this);
}

Schema Schema::OneOf(std::vector<std::string> values) && {
  At(Kind::kEnum).names = std::move(values);
  return std::move(*this);
}

}  // namespace berth::placement::rest
