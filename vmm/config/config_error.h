#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

namespace berth::vmm {

// A text that somebody else has. Unlike a string_view it does not look for the end of a literal where it is
// made, which is code in each of these places.
class TextRef {
 public:
  constexpr TextRef(const char* text) : data_(text) {}
  TextRef(const std::string& text) : data_(text.data()), size_(text.size()) {}
  constexpr TextRef(std::string_view text) : data_(text.data()), size_(text.size()) {}
  std::string ToString() const { return size_ == kToItsEnd ? std::string(data_) : std::string(data_, size_); }

 private:
  static constexpr size_t kToItsEnd = std::string_view::npos;
  const char* data_;
  size_t size_ = kToItsEnd;
};

// One thing that is wrong with a configuration. All that are found are reported together.
struct ConfigError {
  std::string code;     // stable name, for programs: "MemoryZoneReused"
  std::string option;   // "memory-zone[1]": option of the table, with the occurrence where it is repeatable
  std::string key;      // key inside the option, or empty
  std::string value;    // what was given, or empty
  std::string message;  // what is wrong, in words
  std::string allowed;  // what would be accepted, or empty
  std::string hint;     // what to do, or empty

  // None of these is inline: rules make errors in some two hundred places.
  ConfigError(TextRef error_code, TextRef of_option, TextRef of_key, TextRef given, TextRef what,
              TextRef accepted, TextRef advice);
  ConfigError(const ConfigError&);
  ConfigError(ConfigError&&) noexcept;
  ConfigError& operator=(const ConfigError&);
  ConfigError& operator=(ConfigError&&) noexcept;
  ~ConfigError();

  friend bool operator==(const ConfigError&, const ConfigError&) = default;
};

using ConfigErrors = std::vector<ConfigError>;

// A value, or everything that is wrong (never an empty list).
template <class T>
using ConfigResult = tl::expected<T, ConfigErrors>;

// "--memory-zone[1]: size=3K: not a multiple of the page size (allowed: ...; hint) [MisalignedMemorySize]"
std::string ToText(const ConfigError& error);
// One line an error, each ended by a newline.
std::string ToText(const ConfigErrors& errors);
// A JSON array of objects {code, option, key, value, message, allowed, hint}; invalid UTF-8 is replaced.
std::string ToJson(const ConfigErrors& errors);

}  // namespace berth::vmm
