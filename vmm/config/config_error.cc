#include "vmm/config/config_error.h"

#include <nlohmann/json.hpp>

namespace berth::vmm {

ConfigError::ConfigError(TextRef error_code, TextRef of_option, TextRef of_key, TextRef given, TextRef what,
                         TextRef accepted, TextRef advice)
    : code(error_code.ToString()),
      option(of_option.ToString()),
      key(of_key.ToString()),
      value(given.ToString()),
      message(what.ToString()),
      allowed(accepted.ToString()),
      hint(advice.ToString()) {}
ConfigError::ConfigError(const ConfigError&) = default;
ConfigError::ConfigError(ConfigError&&) noexcept = default;
ConfigError& ConfigError::operator=(const ConfigError&) = default;
ConfigError& ConfigError::operator=(ConfigError&&) noexcept = default;
ConfigError::~ConfigError() = default;

std::string ToText(const ConfigError& error) {
  std::string text = "--" + error.option + ": ";
  if (!error.key.empty()) {
    text += error.key;
    if (!error.value.empty()) text += "=" + error.value;
    text += ": ";
  } else if (!error.value.empty()) {
    text += "'" + error.value + "': ";
  }
  text += error.message;
  if (!error.allowed.empty() || !error.hint.empty()) {
    text += " (";
    if (!error.allowed.empty()) text += "allowed: " + error.allowed;
    if (!error.allowed.empty() && !error.hint.empty()) text += "; ";
    text += error.hint + ")";
  }
  return text + " [" + error.code + "]";
}

std::string ToText(const ConfigErrors& errors) {
  std::string text;
  for (const ConfigError& error : errors) text += ToText(error) + "\n";
  return text;
}

std::string ToJson(const ConfigErrors& errors) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const ConfigError& error : errors) {
    list.push_back({{"code", error.code},
                    {"option", error.option},
                    {"key", error.key},
                    {"value", error.value},
                    {"message", error.message},
                    {"allowed", error.allowed},
                    {"hint", error.hint}});
  }
  return list.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace berth::vmm
