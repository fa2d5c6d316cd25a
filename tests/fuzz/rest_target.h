#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "tests/placement/rest/api.h"

namespace berth::placement::rest {

// The whole REST service on a store in memory, with a small fleet to find: two providers with inventories,
// traits and an aggregate, and a consumer. Every input meets the same state: after one that has changed
// something the service is made anew, so that a finding can be repeated and memory does not grow.
class RestTarget {
 public:
  // Whatever comes in, the service answers, and never with an error of its own.
  void Send(http::Request request) {
    if (!api_) api_ = Make();
    const bool reads = request.method == "GET";
    Reply reply = api_->Send(std::move(request));
    if (reply.status < 200 || reply.status == 500) __builtin_trap();
    if (!reads && reply.status < 300) api_.reset();
  }

 private:
  static std::unique_ptr<Api> Make() {
    auto api = std::make_unique<Api>();
    api->Provider(kA, "a");
    api->Provider(kB, "b", kA);
    api->Inventory(kA, "VCPU", R"("total": 64)");
    api->Inventory(kB, "SRIOV_NET_VF", R"("total": 8)");
    Must(*api, Rp(kA, "/traits"),
         R"({"resource_provider_generation": 1, "traits": ["HW_NUMA_ROOT", "MISC_SHARES_VIA_AGGREGATE"]})");
    Must(*api, Rp(kA, "/aggregates"),
         R"({"resource_provider_generation": 2, "aggregates": [")" + std::string(kAggregate) + "\"]}");
    if (api->Allocate(kConsumer, kA, R"({"VCPU": 2})").status != 204) __builtin_trap();
    return api;
  }
  static void Must(Api& api, const std::string& target, std::string body) {
    if (api.Put(target, std::move(body)).status != 200) __builtin_trap();
  }

  std::unique_ptr<Api> api_;
};

}  // namespace berth::placement::rest
