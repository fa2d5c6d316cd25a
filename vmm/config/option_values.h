#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/config/config_error.h"
#include "vmm/config/option_table.h"
#include "vmm/config/vm_config.h"

// The step between a way to write a configuration (option strings, JSON) and VmConfig.
namespace berth::vmm {

// One occurrence of an option of the form kKeys, its values typed by the table.
struct OptionValues {
  const OptionSpec* spec = nullptr;
  std::string label;  // "numa[1]"
  std::string word;   // when a word stands instead of keys
  std::map<std::string, OptionValue, std::less<>> values;

  template <class T>
  const T* Get(std::string_view key) const {
    auto found = values.find(key);
    return found == values.end() ? nullptr : std::get_if<T>(&found->second);
  }
};

// Reads an option string; required keys must be there. Errors are appended to `errors`; what could be read is
// returned all the same, so that later checks find more.
OptionValues ReadOptionString(const OptionSpec& spec, std::string label, std::string_view text,
                              ConfigErrors& errors);

// Whether a text is one of the key's words, where the key has such; it is then spelled as the table has it.
bool TakeAllowedWord(const KeySpec& key, OptionValue& value);

// Whether a value of a refused key is one of its harmless ones. `text` as on the command line, or as JSON.
bool IsHarmless(const KeySpec& key, std::string_view text);

// Puts typed values into a configuration: later options see earlier ones of the table's order (a zone
// inherits --memory mergeable), whatever order they were given in. Generates missing device ids.
void ApplyOptions(const std::vector<OptionValues>& options, VmConfig& config, ConfigErrors& errors);

}  // namespace berth::vmm
