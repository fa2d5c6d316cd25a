#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace berth::http {

// Header fields in the order of their arrival. Names compare without regard to case. A value type.
class Headers {
 public:
  using Field = std::pair<std::string, std::string>;

  // nullptr when absent. A field that came more than once is one value, joined by ", ".
  const std::string* Find(std::string_view name) const;
  // "" when absent.
  std::string_view Get(std::string_view name) const;
  // Appends; a second Add of a name joins the values by ", ".
  void Add(std::string name, std::string value);
  // Replaces.
  void Set(std::string name, std::string value);

  const std::vector<Field>& fields() const { return fields_; }

 private:
  Field* At(std::string_view name);

  std::vector<Field> fields_;
};

struct Request {
  std::string method;
  std::string path;   // as sent, percent-encoded, without the query
  std::string query;  // as sent, without '?'
  Headers headers;
  std::string body;
  std::string remote;  // the peer's address
};

struct Response {
  int status = 200;
  Headers headers;
  std::string body;  // its length is the only source of Content-Length
};

// The reason phrase of RFC 9110 for a status, "" for an unknown one.
std::string_view ReasonPhrase(int status);

// RFC 9110's IMF-fixdate, for Date and Last-Modified: "Sun, 06 Nov 1994 08:49:37 GMT".
std::string FormatHttpDate(int64_t unix_seconds);

// "a%20b" -> "a b"; false when a '%' is not followed by two hexadecimal digits. '+' stays what it is.
bool PercentDecode(std::string_view text, std::string* decoded);

// Whether it can stand in a header field: no control characters but tabs.
bool IsHeaderText(std::string_view text);

bool EqualsIgnoreCase(std::string_view a, std::string_view b);

}  // namespace berth::http
