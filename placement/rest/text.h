#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/uuid.h"

namespace berth::placement::rest {

// Text as the API takes it apart. All functions are pure.

// "a,,b" -> {"a", "", "b"}; "" -> {""}.
std::vector<std::string_view> Split(std::string_view text, char separator);
// Without blanks at both ends.
std::string_view Strip(std::string_view text);
std::string Join(const std::vector<std::string>& parts, std::string_view separator);

// As Python prints a string: in single quotes (double ones when it has single ones and no double ones),
// control characters escaped, the rest as it is.
std::string PythonRepr(std::string_view text);
// ['a', 'b']
std::string PythonRepr(const std::vector<std::string>& list);

// Characters of UTF-8 text.
size_t CountCharacters(std::string_view text);
bool IsUtf8(std::string_view text);

// A UUID in any spelling that OpenStack takes: with or without dashes, braces, "urn:uuid:", in either case.
std::optional<Uuid> ParseUuidLike(std::string_view text);

// Name patterns of the API.
bool IsClassOrTraitName(std::string_view text);   // ^[A-Z0-9_]+$
bool IsCustomName(std::string_view text);         // ^CUSTOM_[A-Z0-9_]+$
bool IsUuidPattern(std::string_view text);        // ^[0-9a-fA-F-]{36}$
bool IsNumberedSuffix(std::string_view text);     // ^[1-9][0-9]*$
bool IsNamedSuffix(std::string_view text);        // ^[a-zA-Z0-9_-]{1,64}$
bool IsConsumerTypeQuery(std::string_view text);  // ^[A-Z0-9_]+$|^all|^unknown$

}  // namespace berth::placement::rest
