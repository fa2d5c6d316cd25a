#include "vmm/config/option_values.h"

#include <algorithm>
#include <set>

namespace berth::vmm {
namespace {

std::string WordList(const OptionSpec& spec) {
  std::string list;
  for (const WordSpec& word : spec.words) list += (list.empty() ? "" : ", ") + std::string(word.name);
  for (const KeySpec& key : spec.keys) {
    if (key.supported()) list += (list.empty() ? "" : ", ") + std::string(key.name) + "=...";
  }
  return list;
}

// Takes a word from the beginning of the text, if there is one: "off" of "off,iommu=off".
bool ReadWord(const OptionSpec& spec, std::string_view& text, OptionValues& result, ConfigErrors& errors) {
  const size_t comma = text.find(',');
  const std::string_view first = text.substr(0, comma);
  if (spec.words.empty() || first.find('=') != std::string_view::npos) return false;
  text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
  for (const WordSpec& word : spec.words) {
    if (word.name == first) result.word = first;
  }
  if (result.word.empty()) {
    errors.push_back({"InvalidValue", result.label, "", first, "unknown value", WordList(spec), ""});
  }
  return true;
}

void ReadKey(const OptionSpec& spec, const KeyValue& pair, OptionValues& result, ConfigErrors& errors) {
  const KeySpec* key = FindKey(spec, pair.key);
  std::string at = " at column " + std::to_string(pair.column);
  if (key == nullptr) {
    errors.push_back({"UnknownOption", result.label, pair.key, pair.value, "unknown option: " + pair.key + at,
                      "", NearestKeyHint(spec, pair.key)});
    return;
  }
  if (pair.value.empty()) return;  // unset
  if (!key->supported()) {
    if (IsHarmless(*key, pair.value)) return;
    errors.push_back({"NotSupported", result.label, pair.key, pair.value,
                      "not supported: " + std::string(key->refusal), key->harmless, "leave the key out"});
    return;
  }
  Result<OptionValue> value = ParseValue(key->type, key->max, pair.value);
  if (!value.has_value()) {
    errors.push_back({"InvalidValue", result.label, pair.key, pair.value,
                      "unable to convert the value" + at + ": " + value.error().message(),
                      key->allowed.empty() ? value.error().hint() : std::string(key->allowed), ""});
    return;
  }
  if (!TakeAllowedWord(*key, *value)) {
    errors.push_back(
        {"InvalidValue", result.label, pair.key, pair.value, "unknown value" + at, key->allowed_words, ""});
    return;
  }
  // A word says where it goes; only what is said beside that (iommu) may follow it.
  if (!result.word.empty() && key->type == ValueType::kString) {
    errors.push_back({"InvalidValue", result.label, pair.key, pair.value,
                      "does not go with the word " + result.word + at, "", "leave out one of them"});
    return;
  }
  result.values.emplace(pair.key, *std::move(value));
}

}  // namespace

bool TakeAllowedWord(const KeySpec& key, OptionValue& value) {
  auto* text = std::get_if<std::string>(&value);
  if (key.allowed_words.empty() || text == nullptr) return true;
  const std::string_view word = FindWord(key.allowed_words, *text);
  if (!word.empty()) *text = word;
  return !word.empty();
}

bool IsHarmless(const KeySpec& key, std::string_view text) {
  if (text == "[]") return true;
  std::string plain = Unquote(text);
  if (key.type == ValueType::kToggle) {
    if (Result<OptionValue> on = ParseValue(key.type, 0, text); on.has_value())
      plain = std::get<bool>(*on) ? "on" : "off";
  }
  return !FindWord(key.harmless, plain).empty() || !FindWord(key.harmless, text).empty();
}

OptionValues ReadOptionString(const OptionSpec& spec, std::string label, std::string_view text,
                              ConfigErrors& errors) {
  OptionValues result;
  result.spec = &spec;
  result.label = std::move(label);
  const bool word = ReadWord(spec, text, result, errors);
  if (word && text.empty()) return result;
  std::vector<Status> wrong;
  const std::vector<KeyValue> pairs = SplitKeyValues(text, wrong);
  for (const Status& status : wrong) {
    errors.push_back({"SyntaxError", result.label, status.field(),
                      pairs.empty() && status.field().empty() ? text : "", status.message(),
                      "key=value,... with quotes and brackets closed", ""});
  }
  std::set<std::string_view> seen;
  for (const KeyValue& pair : pairs) {
    if (seen.insert(pair.key).second) {
      ReadKey(spec, pair, result, errors);
    } else {
      errors.push_back({"DuplicateKey", result.label, pair.key, pair.value,
                        "key stands twice, again at column " + std::to_string(pair.column), "once", ""});
    }
  }
  // A key that was given, but badly, is not also "missing"; nor one that may stand in what cannot be read.
  if (word || (pairs.empty() && !wrong.empty())) return result;
  for (const KeySpec& key : spec.keys) {
    const bool given = std::any_of(pairs.begin(), pairs.end(), [&](const KeyValue& pair) {
      return pair.key == key.name && !pair.value.empty();
    });
    const bool unread = std::any_of(wrong.begin(), wrong.end(),
                                    [&](const Status& status) { return status.field() == key.name; });
    if (key.required && !given && !unread) {
      errors.push_back({"MissingKey", result.label, key.name, "", "required key is missing", "", key.help});
    }
  }
  return result;
}

}  // namespace berth::vmm
