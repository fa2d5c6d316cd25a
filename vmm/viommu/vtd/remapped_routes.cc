#include "vmm/viommu/vtd/remapped_routes.h"

#include <optional>
#include <utility>

#include "common/log.h"

namespace berth::vmm::vtd {

// While the guest's table lets the message not through, the real route is masked: what the device raises then
// waits, where hardware would drop it, and is raised once when the table changes.
class RemappedRoutes::Route final : public MsiRoute {
 public:
  Route(RemappedRoutes& owner, std::unique_ptr<MsiRoute> real, std::shared_ptr<std::atomic<uint32_t>> source)
      : owner_(owner), real_(std::move(real)), source_(std::move(source)) {
    std::lock_guard lock(owner_.mutex_);
    owner_.routes_.insert(this);
  }
  ~Route() override {
    std::lock_guard lock(owner_.mutex_);
    owner_.routes_.erase(this);
  }

  Status Set(const MsiMessage& message) override {
    std::lock_guard lock(owner_.mutex_);
    message_ = message;
    return Sync(!masked_);
  }

  Status SetMasked(bool masked) override {
    std::lock_guard lock(owner_.mutex_);
    masked_ = masked;
    if (masked || !message_) return real_->SetMasked(masked || !allowed_);
    return Sync(true);
  }

  // What is not let through does not happen.
  void Trigger() override {
    {
      std::lock_guard lock(owner_.mutex_);
      if (!allowed_) {
        if (message_) static_cast<void>(Look(true));
        return;
      }
    }
    real_->Trigger();
  }

  int event_fd() const override { return real_->event_fd(); }

  // With the owner's lock held: the table has changed. False: not where it looks.
  bool Refresh(uint32_t first, uint32_t last) {
    if (!message_) return false;
    const std::optional<uint32_t> index = InterruptRemapper::IndexOf(*message_);
    if (index && (*index < first || *index > last)) return false;
    // An entry that is taken away while its route is not in use is no fault.
    if (Status status = Sync(false); !status.ok()) {
      LOG(kError, "interrupt_not_remapped", {{"error", status}});
    }
    return true;
  }

 private:
  std::optional<MsiMessage> Look(bool report) const {
    const uint32_t source = source_->load();
    if (source == kNoSource) return std::nullopt;
    return owner_.remapper_.Remap(static_cast<uint16_t>(source), *message_, report);
  }
  Status Sync(bool report) {
    const std::optional<MsiMessage> message = Look(report);
    allowed_ = message.has_value();
    if (message) TRY(real_->Set(*message));
    return real_->SetMasked(masked_ || !allowed_);
  }

  RemappedRoutes& owner_;
  const std::unique_ptr<MsiRoute> real_;
  const std::shared_ptr<std::atomic<uint32_t>> source_;
  // Guarded by the owner's mutex:
  std::optional<MsiMessage> message_;  // as the guest has programmed it
  bool masked_ = false;
  bool allowed_ = true;
};

RemappedRoutes::~RemappedRoutes() {
  CHECK(routes_.empty());
}

Result<std::unique_ptr<MsiRoute>> RemappedRoutes::Function::AllocateRoute() {
  TRY_ASSIGN(auto real, routes_.real_.AllocateRoute());
  return std::unique_ptr<MsiRoute>(std::make_unique<Route>(routes_, std::move(real), source_));
}

uint64_t RemappedRoutes::Refresh(uint32_t first, uint32_t last) {
  std::lock_guard lock(mutex_);
  uint64_t count = 0;
  for (Route* route : routes_) count += route->Refresh(first, last) ? 1 : 0;
  return count;
}

}  // namespace berth::vmm::vtd
