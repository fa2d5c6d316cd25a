#include "common/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdlib>
#include <sstream>

#include "common/file.h"

namespace berth {
namespace {

constexpr size_t kMaxDepth = 64;
constexpr size_t kMaxNodes = 1'000'000;

struct Refused {
  YAML::Mark mark;
  std::string what;
};

// Builds the tree from events: the library's own node graph would expand aliases and merge duplicate keys
// silently.
class TreeBuilder final : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override { Put(mark, YamlNode{}); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    throw Refused{mark, "aliases are not supported"};
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                const std::string& value) override {
    YamlNode node;
    node.quoted = tag == "!";
    bool null = !node.quoted &&
                (value.empty() || value == "~" || value == "null" || value == "Null" || value == "NULL");
    if (!null) {
      node.kind = YamlNode::Kind::kScalar;
      node.scalar = value;
    }
    Put(mark, std::move(node));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {
    Open(mark, YamlNode::Kind::kSequence);
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {
    Open(mark, YamlNode::Kind::kMap);
  }
  void OnMapEnd() override { Close(); }

  YamlNode Take() { return std::move(root_); }

 private:
  struct Frame {
    YamlNode node;
    std::string key;
    bool has_key = false;
  };

  void Open(const YAML::Mark& mark, YamlNode::Kind kind) {
    if (stack_.size() >= kMaxDepth) throw Refused{mark, "nested deeper than 64 levels"};
    if (!stack_.empty() && stack_.back().node.is_map() && !stack_.back().has_key) {
      throw Refused{mark, "a key must be a scalar"};
    }
    Count(mark);
    stack_.emplace_back();
    stack_.back().node.kind = kind;
    stack_.back().node.line = mark.line + 1;
  }

  void Close() {
    YamlNode node = std::move(stack_.back().node);
    stack_.pop_back();
    Attach(std::move(node));
  }

  void Put(const YAML::Mark& mark, YamlNode node) {
    Count(mark);
    node.line = mark.line + 1;
    if (!stack_.empty() && stack_.back().node.is_map() && !stack_.back().has_key) {
      Frame& frame = stack_.back();
      if (frame.node.Find(node.scalar) != nullptr)
        throw Refused{mark, "duplicate key \"" + node.scalar + "\""};
      frame.key = node.scalar;
      frame.has_key = true;
      return;
    }
    Attach(std::move(node));
  }

  void Attach(YamlNode node) {
    if (stack_.empty()) {
      root_ = std::move(node);
      return;
    }
    Frame& frame = stack_.back();
    if (frame.node.is_map()) {
      frame.node.entries.push_back({std::move(frame.key), std::move(node)});
      frame.has_key = false;
    } else {
      frame.node.items.push_back(std::move(node));
    }
  }

  void Count(const YAML::Mark& mark) {
    if (++nodes_ > kMaxNodes) throw Refused{mark, "more than 1000000 nodes"};
  }

  YamlNode root_;
  std::vector<Frame> stack_;
  size_t nodes_ = 0;
};

Status At(std::string_view name, const YAML::Mark& mark, const std::string& what) {
  return InvalidArgument(std::string(name) + ":" + std::to_string(mark.line + 1) + ":" +
                         std::to_string(mark.column + 1) + ": " + what);
}

std::string WithLine(const YamlNode& node, std::string text) {
  if (node.line > 0) text += " (line " + std::to_string(node.line) + ")";
  return text;
}

const char* KindName(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::kNull:
      return "null";
    case YamlNode::Kind::kScalar:
      return "a scalar";
    case YamlNode::Kind::kSequence:
      return "a sequence";
    case YamlNode::Kind::kMap:
      return "a map";
  }
  return "unknown";
}

Status WrongKind(const YamlNode& node, std::string_view field, std::string_view expected) {
  std::string got = node.is_scalar() ? "\"" + node.scalar.substr(0, 80) + "\"" : KindName(node);
  return InvalidArgument(WithLine(node, "expected " + std::string(expected) + ", got " + got),
                         std::string(field));
}

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t up = row[j];
      row[j] = std::min({up + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = up;
    }
  }
  return row[b.size()];
}

}  // namespace

