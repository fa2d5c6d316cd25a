#include "vmm/config/option_values.h"

#include <algorithm>

namespace berth::vmm {
namespace {

std::string WordList(const OptionSpec& spec) {
  std::string list;
  for (const WordSpec& word : spec.words) {
    if (word.refusal.empty()) list += (list.empty() ? "" : ", ") + std::string(word.name);
  }
  for (const KeySpec& key : spec.keys) {
    if (key.supported()) list += (list.empty() ? "" : ", ") + std::string(key.name) + "=...";
  }
  return list;
}

// True when the whole text is a word, or can only have been meant as one.
bool ReadWord(const OptionSpec& spec, std::string_view text, OptionValues& result, ConfigErrors& errors) {
  if (spec.words.empty() || text.find('=') != std::string_view::npos) return false;
  for (const WordSpec& word : spec.words) {
    if (word.name != text) continue;
    result.word = text;
    if (!word.refusal.empty()) {
      errors.push_back({"NotSupported", result.label, "", result.word,
                        "not supported: " + std::string(word.refusal), WordList(spec), ""});
    }
    return true;
  }
  errors.push_back(
      {"InvalidValue", result.label, "", std::string(text), "unknown value", WordList(spec), ""});
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
    errors.push_back({"NotSupported", result.label, pair.key, pair.value,
                      "not supported: " + std::string(key->refusal), "", "leave the key out"});
    return;
  }
  Result<OptionValue> value = ParseValue(key->type, key->max, pair.value);
  if (!value.has_value()) {
    errors.push_back({"InvalidValue", result.label, pair.key, pair.value,
                      "unable to convert the value" + at + ": " + value.error().message(),
                      value.error().hint(), ""});
    return;
  }
  if (!IsAllowedWord(*key, *value)) {
    errors.push_back({"InvalidValue", result.label, pair.key, pair.value, "unknown value" + at,
                      std::string(key->allowed_words), ""});
    return;
  }
  result.values.emplace(pair.key, *std::move(value));
}

}  // namespace

bool IsAllowedWord(const KeySpec& key, const OptionValue& value) {
  const auto* text = std::get_if<std::string>(&value);
  if (key.allowed_words.empty() || text == nullptr) return true;
  std::string_view words = key.allowed_words;
  constexpr std::string_view kSeparator = ", ";
  while (true) {
    const size_t end = words.find(kSeparator);
    if (words.substr(0, end) == *text) return true;
    if (end == std::string_view::npos) return false;
    words.remove_prefix(end + kSeparator.size());
  }
}

OptionValues ReadOptionString(const OptionSpec& spec, std::string label, std::string_view text,
                              ConfigErrors& errors) {
  OptionValues result;
  result.spec = &spec;
  result.label = std::move(label);
  if (ReadWord(spec, text, result, errors)) return result;
  Result<std::vector<KeyValue>> pairs = SplitKeyValues(text);
  if (!pairs.has_value()) {
    errors.push_back({"SyntaxError", result.label, "", std::string(text), pairs.error().message(),
                      "key=value,... with quotes and brackets closed and each key once", ""});
    return result;
  }
  for (const KeyValue& pair : *pairs) ReadKey(spec, pair, result, errors);
  // A key that was given, but badly, is not also "missing".
  for (const KeySpec& key : spec.keys) {
    bool given = std::any_of(pairs->begin(), pairs->end(), [&](const KeyValue& pair) {
      return pair.key == key.name && !pair.value.empty();
    });
    if (key.required && !given) {
      errors.push_back({"MissingKey", result.label, std::string(key.name), "", "required key is missing", "",
                        std::string(key.help)});
    }
  }
  return result;
}

}  // namespace berth::vmm
