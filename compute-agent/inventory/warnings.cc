#include "compute-agent/inventory/warnings.h"

#include "compute-agent/inventory/host_inventory.h"

namespace berth::agent {

void Warnings::Add(std::string text) {
  if (lines_.size() + 1 >= HostInventory::kMaxWarnings) {
    ++dropped_;
    return;
  }
  lines_.push_back(std::move(text));
}

void Warnings::AddUnlessMissing(const Status& status) {
  if (!status.ok() && status.code() != StatusCode::kNotFound) Add(status.message());
}

void Warnings::AddBadContent(const std::string& path, const Status& status) {
  Add(path + ": " + status.message());
}

std::vector<std::string> Warnings::Take() && {
  if (dropped_ > 0) lines_.push_back("and " + std::to_string(dropped_) + " more");
  return std::move(lines_);
}

}  // namespace berth::agent
