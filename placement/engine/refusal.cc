#include "placement/engine/refusal.h"

#include <array>
#include <string_view>

namespace berth::placement {
namespace {

struct Row {
  Refusal refusal;
  StatusCode code;
  std::string_view field;
};
constexpr std::array<Row, 9> kRows = {{
    {Refusal::kBadRequest, StatusCode::kInvalidArgument, "placement:bad_request"},
    {Refusal::kProviderUnknown, StatusCode::kInvalidArgument, "placement:provider_unknown"},
    {Refusal::kNotFound, StatusCode::kNotFound, "placement:not_found"},
    {Refusal::kConflict, StatusCode::kFailedPrecondition, "placement:conflict"},
    {Refusal::kConcurrentUpdate, StatusCode::kAborted, "placement:concurrent_update"},
    {Refusal::kDuplicateName, StatusCode::kAlreadyExists, "placement:duplicate_name"},
    {Refusal::kInventoryInUse, StatusCode::kFailedPrecondition, "placement:inventory_in_use"},
    {Refusal::kProviderInUse, StatusCode::kFailedPrecondition, "placement:provider_in_use"},
    {Refusal::kProviderIsParent, StatusCode::kFailedPrecondition, "placement:provider_is_parent"},
}};

}  // namespace

Status Refuse(Refusal refusal, std::string detail) {
  const Row& row = kRows[static_cast<size_t>(refusal)];
  return {row.code, std::move(detail), std::string(row.field)};
}

std::optional<Refusal> RefusalOf(const Status& status) {
  for (const Row& row : kRows) {
    if (row.code == status.code() && row.field == status.field()) return row.refusal;
  }
  return std::nullopt;
}

}  // namespace berth::placement
