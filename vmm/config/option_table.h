#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "vmm/config/option_grammar.h"

// The one table of options and keys: the command line, the JSON form, --help and the error texts read it.
namespace berth::vmm {

struct KeySpec {
  std::string_view name;
  std::string_view json_name;  // in vm.create's object of the option
  ValueType type;
  std::string_view help;
  bool required = false;
  uint64_t max = UINT32_MAX;            // for integers
  std::string_view refusal = {};        // why the key, part of the grammar, is refused with NotSupported
  std::string_view allowed_words = {};  // for texts of a few values: "acpi, virtio-mem"
  // Of a refused key: values that ask for nothing, or for what is so anyway; they are accepted. Cloud
  // Hypervisor writes them into every configuration.
  std::string_view harmless = {};
  std::string_view allowed = {};        // for error texts, where the type alone allows more
  std::string_view old_json_name = {};  // of older snapshots; read, not written
  bool supported() const { return refusal.empty(); }
};

// A word that may stand instead of keys, or before them, such as "off" or "tty".
struct WordSpec {
  std::string_view name;
};

struct OptionSpec {
  enum class Form {
    kFlag,  // stands alone
    kText,  // one text, taken as it is
    kKeys,  // key=value,..., or one of `words`
  };
  std::string_view name;  // without the two dashes
  Form form;
  std::string_view placeholder;  // for --help
  std::string_view help;
  bool repeatable = false;  // several values in one occurrence, and several occurrences
  std::span<const KeySpec> keys = {};
  std::span<const WordSpec> words = {};
  char short_name = 0;             // '-v'
  std::string_view refusal = {};   // why the option is refused as a whole
  std::string_view harmless = {};  // values that are accepted all the same, as those of a key
  bool supported() const { return refusal.empty(); }
};

// The word of a list "acpi, virtio-mem" that a text is, whatever the case of its letters; else empty.
std::string_view FindWord(std::string_view words, std::string_view text);

std::span<const OptionSpec> OptionTable();
const OptionSpec* FindOption(std::string_view name);
const KeySpec* FindKey(const OptionSpec& option, std::string_view name);

// "did you mean NAME?" for the nearest name (at most two edits away), else empty.
std::string NearestOptionHint(std::string_view name);
std::string NearestKeyHint(const OptionSpec& option, std::string_view name);

// The text of --help, made from the table.
std::string HelpText();

}  // namespace berth::vmm
