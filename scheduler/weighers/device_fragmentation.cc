#include "scheduler/weighers/device_fragmentation.h"

#include <utility>

namespace berth::scheduler {
namespace {

using ObjectivePtr = std::shared_ptr<const FragmentationObjective>;  // shared by the weighers of all classes

// For the requests of one class.
class OfClass final : public Weigher {
 public:
  OfClass(ObjectivePtr objective, const RequestSpec& spec)
      : objective_(std::move(objective)), demand_(objective_->DemandOf(spec)) {}
  double Weigh(const WeighedHost& host, const RequestSpec& spec) const override {
    return objective_->Weigh(host.fit, spec, demand_, host.quick);
  }

 private:
  const ObjectivePtr objective_;
  const Demand demand_;
};

class DeviceFragmentationWeigher final : public Weigher {
 public:
  explicit DeviceFragmentationWeigher(ObjectivePtr objective) : objective_(std::move(objective)) {}
  double Weigh(const WeighedHost& host, const RequestSpec& spec) const override {
    return objective_->Weigh(host.fit, spec, objective_->DemandOf(spec), host.quick);
  }
  std::shared_ptr<const Weigher> Prepared(const RequestSpec& spec) const override {
    return std::make_shared<OfClass>(objective_, spec);
  }

 private:
  const ObjectivePtr objective_;
};

}  // namespace

std::shared_ptr<const Weigher> MakeDeviceFragmentationWeigher(ObjectivePtr objective) {
  return std::make_shared<DeviceFragmentationWeigher>(std::move(objective));
}

}  // namespace berth::scheduler
