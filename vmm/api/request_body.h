#pragma once

#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"

namespace berth::vmm {

// A JSON object of a few scalar fields, or lists of such objects, that came with a request. Errors are
// kInvalidArgument and name the field.
class RequestBody {
 public:
  static constexpr std::chrono::milliseconds kDefaultTimeout{60000};

  // Fields beside `known` are an error; a null is "not given".
  static Result<RequestBody> Parse(std::string_view text, std::initializer_list<std::string_view> known);
  // The same where List is called for some of the fields.
  static Result<RequestBody> ParseWithLists(std::string_view text,
                                            std::initializer_list<std::string_view> known);
  ~RequestBody();
  RequestBody(RequestBody&&) noexcept;
  RequestBody& operator=(RequestBody&&) noexcept;

  bool Has(std::string_view field) const;
  Result<std::optional<uint64_t>> Number(std::string_view field, uint64_t max) const;
  Result<std::optional<bool>> Toggle(std::string_view field) const;
  // Must be given and not empty.
  Result<std::string> Text(std::string_view field) const;
  // The objects of a list, none when it is not given; `known` as of Parse.
  Result<std::vector<RequestBody>> List(std::string_view field,
                                        std::initializer_list<std::string_view> known) const;
  // "timeout_ms", at most a day.
  Result<std::chrono::milliseconds> Timeout() const;

 private:
  struct Fields;
  explicit RequestBody(std::unique_ptr<Fields> fields);
  static Result<RequestBody> ParseNested(std::string_view text, int depth,
                                         std::initializer_list<std::string_view> known);
  Status CheckKnown(std::initializer_list<std::string_view> known) const;

  std::unique_ptr<Fields> fields_;
};

}  // namespace berth::vmm
