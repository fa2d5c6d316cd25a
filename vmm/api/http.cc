#include "vmm/api/http.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>

namespace berth::vmm {
namespace {

constexpr std::string_view kLineEnd = "\r\n";
constexpr std::string_view kHeaderEnd = "\r\n\r\n";
constexpr size_t kMaxFields = 64;
constexpr size_t kMaxMethod = 16;

std::string Lower(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  return lower;
}

std::string_view TrimBlanks(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// A token of RFC 9110, 5.6.2.
bool IsToken(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) ||
           std::string_view("!#$%&'*+-.^_`|~").find(static_cast<char>(c)) != std::string_view::npos;
  });
}

bool IsVisible(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) { return c > 0x20 && c < 0x7f; });
}

// A field value: no control characters but the tab.
bool IsFieldValue(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](unsigned char c) { return c == '\t' || (c >= 0x20 && c != 0x7f); });
}

// Collects what the header says about the message.
class HeaderReader {
 public:
  explicit HeaderReader(const HttpLimits& limits) : limits_(limits) {}

  // `header` ends before the empty line.
  std::optional<BadRequest> Read(std::string_view header) {
    size_t end = header.find(kLineEnd);
    if (auto bad = ReadRequestLine(header.substr(0, end))) return bad;
    while (end != std::string_view::npos) {
      header.remove_prefix(end + kLineEnd.size());
      end = header.find(kLineEnd);
      if (auto bad = ReadField(header.substr(0, end))) return bad;
    }
    return std::nullopt;
  }

  HttpRequest request;
  size_t content_length = 0;
  bool awaits_continue = false;

 private:
  std::optional<BadRequest> ReadRequestLine(std::string_view line) {
    size_t first = line.find(' ');
    size_t last = line.rfind(' ');
    if (first == std::string_view::npos || first == last) return BadRequest{400, "malformed request line"};
    std::string_view method = line.substr(0, first);
    std::string_view target = line.substr(first + 1, last - first - 1);
    std::string_view version = line.substr(last + 1);
    if (!IsToken(method) || method.size() > kMaxMethod) return BadRequest{400, "malformed method"};
    if (target.empty() || target.front() != '/' || !IsVisible(target))
      return BadRequest{400, "malformed target"};
    if (version != "HTTP/1.1" && version != "HTTP/1.0") {
      bool http = version.starts_with("HTTP/");
      return BadRequest{http ? 505 : 400, "the version of HTTP must be 1.1 or 1.0"};
    }
    request.method = method;
    request.target = target;
    version_ = version;
    request.keep_alive = version == "HTTP/1.1";
    return std::nullopt;
  }

  std::optional<BadRequest> ReadField(std::string_view line) {
    if (++fields_ > kMaxFields) return BadRequest{431, "too many header fields"};
    size_t colon = line.find(':');
    // A name followed by a blank, and a line that continues the last one, are refused (RFC 9112, 5.1
    // and 5.2).
    if (colon == std::string_view::npos || !IsToken(line.substr(0, colon)))
      return BadRequest{400, "malformed header field"};
    std::string name = Lower(line.substr(0, colon));
    std::string_view value = TrimBlanks(line.substr(colon + 1));
    if (!IsFieldValue(value)) return BadRequest{400, "control character in a header field"};
    if (name == "host" && std::exchange(host_seen_, true)) return BadRequest{400, "two Host fields"};
    if (name == "content-length") return ReadLength(value);
    if (name == "transfer-encoding") return BadRequest{501, "transfer encodings are not supported"};
    if (name == "expect") {
      if (Lower(value) != "100-continue") return BadRequest{417, "the only expectation is 100-continue"};
      awaits_continue = version_ == "HTTP/1.1";  // of older clients it is ignored
    }
    if (name == "connection") ReadConnection(Lower(value));
    return std::nullopt;
  }

  std::optional<BadRequest> ReadLength(std::string_view value) {
    if (std::exchange(length_seen_, true)) return BadRequest{400, "two Content-Length fields"};
    bool digits = !value.empty() &&
                  std::all_of(value.begin(), value.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (!digits) return BadRequest{400, "malformed Content-Length"};
    auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), content_length);
    if (error != std::errc() || content_length > limits_.body_bytes)
      return BadRequest{413, "body larger than " + std::to_string(limits_.body_bytes) + " bytes"};
    return std::nullopt;
  }

  void ReadConnection(std::string_view options) {
    while (!options.empty()) {
      size_t comma = options.find(',');
      std::string_view option = TrimBlanks(options.substr(0, comma));
      if (option == "close") close_ = true;
      if (option == "keep-alive" && !close_) request.keep_alive = true;
      options = comma == std::string_view::npos ? std::string_view() : options.substr(comma + 1);
    }
    if (close_) request.keep_alive = false;
  }

  const HttpLimits& limits_;
  std::string_view version_;
  size_t fields_ = 0;
  bool host_seen_ = false;
  bool length_seen_ = false;
  bool close_ = false;
};

std::string_view ReasonPhrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 400:
      return "Bad Request";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 413:
      return "Content Too Large";
    case 417:
      return "Expectation Failed";
    case 431:
      return "Request Header Fields Too Large";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Internal Server Error";
  }
}

}  // namespace

ParseOutcome ParseHttpRequest(std::string_view buffer, const HttpLimits& limits) {
  size_t header_end = buffer.substr(0, limits.header_bytes).find(kHeaderEnd);
  if (header_end == std::string_view::npos) {
    if (buffer.size() >= limits.header_bytes)
      return BadRequest{431, "header larger than " + std::to_string(limits.header_bytes) + " bytes"};
    // A line feed alone, or a first line that cannot become a request line, is told at once.
    size_t feed = buffer.find('\n');
    if (feed == 0 || (feed != std::string_view::npos && buffer[feed - 1] != '\r'))
      return BadRequest{400, "line feed without carriage return"};
    return NeedMore{};
  }
  HeaderReader reader(limits);
  if (auto bad = reader.Read(buffer.substr(0, header_end))) return *bad;
  size_t body = header_end + kHeaderEnd.size();
  if (buffer.size() - body < reader.content_length) {
    // Who has begun to send waits no more.
    return NeedMore{reader.awaits_continue && buffer.size() == body};
  }
  reader.request.body = buffer.substr(body, reader.content_length);
  return ParsedRequest{std::move(reader.request), body + reader.content_length};
}

std::string FormatHttpResponse(const HttpResponse& response, bool keep_alive) {
  std::string text =
      "HTTP/1.1 " + std::to_string(response.status) + " " + std::string(ReasonPhrase(response.status));
  text += "\r\nServer: berth-vmm\r\n";
  if (!response.allow.empty()) text += "Allow: " + response.allow + "\r\n";
  text += keep_alive ? "Connection: keep-alive\r\n" : "Connection: close\r\n";
  if (response.status != 204) {
    if (!response.body.empty()) text += "Content-Type: application/json\r\n";
    text += "Content-Length: " + std::to_string(response.body.size()) + "\r\n";
  }
  text += "\r\n";
  return response.status == 204 ? text : text + response.body;
}

std::string ErrorBody(std::string_view code, std::string_view message, std::string_view field,
                      std::string_view hint) {
  using Json = nlohmann::ordered_json;
  Json error = {{"code", code}, {"message", message}};
  if (!field.empty()) error["field"] = field;
  if (!hint.empty()) error["hint"] = hint;
  return Json::array({error}).dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace berth::vmm
