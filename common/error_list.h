#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/status.h"

namespace berth {

// Collects the errors of a configuration, so that all of them are shown at once. A value type.
class ErrorList {
 public:
  // Ignores OK.
  void Add(Status status) {
    if (!status.ok()) errors_.push_back(std::move(status));
  }
  void Add(std::vector<Status> errors) {
    for (Status& error : errors) Add(std::move(error));
  }
  // The value, or an empty optional after adding its error.
  template <class T>
  std::optional<T> Take(Result<T> result) {
    if (result.has_value()) return *std::move(result);
    Add(std::move(result).error());
    return std::nullopt;
  }

  bool empty() const { return errors_.empty(); }
  const std::vector<Status>& errors() const { return errors_; }
  // OK; the only error itself; or one kInvalidArgument with a line for each.
  Status ToStatus() const {
    if (errors_.empty()) return OkStatus();
    if (errors_.size() == 1) return errors_.front();
    std::string message = std::to_string(errors_.size()) + " errors:";
    for (const Status& error : errors_) {
      message += "\n  " + (error.field().empty() ? "" : error.field() + ": ") + error.message();
      if (!error.hint().empty()) message += " (" + error.hint() + ")";
    }
    return InvalidArgument(message);
  }

 private:
  std::vector<Status> errors_;
};

}  // namespace berth
