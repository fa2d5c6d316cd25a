#pragma once

#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "common/status.h"

namespace berth::vmm {

// A JSON object of a few scalar fields that came with a request. Errors are kInvalidArgument and name the
// field.
class RequestBody {
 public:
  static constexpr std::chrono::milliseconds kDefaultTimeout{60000};

  // Fields beside `known` are an error; a null is "not given".
  static Result<RequestBody> Parse(std::string_view text, std::initializer_list<std::string_view> known);
  ~RequestBody();
  RequestBody(RequestBody&&) noexcept;
  RequestBody& operator=(RequestBody&&) noexcept;

  bool Has(std::string_view field) const;
  Result<std::optional<uint64_t>> Number(std::string_view field, uint64_t max) const;
  Result<std::optional<bool>> Toggle(std::string_view field) const;
  // Must be given and not empty.
  Result<std::string> Text(std::string_view field) const;
  // "timeout_ms", at most a day.
  Result<std::chrono::milliseconds> Timeout() const;

 private:
  struct Fields;
  explicit RequestBody(std::unique_ptr<Fields> fields);

  std::unique_ptr<Fields> fields_;
};

}  // namespace berth::vmm
