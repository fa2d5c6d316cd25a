#include "placement/wire/status.h"

#include "berth/v1/common.pb.h"

namespace berth::wire {
namespace {

// gRPC carries all metadata of a call in 8 KiB by default; message and detail share them.
constexpr size_t kMaxMessage = 2048;
constexpr size_t kMaxDetail = 1024;

std::string Shortened(const std::string& text, size_t limit) {
  if (text.size() <= limit) return text;
  size_t end = limit;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;  // not inside a character
  return text.substr(0, end) + "...";
}

}  // namespace

grpc::Status ToGrpc(grpc::ServerContextBase* context, const Status& status) {
  if (status.ok()) return grpc::Status::OK;
  if (context != nullptr && !(status.field().empty() && status.hint().empty())) {
    v1::ErrorDetail detail;
    detail.set_field(Shortened(status.field(), kMaxDetail));
    detail.set_hint(Shortened(status.hint(), kMaxDetail));
    context->AddTrailingMetadata(kErrorKey, detail.SerializeAsString());
  }
  return {static_cast<grpc::StatusCode>(status.code()), Shortened(status.message(), kMaxMessage)};
}

Status FromGrpc(const grpc::Status& status, const grpc::ClientContext& context) {
  if (status.ok()) return OkStatus();
  int code = status.error_code();
  if (code < 0 || code > static_cast<int>(StatusCode::kUnauthenticated))
    code = static_cast<int>(StatusCode::kUnknown);
  Status result(static_cast<StatusCode>(code), status.error_message());
  const auto& metadata = context.GetServerTrailingMetadata();
  auto at = metadata.find(kErrorKey);
  v1::ErrorDetail detail;
  if (at != metadata.end() && detail.ParseFromArray(at->second.data(), static_cast<int>(at->second.size()))) {
    result = std::move(result).WithField(detail.field()).WithHint(detail.hint());
  }
  return result;
}

}  // namespace berth::wire
