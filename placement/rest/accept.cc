#include "placement/rest/accept.h"

#include <cstdlib>
#include <string>

#include "common/http/message.h"
#include "placement/rest/text.h"

namespace berth::placement::rest {
namespace {

// The quality that the header gives a media type, by its most specific matching range: 0: not accepted.
double Quality(std::string_view accept, std::string_view type) {
  double quality = 0;
  int best = 0;  // 3: the type itself, 2: "type/*", 1: "*/*"
  std::string_view major = type.substr(0, type.find('/'));
  for (std::string_view range : Split(accept, ',')) {
    std::vector<std::string_view> parts = Split(range, ';');
    std::string_view name = Strip(parts[0]);
    int match = 0;
    if (http::EqualsIgnoreCase(name, type)) {
      match = 3;
    } else if (name == "*/*") {
      match = 1;
    } else if (name.ends_with("/*") && http::EqualsIgnoreCase(name.substr(0, name.size() - 2), major)) {
      match = 2;
    }
    if (match <= best) continue;
    double q = 1;
    for (size_t i = 1; i < parts.size(); ++i) {
      std::string_view parameter = Strip(parts[i]);
      if (parameter.starts_with("q=") || parameter.starts_with("Q=")) {
        q = std::strtod(std::string(parameter.substr(2)).c_str(), nullptr);
      }
    }
    best = match;
    quality = q > 0 ? q : 0;
  }
  return quality;
}

// A header without a single "type/subtype" is no Accept header.
bool Understood(std::string_view accept) {
  return accept.find('/') != std::string_view::npos;
}

}  // namespace

bool AcceptsJson(std::string_view accept) {
  return Strip(accept).empty() || !Understood(accept) || Quality(accept, "application/json") > 0;
}

ErrorForm PreferredErrorForm(std::string_view accept) {
  if (Strip(accept).empty() || Strip(accept) == "*/*" || !Understood(accept)) return ErrorForm::kJson;
  double html = Quality(accept, "text/html"), json = Quality(accept, "application/json");
  if (html > 0 && html >= json) return ErrorForm::kHtml;
  return json > 0 ? ErrorForm::kJson : ErrorForm::kText;
}

}  // namespace berth::placement::rest
