#include "scheduler/whatif/json.h"

#include <rapidjson/error/en.h>
#include <rapidjson/reader.h>

#include <algorithm>
#include <cstring>

namespace berth::scheduler::whatif {
namespace {

// Larger documents take more, and give it back.
constexpr size_t kValueMemory = size_t{1} << 20;
constexpr size_t kStackMemory = size_t{256} << 10;

bool IsAscii(std::string_view text) {
  unsigned char all = 0;
  for (char c : text) all |= static_cast<unsigned char>(c);
  return all < 0x80;
}

template <unsigned kFlags, class Document>
rapidjson::ParseResult Read(rapidjson::InsituStringStream& stream, Document& document) {
  rapidjson::Reader reader;
  rapidjson::ParseResult result;
  // Populate hands over the document as its base, but calls the handler of the derived class through `read`.
  auto read = [&](auto& /*base*/) {
    result = reader.Parse<kFlags>(stream, document);
    return !result.IsError();
  };
  document.Populate(read);
  return result;
}

const char* Why(rapidjson::ParseErrorCode code) {
  return code == rapidjson::kParseErrorTermination
             ? "Values are nested too deep, or text has half of a surrogate pair."
             : rapidjson::GetParseError_En(code);
}

}  // namespace

const Json* Find(const Json& object, std::string_view name) {
  if (!object.IsObject()) return nullptr;
  for (auto member = object.MemberBegin(); member != object.MemberEnd(); ++member) {
    const Json& key = member->name;
    if (key.GetStringLength() == name.size() && std::memcmp(key.GetString(), name.data(), name.size()) == 0)
      return member->value.IsNull() ? nullptr : &member->value;
  }
  return nullptr;
}

bool JsonParser::Document::IsText(const char* text, rapidjson::SizeType size) const {
  if (!escapes_) return true;
  for (rapidjson::SizeType i = 0; i + 1 < size; ++i) {
    if (text[i] == '\xed' && static_cast<unsigned char>(text[i + 1]) >= 0xa0) return false;
  }
  return true;
}

JsonParser::JsonParser()
    : value_memory_(kValueMemory),
      stack_memory_(kStackMemory),
      values_(value_memory_.data(), value_memory_.size()),
      stack_(stack_memory_.data(), stack_memory_.size()) {}

Result<const Json*> JsonParser::Parse(std::string_view text) {
  constexpr unsigned kFlags = rapidjson::kParseInsituFlag | rapidjson::kParseFullPrecisionFlag;
  document_.reset();
  values_.Clear();
  stack_.Clear();
  text_ = text;
  document_.emplace(&values_, &stack_, text.find('\\') != std::string_view::npos);
  rapidjson::InsituStringStream stream(text_.data());
  rapidjson::ParseResult result =
      IsAscii(text) ? Read<kFlags>(stream, *document_)
                    : Read < kFlags | rapidjson::kParseValidateEncodingFlag > (stream, *document_);
  // The reader takes a NUL byte for the end.
  if (!result.IsError() && stream.Tell() != text.size())
    result.Set(rapidjson::kParseErrorDocumentRootNotSingular, stream.Tell());
  if (!result.IsError()) return &*document_;
  return InvalidArgument("no JSON at byte " + std::to_string(result.Offset() + 1) + ": " +
                         Why(result.Code()));
}

}  // namespace berth::scheduler::whatif
