#pragma once

#include <rapidjson/document.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"

namespace berth::scheduler::whatif {

using Json = rapidjson::Value;

inline std::string_view TextOf(const Json& string) {
  return {string.GetString(), string.GetStringLength()};
}

// The member with this name that is not null; nullptr: there is none, or this is no object.
const Json* Find(const Json& object, std::string_view name);

// Parses documents one after another into memory that it keeps. Not thread-safe.
class JsonParser {
 public:
  static constexpr uint32_t kMaxDepth = 64;

  JsonParser();

  // The document, valid until the next call. kInvalidArgument names the byte of the first offence; nesting
  // deeper than kMaxDepth and text that is no UTF-8 are offences.
  Result<const Json*> Parse(std::string_view text);

 private:
  using Pool = rapidjson::MemoryPoolAllocator<>;

  // Takes what the reader finds, with the limits that the library has not: of depth, and that no text has
  // halves of surrogate pairs (they can only come from escapes).
  class Document : public rapidjson::GenericDocument<rapidjson::UTF8<>, Pool, Pool> {
   public:
    using Base = rapidjson::GenericDocument<rapidjson::UTF8<>, Pool, Pool>;
    Document(Pool* values, Pool* stack, bool escapes) : Base(values, 4096, stack), escapes_(escapes) {}

    bool StartObject() { return ++depth_ <= kMaxDepth && Base::StartObject(); }
    bool StartArray() { return ++depth_ <= kMaxDepth && Base::StartArray(); }
    bool EndObject(rapidjson::SizeType size) { return --depth_, Base::EndObject(size); }
    bool EndArray(rapidjson::SizeType size) { return --depth_, Base::EndArray(size); }
    bool String(const char* text, rapidjson::SizeType size, bool copy) {
      return IsText(text, size) && Base::String(text, size, copy);
    }
    bool Key(const char* text, rapidjson::SizeType size, bool copy) {
      return IsText(text, size) && Base::Key(text, size, copy);
    }

   private:
    bool IsText(const char* text, rapidjson::SizeType size) const;

    bool escapes_;
    uint32_t depth_ = 0;
  };

  std::string text_;  // of the document, parsed in place
  std::vector<char> value_memory_;
  std::vector<char> stack_memory_;
  Pool values_;
  Pool stack_;
  std::optional<Document> document_;
};

}  // namespace berth::scheduler::whatif
