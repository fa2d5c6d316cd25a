#include "placement/rest/json_value.h"

#include <rapidjson/error/error.h>

#include <unordered_set>

#include "placement/rest/json_writer.h"
#include "placement/rest/text.h"

namespace berth::placement::rest {
namespace {

// Whether brackets nest deeper than allowed. Strings are skipped; what is no JSON is found by the parser.
bool TooDeep(std::string_view text) {
  size_t depth = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '"') {
      for (++i; i < text.size() && text[i] != '"'; ++i) {
        if (text[i] == '\\') ++i;
      }
    } else if (c == '{' || c == '[') {
      if (++depth > kMaxJsonDepth) return true;
    } else if ((c == '}' || c == ']') && depth > 0) {
      --depth;
    }
  }
  return false;
}

std::string_view Reason(rapidjson::ParseErrorCode code) {
  switch (code) {
    case rapidjson::kParseErrorDocumentRootNotSingular:
      return "Extra data";
    case rapidjson::kParseErrorObjectMissName:
      return "Expecting property name enclosed in double quotes";
    case rapidjson::kParseErrorObjectMissColon:
      return "Expecting ':' delimiter";
    case rapidjson::kParseErrorObjectMissCommaOrCurlyBracket:
    case rapidjson::kParseErrorArrayMissCommaOrSquareBracket:
      return "Expecting ',' delimiter";
    case rapidjson::kParseErrorStringMissQuotationMark:
      return "Unterminated string starting at";
    case rapidjson::kParseErrorStringEscapeInvalid:
      return "Invalid \\escape";
    case rapidjson::kParseErrorStringUnicodeEscapeInvalidHex:
    case rapidjson::kParseErrorStringUnicodeSurrogateInvalid:
      return "Invalid \\uXXXX escape";
    case rapidjson::kParseErrorStringInvalidEncoding:
      return "the body is no UTF-8";
    case rapidjson::kParseErrorNumberTooBig:
      return "number too big";
    default:
      return "Expecting value";
  }
}

std::string Place(std::string_view text, size_t offset) {
  size_t line = 1, column = 1;
  for (size_t i = 0; i < offset && i < text.size(); ++i) {
    if (text[i] == '\n') {
      ++line;
      column = 1;
    } else {
      ++column;
    }
  }
  return ": line " + std::to_string(line) + " column " + std::to_string(column) + " (char " +
         std::to_string(offset) + ")";
}

// Depth is bounded by TooDeep.
void KeepLastOfEachKey(JsonValue& value) {
  if (value.IsArray()) {
    for (JsonValue& item : value.GetArray()) KeepLastOfEachKey(item);
  }
  if (!value.IsObject()) return;
  std::unordered_set<std::string_view> seen;
  bool twice = false;
  for (auto& member : value.GetObject()) {
    KeepLastOfEachKey(member.value);
    twice = !seen.insert(TextOf(member.name)).second || twice;
  }
  if (!twice) return;
  // The last ones move to the end, in their order; the others go all at once.
  seen.clear();
  auto kept = value.MemberEnd();
  for (auto at = value.MemberEnd(); at != value.MemberBegin();) {
    --at;
    if (seen.contains(TextOf(at->name))) continue;
    --kept;
    if (kept != at) {
      kept->name.Swap(at->name);
      kept->value.Swap(at->value);
    }
    seen.insert(TextOf(kept->name));
  }
  value.EraseMember(value.MemberBegin(), kept);
}

void AppendRepr(const JsonValue& value, size_t limit, std::string& out) {
  if (out.size() > limit) return;
  if (value.IsString()) {
    out += PythonRepr(TextOf(value));
  } else if (value.IsObject()) {
    out += '{';
    for (auto at = value.MemberBegin(); at != value.MemberEnd() && out.size() <= limit; ++at) {
      if (at != value.MemberBegin()) out += ", ";
      out += PythonRepr(TextOf(at->name)) + ": ";
      AppendRepr(at->value, limit, out);
    }
    out += '}';
  } else if (value.IsArray()) {
    out += '[';
    for (auto at = value.Begin(); at != value.End() && out.size() <= limit; ++at) {
      if (at != value.Begin()) out += ", ";
      AppendRepr(*at, limit, out);
    }
    out += ']';
  } else if (value.IsNumber()) {
    out += PythonNumber(value);
  } else {
    out += value.IsNull() ? "None" : value.IsTrue() ? "True" : "False";
  }
}

}  // namespace

tl::expected<JsonDocument, std::string> ParseJson(std::string_view text) {
  if (TooDeep(text)) {
    return tl::unexpected("nested deeper than " + std::to_string(kMaxJsonDepth) + " levels");
  }
  JsonDocument document;
  constexpr unsigned kFlags = rapidjson::kParseIterativeFlag | rapidjson::kParseFullPrecisionFlag |
                              rapidjson::kParseValidateEncodingFlag;
  document.Parse<kFlags>(text.data(), text.size());
  if (document.HasParseError()) {
    return tl::unexpected(std::string(Reason(document.GetParseError())) +
                          Place(text, document.GetErrorOffset()));
  }
  KeepLastOfEachKey(document);
  return document;
}

std::string PythonNumber(const JsonValue& value) {
  JsonWriter json;
  if (value.IsInt64()) {
    json.Int(value.GetInt64());
  } else if (value.IsUint64()) {
    return std::to_string(value.GetUint64());
  } else {
    json.Double(value.GetDouble());
  }
  return std::move(json).Take();
}

std::string PythonRepr(const JsonValue& value, size_t limit) {
  std::string out;
  AppendRepr(value, limit, out);
  if (out.size() > limit) {
    out.resize(limit);
    out += "...";
  }
  return out;
}

}  // namespace berth::placement::rest
