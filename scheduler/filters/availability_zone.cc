#include "scheduler/filters/registry.h"

namespace berth::scheduler {
namespace {

// Keeps hosts of the availability zone that the request names.
class AvailabilityZoneFilter final : public Filter {
 public:
  bool Concerns(const RequestSpec& spec) const override { return !spec.host.availability_zone.empty(); }
  bool Keeps(const FilteredHost& host, const RequestSpec& spec) const override {
    return host.facts.availability_zone == spec.host.availability_zone;
  }
  Reason Why(const FilteredHost& host, const RequestSpec& spec) const override {
    return {"", host.facts.availability_zone, spec.host.availability_zone, "host",
            "the host is in availability zone \"" + host.facts.availability_zone + "\", asked is \"" +
                spec.host.availability_zone + "\""};
  }
};

}  // namespace

std::unique_ptr<Filter> MakeAvailabilityZoneFilter(const FilterSettings& /*settings*/) {
  return std::make_unique<AvailabilityZoneFilter>();
}

}  // namespace berth::scheduler
