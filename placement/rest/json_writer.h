#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace berth::placement::rest {

// Writes JSON into a string, front to back. The caller keeps the grammar: Key only in an object, before each
// value there. Strings are UTF-8 and are escaped; bytes that are no UTF-8 become U+FFFD.
class JsonWriter {
 public:
  JsonWriter& BeginObject() { return Begin('{'); }
  JsonWriter& EndObject() { return End('}'); }
  JsonWriter& BeginArray() { return Begin('['); }
  JsonWriter& EndArray() { return End(']'); }
  JsonWriter& Key(std::string_view name);
  JsonWriter& String(std::string_view value);
  JsonWriter& Int(int64_t value);
  // Always with a point or an exponent, as Python writes a float.
  JsonWriter& Double(double value);
  JsonWriter& Null() { return Raw("null"); }
  // Text that is JSON already.
  JsonWriter& Raw(std::string_view json);

  void Reserve(size_t bytes) { out_.reserve(bytes); }
  size_t size() const { return out_.size(); }
  std::string Take() && { return std::move(out_); }

 private:
  JsonWriter& Begin(char bracket);
  JsonWriter& End(char bracket);
  void Separate() {
    if (comma_) out_ += ',';
    comma_ = true;
  }
  void Quote(std::string_view text);

  std::string out_;
  bool comma_ = false;  // a value stands before
};

}  // namespace berth::placement::rest
