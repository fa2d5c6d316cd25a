#include <string>
#include <utility>

#include "common/log.h"
#include "vmm/vhost_user/session.h"

namespace berth::vmm::vhost_user {

// A back end that has just come knows of nothing yet.
Status Session::TellOfMemory() {
  shown_->Join();
  if (shown_->count() > frontend_->memory_slots()) {
    return FailedPrecondition("the vhost-user back end at " + settings_.socket + " can be told of " +
                                  std::to_string(frontend_->memory_slots()) +
                                  " pieces of memory, the guest shares " + std::to_string(shown_->count()),
                              "socket");
  }
  for (const ShownMemory::Piece& piece : shown_->Pieces()) TRY(frontend_->AddMemory(shown_->At(piece)));
  return OkStatus();
}

Status Session::OnShared(std::span<const StateRun> runs) {
  std::lock_guard lock(mutex_);
  ShownMemory next = *shown_;
  next.Show(runs);
  return Show(std::move(next));
}

Status Session::OnPrivate(std::span<const StateRun> runs) {
  std::lock_guard lock(mutex_);
  TRY(CheckRings(runs));
  ShownMemory next = *shown_;
  next.Hide(runs);
  return Show(std::move(next));
}

// The back end reads and writes the rings of a device that works without being asked.
Status Session::CheckRings(std::span<const StateRun> runs) const {
  if (!active_ || active_->stopping || active_->failed) return OkStatus();
  for (const Ring& ring : active_->rings) {
    if (ring.queue == nullptr) continue;
    const QueueConfig config = ring.queue->ring->config();
    const uint64_t size = config.size;
    const std::pair<uint64_t, uint64_t> areas[] = {{Raw(config.descriptors), 16 * size},
                                                   {Raw(config.driver), 6 + 2 * size},
                                                   {Raw(config.device), 6 + 8 * size}};
    for (const auto& [base, bytes] : areas) {
      for (const StateRun& run : runs) {
        if (run.base >= base + bytes || run.end() <= base) continue;
        return FailedPrecondition("a ring of the vhost-user device " + settings_.id +
                                  " lies there: it is shared until the device is reset");
      }
    }
  }
  return OkStatus();
}

Status Session::Show(ShownMemory next) {
  if (!frontend_) {  // the next one is told of it all
    shown_ = std::move(next);
    return OkStatus();
  }
  if (next.count() > frontend_->memory_slots()) next.Join();
  if (next.count() > frontend_->memory_slots()) {
    return ResourceExhausted("the back end of the vhost-user device " + settings_.id + " can be told of " +
                             std::to_string(frontend_->memory_slots()) +
                             " pieces of shared memory, it would be " + std::to_string(next.count()));
  }
  const ShownMemory::Changes changes = ShownMemory::Between(*shown_, next);
  if (changes.removed.empty()) {
    TRY(AddAll(next, changes.added));
  } else if (Status done = Exchange(next, changes); !done.ok()) {
    // It does not keep to the protocol, or has gone. Another one, or it again, is told of what there is then.
    LOG(kWarning, "vhost_user_memory_not_changed", {{"device", settings_.id}, {"reason", done}});
    frontend_->HangUp();
  }
  shown_ = std::move(next);
  return OkStatus();
}

// All, or none on an error; one that has gone needs not be told.
Status Session::AddAll(const ShownMemory& next, const std::vector<ShownMemory::Piece>& added) {
  for (size_t i = 0; i < added.size(); ++i) {
    Status told = frontend_->AddMemory(next.At(added[i]));
    if (told.ok()) continue;
    if (told.code() != StatusCode::kInternal && told.code() != StatusCode::kInvalidArgument)
      return OkStatus();
    const std::vector<ShownMemory::Piece> taken_back(added.begin(),
                                                     added.begin() + static_cast<ptrdiff_t>(i));
    if (i > 0 && !Exchange(next, {taken_back, {}}).ok()) frontend_->HangUp();
    return told;
  }
  return OkStatus();
}

Status Session::Exchange(const ShownMemory& next, const ShownMemory::Changes& changes) {
  const bool active = active_ && !active_->stopping;
  if (active) TRY(StopRings());
  for (const ShownMemory::Piece& piece : changes.removed) TRY(frontend_->RemoveMemory(shown_->At(piece)));
  for (const ShownMemory::Piece& piece : changes.added) TRY(frontend_->AddMemory(next.At(piece)));
  return active && !active_->failed ? GoOn() : OkStatus();
}

Status Session::StopRings() {
  const auto rings = static_cast<uint16_t>(active_->rings.size());
  for (uint16_t i = 0; i < rings; ++i) {
    Ring& ring = active_->rings[i];
    if (ring.queue == nullptr) continue;
    TRY_ASSIGN(ring.next, frontend_->StopRing(i));
  }
  return OkStatus();
}

Status Session::GoOn() {
  const auto rings = static_cast<uint16_t>(active_->rings.size());
  for (uint16_t i = 0; i < rings; ++i) {
    if (active_->rings[i].queue != nullptr) TRY(StartRing(i, active_->rings[i].next));
  }
  return EnableRings();
}

}  // namespace berth::vmm::vhost_user
