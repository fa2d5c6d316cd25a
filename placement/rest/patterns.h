#pragma once

#include "placement/rest/schema.h"
#include "placement/rest/text.h"

namespace berth::placement::rest {

// The regular expressions of the API's schemas.
inline Pattern UuidPattern() {
  return {"^[0-9a-fA-F-]{36}$", IsUuidPattern};
}
inline Pattern ClassPattern() {
  return {"^[A-Z0-9_]+$", IsClassOrTraitName};
}
inline Pattern CustomPattern() {
  return {"^CUSTOM_[A-Z0-9_]+$", IsCustomName};
}
inline Pattern ConsumerTypeQueryPattern() {
  return {"^[A-Z0-9_]+$|^all|^unknown$", IsConsumerTypeQuery};
}
inline Pattern LimitPattern() {
  return {"^[1-9][0-9]*$", IsNumberedSuffix};
}

}  // namespace berth::placement::rest
