#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/server_context.h>

#include "common/status.h"

// Our errors over gRPC: code and message travel as gRPC's own, field and hint as berth.v1.ErrorDetail in the
// trailing metadata key "berth-error-bin".
namespace berth::wire {

inline constexpr const char* kErrorKey = "berth-error-bin";

// For servers. Call once per call and before Finish: it adds the trailing metadata to `context`. Any kind of
// server context (synchronous or callback); nullptr: no detail.
grpc::Status ToGrpc(grpc::ServerContextBase* context, const Status& status);

// For clients, after the call has ended. Reads the detail if there is one; a damaged one is left out. Codes
// outside the canonical range become kUnknown.
Status FromGrpc(const grpc::Status& status, const grpc::ClientContext& context);

}  // namespace berth::wire
