#pragma once

#include <string_view>

namespace berth::placement::rest {

// RFC 9110's Accept header, as far as this service needs it. A header that cannot be understood accepts all.

// Whether a client with this header takes application/json. "" (none sent) does.
bool AcceptsJson(std::string_view accept);

enum class ErrorForm { kJson, kHtml, kText };
// What an error is best told as. "" and "*/*" mean JSON.
ErrorForm PreferredErrorForm(std::string_view accept);

}  // namespace berth::placement::rest
