#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"

namespace berth::scheduler::whatif {

// One value of a parsed document (RFC 8259), or one member of an object. Values lie one after another, each
// container before its content, so a document is one block of memory and `span_` leads to the next sibling.
// Texts point into the line that was parsed, or into the document.
class Json {
 public:
  enum class Kind : uint8_t { kNull, kFalse, kTrue, kNumber, kString, kArray, kObject };

  // The values of an array or an object, in order.
  class Iterator {
   public:
    explicit Iterator(const Json* at) : at_(at) {}
    const Json& operator*() const { return *at_; }
    const Json* operator->() const { return at_; }
    Iterator& operator++() {
      at_ += at_->span_;
      return *this;
    }
    friend bool operator==(const Iterator&, const Iterator&) = default;

   private:
    const Json* at_;
  };
  Iterator begin() const { return Iterator(this + 1); }
  Iterator end() const { return Iterator(this + span_); }

  Kind kind() const { return kind_; }
  bool IsNull() const { return kind_ == Kind::kNull; }
  bool IsBool() const { return kind_ == Kind::kTrue || kind_ == Kind::kFalse; }
  bool IsTrue() const { return kind_ == Kind::kTrue; }
  bool IsNumber() const { return kind_ == Kind::kNumber; }
  bool IsString() const { return kind_ == Kind::kString; }
  bool IsArray() const { return kind_ == Kind::kArray; }
  bool IsObject() const { return kind_ == Kind::kObject; }

  // Of members of objects.
  std::string_view key() const { return key_; }
  // A string without its quotes and escapes, or a number as it is written.
  std::string_view text() const { return text_; }
  // Values in an array or object.
  uint32_t size() const { return size_; }
  // The member with this name that is not null; nullptr: there is none, or this is no object.
  const Json* Find(std::string_view name) const;

 private:
  friend class JsonParser;

  std::string_view key_;
  std::string_view text_;
  uint32_t span_ = 1;
  uint32_t size_ = 0;
  Kind kind_ = Kind::kNull;
};

// Parses documents one after another into memory that it keeps. Not thread-safe.
class JsonParser {
 public:
  static constexpr uint32_t kMaxDepth = 64;

  // The document, valid until the next call and as long as `text` lives. kInvalidArgument names the byte of
  // the first offence; nesting deeper than kMaxDepth and text that is no UTF-8 are offences.
  Result<const Json*> Parse(std::string_view text);

 private:
  // The readers return false after Fail: a Status for each value would cost more than parsing it.
  bool Fail(const char* what);
  void SkipBlanks();
  bool ReadValue(std::string_view key, uint32_t depth);
  bool ReadObject(size_t self, uint32_t depth);
  bool ReadArray(size_t self, uint32_t depth);
  bool ReadString(std::string_view& out);
  bool ReadEscaped(const char* start, std::string_view& out);
  bool ReadNumber(std::string_view& out);
  bool ReadWord(std::string_view word);
  bool ReadHex4(uint32_t& out);

  const char* what_ = nullptr;  // of the first failure
  const char* begin_ = nullptr;
  const char* at_ = nullptr;
  const char* end_ = nullptr;
  std::vector<Json> values_;
  std::string unescaped_;  // never grows beyond its reserve while texts point into it
};

}  // namespace berth::scheduler::whatif
