#include "scheduler/weighers/registry.h"

namespace berth::scheduler {
namespace {

// Prefers hosts with much disk free. A host that tells no disk counts as empty.
class DiskWeigher final : public Weigher {
 public:
  double Weigh(const WeighedHost& host, const RequestSpec& /*spec*/) const override {
    if (host.report.disk_bytes == 0) return 1;
    return static_cast<double>(host.fit.disk_room_bytes) / static_cast<double>(host.report.disk_bytes);
  }
};

}  // namespace

std::unique_ptr<Weigher> MakeDiskWeigher() {
  return std::make_unique<DiskWeigher>();
}

}  // namespace berth::scheduler
