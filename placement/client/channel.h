#pragma once

#include <grpcpp/channel.h>

#include <memory>
#include <string>

namespace berth::placement {

// A channel to "host:port" or "unix:/path" without encryption that reconnects within a second and notices a
// peer that is gone without a word within about a minute.
std::shared_ptr<grpc::Channel> MakeChannel(const std::string& endpoint);

}  // namespace berth::placement
