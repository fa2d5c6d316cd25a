#include "vmm/kvm/interrupt_routes.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <string>
#include <utility>

#include "common/log.h"
#include "common/unique_fd.h"

namespace berth::vmm {

// Assigns its irqfd with the first message, so that a trigger never meets a GSI without a route.
class InterruptRoutes::Route final : public MsiRoute {
 public:
  Route(InterruptRoutes& routes, uint32_t gsi, UniqueFd event)
      : routes_(routes), gsi_(gsi), event_(std::move(event)) {}
  ~Route() override {
    if (assigned_.load()) {
      if (Status status = routes_.vm_.DeassignIrqfd(event_.get(), gsi_); !status.ok()) {
        LOG(kWarning, "irqfd_release_failed", {{"gsi", gsi_}, {"error", status}});
      }
    }
    std::lock_guard lock(routes_.mutex_);
    if (Status status = routes_.Update(gsi_, std::nullopt); !status.ok()) {
      LOG(kWarning, "interrupt_route_release_failed", {{"gsi", gsi_}, {"error", status}});
    }
    routes_.used_.erase(gsi_);
  }

  Status Set(const MsiMessage& message) override {
    std::lock_guard lock(routes_.mutex_);
    TRY(routes_.Update(gsi_, message));
    set_ = true;
    return SyncIrqfd();
  }

  Status SetMasked(bool masked) override {
    std::lock_guard lock(routes_.mutex_);
    masked_ = masked;
    return SyncIrqfd();
  }

  void Trigger() override {
    if (!set_.load()) return;
    uint64_t one = 1;
    // Fails only when the counter is full, and then the interrupt is pending anyway.
    [[maybe_unused]] ssize_t written = ::write(event_.get(), &one, sizeof one);
  }

  int event_fd() const override { return event_.get(); }

 private:
  // The irqfd exists while the route has a message and is not masked. Assigning one delivers what was
  // signalled before; the count that told of it is then dropped. routes_.mutex_ is held.
  Status SyncIrqfd() {
    const bool wanted = set_.load() && !masked_;
    if (wanted == assigned_.load()) return OkStatus();
    if (!wanted) {
      TRY(routes_.vm_.DeassignIrqfd(event_.get(), gsi_));
      assigned_.store(false);
      return OkStatus();
    }
    TRY(routes_.vm_.AssignIrqfd(event_.get(), gsi_));
    assigned_.store(true);
    uint64_t count;
    [[maybe_unused]] ssize_t taken = ::read(event_.get(), &count, sizeof count);
    return OkStatus();
  }

  InterruptRoutes& routes_;
  const uint32_t gsi_;
  UniqueFd event_;
  std::atomic<bool> set_{false};
  std::atomic<bool> assigned_{false};
  bool masked_ = false;  // guarded by routes_.mutex_
};

InterruptRoutes::~InterruptRoutes() {
  CHECK(used_.empty());
}

Result<std::unique_ptr<MsiRoute>> InterruptRoutes::AllocateRoute() {
  UniqueFd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event.valid()) return ErrnoStatus("eventfd", errno);
  std::lock_guard lock(mutex_);
  uint32_t gsi = pins_;
  for (uint32_t used : used_) {
    if (used != gsi) break;
    gsi++;
  }
  if (gsi >= kMaxGsiRoutes) {
    return ResourceExhausted("all " + std::to_string(kMaxGsiRoutes - pins_) + " interrupt routes are in use");
  }
  used_.insert(gsi);
  return std::unique_ptr<MsiRoute>(std::make_unique<Route>(*this, gsi, std::move(event)));
}

Status InterruptRoutes::SetPin(uint32_t pin, const std::optional<MsiMessage>& message) {
  if (pin >= pins_) {
    return OutOfRange("IOAPIC pin " + std::to_string(pin) + ", there are " + std::to_string(pins_));
  }
  return Update(pin, message);
}

// On error the table is as before.
Status InterruptRoutes::Update(uint32_t gsi, const std::optional<MsiMessage>& message) {
  std::lock_guard lock(mutex_);
  auto it = table_.find(gsi);
  std::optional<MsiMessage> before;
  if (it != table_.end()) before = it->second;
  if (before == message) return OkStatus();
  auto put = [this, gsi](const std::optional<MsiMessage>& value) {
    if (value.has_value()) {
      table_[gsi] = *value;
    } else {
      table_.erase(gsi);
    }
  };
  put(message);
  Status status = Commit();
  if (!status.ok()) put(before);
  return status;
}

Status InterruptRoutes::Batch(const std::function<Status()>& change) {
  std::lock_guard lock(mutex_);
  batching_++;
  Status changed = change();
  batching_--;
  if (batching_ == 0 && dirty_) {
    Status committed = Commit();
    if (changed.ok()) changed = committed;
  }
  return changed;
}

Status InterruptRoutes::Commit() {
  if (batching_ > 0) {
    dirty_ = true;
    return OkStatus();
  }
  std::vector<GsiRoute> routes;
  routes.reserve(table_.size());
  for (const auto& [gsi, message] : table_) routes.push_back({gsi, message});
  TRY(vm_.SetRoutes(routes));
  dirty_ = false;
  return OkStatus();
}

}  // namespace berth::vmm
