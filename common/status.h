#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace berth {

// The canonical codes of gRPC, by number, so that the transports map 1:1.
enum class StatusCode {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};

// The code's name as clients see it, for example "INVALID_ARGUMENT".
std::string_view StatusCodeName(StatusCode code);

// Outcome of an operation that outside input can make fail. An error carries, beside its message, the
// offending field (a path such as "flavors[2].extra_specs.hw:numa_nodes") and a hint (what would be accepted,
// or what to do). Message texts start in lower case and end without a full stop. A value type;
// thread-compatible.
class [[nodiscard]] Status {
 public:
  Status() = default;  // OK
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}
  Status(StatusCode code, std::string message, std::string field, std::string hint = {})
      : code_(code), message_(std::move(message)), field_(std::move(field)), hint_(std::move(hint)) {}

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }
  const std::string& field() const { return field_; }
  const std::string& hint() const { return hint_; }

  Status WithField(std::string field) && {
    field_ = std::move(field);
    return std::move(*this);
  }
  Status WithHint(std::string hint) && {
    hint_ = std::move(hint);
    return std::move(*this);
  }
  // Puts "prefix: " before the message and "prefix." before nothing else; used when an error crosses a file.
  Status WithContext(std::string_view prefix) &&;

  // "INVALID_ARGUMENT: field: message (hint)", for logs and terminals.
  std::string ToString() const;

  friend bool operator==(const Status&, const Status&) = default;

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
  std::string field_;
  std::string hint_;
};

inline Status OkStatus() {
  return {};
}
inline Status InvalidArgument(std::string message, std::string field = {}, std::string hint = {}) {
  return {StatusCode::kInvalidArgument, std::move(message), std::move(field), std::move(hint)};
}
inline Status NotFound(std::string message, std::string field = {}) {
  return {StatusCode::kNotFound, std::move(message), std::move(field)};
}
inline Status AlreadyExists(std::string message, std::string field = {}) {
  return {StatusCode::kAlreadyExists, std::move(message), std::move(field)};
}
inline Status OutOfRange(std::string message, std::string field = {}, std::string hint = {}) {
  return {StatusCode::kOutOfRange, std::move(message), std::move(field), std::move(hint)};
}
inline Status FailedPrecondition(std::string message, std::string field = {}, std::string hint = {}) {
  return {StatusCode::kFailedPrecondition, std::move(message), std::move(field), std::move(hint)};
}
inline Status ResourceExhausted(std::string message, std::string field = {}, std::string hint = {}) {
  return {StatusCode::kResourceExhausted, std::move(message), std::move(field), std::move(hint)};
}
inline Status Aborted(std::string message) {
  return {StatusCode::kAborted, std::move(message)};
}
inline Status Unavailable(std::string message) {
  return {StatusCode::kUnavailable, std::move(message)};
}
inline Status Unimplemented(std::string message) {
  return {StatusCode::kUnimplemented, std::move(message)};
}
inline Status Internal(std::string message) {
  return {StatusCode::kInternal, std::move(message)};
}
inline Status DataLoss(std::string message) {
  return {StatusCode::kDataLoss, std::move(message)};
}
// From errno (or a given error number): "what: No such file or directory". ENOENT, EEXIST, EACCES/EPERM,
// ENOSPC, ENOMEM, EBUSY, EINVAL and EAGAIN get their canonical codes, the rest kInternal.
Status ErrnoStatus(std::string_view what, int error_number);

// A value or the Status that explains its absence. Never holds an OK status as error.
template <class T>
class [[nodiscard]] Result : public tl::expected<T, Status> {
 public:
  using Base = tl::expected<T, Status>;
  using Base::Base;
  Result(Status status) : Base(tl::unexpect, std::move(status)) {}  // NOLINT(google-explicit-constructor)
  // OK when a value is held.
  Status status() const { return this->has_value() ? Status() : this->error(); }
};

namespace status_internal {
inline const Status& Get(const Status& s) {
  return s;  // NOLINT(bugprone-return-const-ref-from-parameter): TRY keeps the expression alive
}
template <class T>
Status Get(const Result<T>& r) {
  return r.status();
}
// Apart from Get, so that the common case copies nothing.
inline bool IsOk(const Status& s) {
  return s.ok();
}
template <class T>
bool IsOk(const Result<T>& r) {
  return r.has_value();
}
}  // namespace status_internal

// Aborts the process with a message, in every build. Only for what cannot happen, never for outside input.
[[noreturn]] void CheckFailed(const char* condition, const char* file, int line);

}  // namespace berth

#define CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::berth::CheckFailed(#condition, __FILE__, __LINE__))

// Returns from the function with the error of a Status or Result expression; goes on when it is OK.
#define TRY(expression)                                      \
  do {                                                       \
    auto&& berth_try_value = (expression);                   \
    if (!::berth::status_internal::IsOk(berth_try_value))    \
      return ::berth::status_internal::Get(berth_try_value); \
  } while (false)

#define BERTH_CONCAT_INNER(a, b) a##b
#define BERTH_CONCAT(a, b) BERTH_CONCAT_INNER(a, b)
#define BERTH_TRY_ASSIGN(result, declaration, expression)    \
  auto result = (expression);                                \
  if (!result.has_value()) return std::move(result).error(); \
  declaration = *std::move(result)

// TRY_ASSIGN(auto value, Function()): declares `value`, or returns the error of the Result.
#define TRY_ASSIGN(declaration, expression) \
  BERTH_TRY_ASSIGN(BERTH_CONCAT(berth_result_, __COUNTER__), declaration, expression)
