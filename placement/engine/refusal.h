#pragma once

#include <optional>
#include <string>

#include "common/status.h"

namespace berth::placement {

// Why a command of the Placement model was refused, as the API tells it: HTTP status and `code`.
enum class Refusal {
  kBadRequest,       // 400 placement.undefined_code
  kProviderUnknown,  // 400 placement.resource_provider.not_found (named in a reshaper's body)
  kNotFound,         // 404 placement.undefined_code
  kConflict,  // 409 placement.undefined_code (does not fit, exists, class or trait in use, agent's tree)
  kConcurrentUpdate,  // 409 placement.concurrent_update
  kDuplicateName,     // 409 placement.duplicate_name
  kInventoryInUse,    // 409 placement.inventory.inuse
  kProviderInUse,     // 409 placement.resource_provider.inuse
  kProviderIsParent,  // 409 placement.resource_provider.cannot_delete_parent
};

// The refusal as the engine's error: `detail` is the exact text of the API (without the sentence that webob
// puts before it), the field says which Refusal it is.
Status Refuse(Refusal refusal, std::string detail);
// Empty: another error (kUnavailable, kResourceExhausted of the queue or the store, kUnknown ...): 503 or
// 500.
std::optional<Refusal> RefusalOf(const Status& status);

}  // namespace berth::placement
