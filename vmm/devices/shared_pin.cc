#include "vmm/devices/shared_pin.h"

#include <algorithm>
#include <utility>

namespace berth::vmm {

class SharedPin::Line final : public IrqLine {
 public:
  Line(std::shared_ptr<SharedPin> pin, std::function<void()> on_end)
      : on_end_(std::move(on_end)), pin_(std::move(pin)) {
    std::lock_guard lock(pin_->mutex_);
    pin_->lines_.push_back(this);
  }
  ~Line() override {
    std::lock_guard lock(pin_->mutex_);
    std::erase(pin_->lines_, this);
    pin_->Update();
  }
  void SetLevel(bool high) override {
    std::lock_guard lock(pin_->mutex_);
    high_ = high;
    pin_->Update();
  }

  const std::function<void()> on_end_;
  bool high_ = false;  // guarded by the pin's mutex

 private:
  const std::shared_ptr<SharedPin> pin_;
};

std::shared_ptr<SharedPin> SharedPin::Create(const std::shared_ptr<IoApic>& ioapic, uint32_t pin) {
  std::shared_ptr<SharedPin> shared(new SharedPin(ioapic, pin));
  ioapic->OnEndOfInterrupt(pin, [weak = std::weak_ptr<SharedPin>(shared)] {
    if (auto self = weak.lock()) self->EndOfInterrupt();
  });
  return shared;
}

std::unique_ptr<IrqLine> SharedPin::Connect(std::function<void()> on_end) {
  return std::make_unique<Line>(shared_from_this(), std::move(on_end));
}

void SharedPin::EndOfInterrupt() {
  std::lock_guard lock(mutex_);
  for (size_t i = 0; i < lines_.size(); ++i) {
    if (lines_[i]->on_end_) lines_[i]->on_end_();
  }
}

void SharedPin::Update() {
  ioapic_->SetLevel(pin_, std::any_of(lines_.begin(), lines_.end(), [](const Line* l) { return l->high_; }));
}

}  // namespace berth::vmm
