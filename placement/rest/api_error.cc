#include "placement/rest/api_error.h"

#include "placement/rest/accept.h"
#include "placement/rest/json_writer.h"

namespace berth::placement::rest {
namespace {

// The sentence that begins the detail of every error of this status. Facts of the interface: clients and the
// public tests compare them.
std::string Explanation(int status, const ErrorContext& context) {
  switch (status) {
    case 400:
      return "The server could not comply with the request since it is either malformed or otherwise "
             "incorrect.";
    case 401:
      return "This server could not verify that you are authorized to access the document you requested. "
             "Either "
             "you supplied the wrong credentials (e.g., bad password), or your browser does not understand "
             "how to "
             "supply the credentials required.";
    case 403:
      return "Access was denied to this resource.";
    case 404:
      return "The resource could not be found.";
    case 405:
      return "The method " + std::string(context.method) + " is not allowed for this resource.";
    case 406:
      return "The resource could not be generated that was acceptable to your browser (content of type " +
             std::string(context.accept) + ".";
    case 409:
      return "There was a conflict when trying to complete your request.";
    case 413:
      return "The body of your request was too large for this server.";
    case 415:
      return "The request media type " + std::string(context.content_type) +
             " is not supported by this server.";
    case 503:
      return "The server is currently unavailable. Please try again at a later time.";
    default:
      return "The server has either erred or is incapable of performing the requested operation.";
  }
}

std::string EscapeHtml(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

// Without anything that looks like a tag, line breaks as blanks: what the API makes of a text for JSON.
std::string StripTags(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  const size_t last = text.rfind('>');
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '<' && last != std::string_view::npos && i < last) {
      i = text.find('>', i);
      continue;
    }
    if (text[i] == '\r') continue;
    out += text[i] == '\n' ? ' ' : text[i];
  }
  return out;
}

std::string StatusLine(int status) {
  return std::to_string(status) + " " + std::string(http::ReasonPhrase(status));
}

std::string JsonBody(const ApiError& error, const ErrorContext& context) {
  JsonWriter json;
  json.BeginObject().Key("errors").BeginArray().BeginObject();
  json.Key("status").Int(error.status);
  json.Key("title").String(http::ReasonPhrase(error.status));
  std::string detail = Explanation(error.status, context) + "\n\n " + StripTags(error.detail) + "  ";
  json.Key("detail").String(detail);
  if (context.version && context.version->At(23)) json.Key("code").String(error.code);
  if (!context.request_id.empty()) json.Key("request_id").String(context.request_id);
  if (error.status == 406 && !context.version) {
    json.Key("max_version").String(kMaxMicroversion.ToString());
    json.Key("min_version").String(kMinMicroversion.ToString());
  }
  json.EndObject().EndArray().EndObject();
  return std::move(json).Take();
}

std::string HtmlBody(int status, const std::string& text) {
  std::string line = StatusLine(status);
  return "<html>\n <head>\n  <title>" + line + "</title>\n </head>\n <body>\n  <h1>" + line + "</h1>\n  " +
         text + "\n\n\n </body>\n</html>";
}

}  // namespace

http::Response RenderError(const ApiError& error, const ErrorContext& context) {
  http::Response response{.status = error.status, .headers = error.headers, .body = {}};
  switch (PreferredErrorForm(context.accept)) {
    case ErrorForm::kJson:
      response.headers.Set("content-type", "application/json");
      response.body = JsonBody(error, context);
      break;
    case ErrorForm::kHtml:
      response.headers.Set("content-type", "text/html; charset=UTF-8");
      response.body = HtmlBody(error.status, EscapeHtml(Explanation(error.status, context)) +
                                                 "<br /><br />\n" + EscapeHtml(error.detail));
      break;
    case ErrorForm::kText:
      response.headers.Set("content-type", "text/plain; charset=UTF-8");
      response.body = StatusLine(error.status) + "\n\n" + Explanation(error.status, context) + "\n\n " +
                      StripTags(error.detail) + "  ";
      break;
  }
  return response;
}

http::Response RenderUnauthorized(const ErrorContext& context) {
  http::Response response{.status = 401, .headers = {}, .body = {}};
  std::string text = Explanation(401, context);
  if (PreferredErrorForm(context.accept) == ErrorForm::kHtml) {
    response.headers.Set("content-type", "text/html; charset=UTF-8");
    response.body = HtmlBody(401, text + "<br /><br />\n");
    return response;
  }
  JsonWriter json;
  json.BeginObject();
  json.Key("message").String(text + "<br /><br />\n\n\n");
  json.Key("code").String(StatusLine(401));
  json.Key("title").String("Unauthorized");
  json.EndObject();
  response.headers.Set("content-type", "application/json");
  response.body = std::move(json).Take();
  return response;
}

}  // namespace berth::placement::rest