const YamlNode* YamlNode::Find(std::string_view key) const {
  for (const auto& [name, value] : entries) {
    if (name == key) return &value;
  }
  return nullptr;
}

Result<YamlNode> ParseYaml(std::string_view text, std::string_view name) {
  std::istringstream stream{std::string(text)};
  try {
    YAML::Parser parser(stream);
    TreeBuilder builder;
    if (!parser.HandleNextDocument(builder)) return YamlNode{};
    YamlNode root = builder.Take();
    TreeBuilder second;
    if (parser.HandleNextDocument(second)) {
      return InvalidArgument(std::string(name) + ": more than one YAML document");
    }
    return root;
  } catch (const Refused& e) {
    return At(name, e.mark, e.what);
  } catch (const YAML::Exception& e) {
    return At(name, e.mark, e.msg);
  }
}

Result<YamlNode> ReadYamlFile(const std::string& path) {
  TRY_ASSIGN(std::string text, ReadFile(path, size_t{64} << 20));
  return ParseYaml(text, path);
}

Result<std::string> YamlString(const YamlNode& node, std::string_view field) {
  if (!node.is_scalar()) return WrongKind(node, field, "a string");
  return node.scalar;
}

Result<int64_t> YamlInt(const YamlNode& node, std::string_view field, int64_t min, int64_t max) {
  std::string range = "a whole number from " + std::to_string(min) + " to " + std::to_string(max);
  if (!node.is_scalar()) return WrongKind(node, field, range);
  int64_t value = 0;
  const std::string& text = node.scalar;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::result_out_of_range) return WrongKind(node, field, range);
  if (error != std::errc() || end != text.data() + text.size()) return WrongKind(node, field, range);
  if (value < min || value > max) return WrongKind(node, field, range);
  return value;
}

Result<double> YamlDouble(const YamlNode& node, std::string_view field, double min, double max) {
  std::ostringstream range;
  range << "a number from " << min << " to " << max;
  if (!node.is_scalar()) return WrongKind(node, field, range.str());
  double value = 0;
  const std::string& text = node.scalar;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  bool good = error == std::errc() && end == text.data() + text.size() && value >= min && value <= max;
  if (!good) return WrongKind(node, field, range.str());
  return value;
}

Result<bool> YamlBool(const YamlNode& node, std::string_view field) {
  std::string lower;
  for (char c : node.scalar) lower += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (node.is_scalar()) {
    if (lower == "true" || lower == "yes" || lower == "on") return true;
    if (lower == "false" || lower == "no" || lower == "off") return false;
  }
  return WrongKind(node, field, "true or false");
}

std::vector<Status> UnknownYamlKeys(const YamlNode& map, std::string_view field,
                                    const std::vector<std::string_view>& allowed) {
  if (!map.is_map()) return {WrongKind(map, field, "a map")};
  std::vector<Status> errors;
  for (const auto& [key, value] : map.entries) {
    if (std::find(allowed.begin(), allowed.end(), key) != allowed.end()) continue;
    std::string hint;
    if (std::string_view nearest = NearestName(key, allowed); !nearest.empty()) {
      hint = "did you mean \"" + std::string(nearest) + "\"?";
    } else {
      hint = "allowed:";
      for (std::string_view name : allowed) hint += " " + std::string(name);
    }
    std::string path = field.empty() ? key : std::string(field) + "." + key;
    errors.push_back(InvalidArgument(WithLine(value, "unknown key \"" + key + "\""), path, hint));
  }
  return errors;
}

Status CheckYamlKeys(const YamlNode& map, std::string_view field,
                     const std::vector<std::string_view>& allowed) {
  std::vector<Status> errors = UnknownYamlKeys(map, field, allowed);
  return errors.empty() ? OkStatus() : std::move(errors.front());
}

std::string_view NearestName(std::string_view text, const std::vector<std::string_view>& candidates) {
  std::string_view best;
  size_t best_distance = std::max<size_t>(2, text.size() / 3) + 1;
  for (std::string_view candidate : candidates) {
    size_t distance = EditDistance(text, candidate);
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace berth
