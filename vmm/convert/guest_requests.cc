#include "vmm/convert/guest_requests.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <string>
#include <thread>

#include "common/log.h"
#include "vmm/dma/dma_text.h"

namespace berth::vmm {
namespace {

// The third argument of KVM_HC_MAP_GPA_RANGE (Documentation/virt/kvm/x86/hypercalls.rst): a page size that
// the guest suggests, and which kind the memory shall be.
constexpr uint64_t kPageSizeHint = 0xf;
constexpr uint64_t kEncrypted = 1 << 4;

Direction DirectionOf(bool is_private) {
  return is_private ? Direction::kToPrivate : Direction::kToShared;
}

std::string_view Wanted(Direction direction) {
  return PageStateName(Target(direction));
}

bool MayComeLater(const Status& status) {
  return status.code() == StatusCode::kUnavailable || status.code() == StatusCode::kResourceExhausted;
}

}  // namespace

GuestRequests::GuestRequests(Converter& converter, uint32_t vcpus, Policy policy)
    : converter_(converter), policy_(policy), vcpus_(vcpus) {}

void GuestRequests::Vcpu::Note(uint64_t new_gpa, Direction new_direction) {
  if (gpa == new_gpa && direction == new_direction) return;
  *this = {};
  gpa = new_gpa;
  direction = new_direction;
}

std::optional<Result<uint64_t>> GuestRequests::ConvertWithPatience(uint64_t base, uint64_t size,
                                                                   Direction direction, const Rest& rest) {
  using Clock = std::chrono::steady_clock;
  auto end = Clock::now() + policy_.patience;
  while (true) {
    Result<uint64_t> done = converter_.Convert(base, size, direction);
    const auto now = Clock::now();
    if (done.has_value() || !MayComeLater(done.error()) || now >= end) return done;
    if (!rest) {
      std::this_thread::sleep_for(policy_.pause);
    } else if (!rest(policy_.pause)) {
      return std::nullopt;
    } else {
      end += std::max(Clock::duration(0), Clock::now() - now - policy_.pause);
    }
  }
}

Result<uint64_t> GuestRequests::MapGpaRange(uint32_t vcpu, uint64_t gpa, uint64_t pages, uint64_t attributes,
                                            const Rest& rest) {
  if ((attributes & ~(kPageSizeHint | kEncrypted)) != 0 || pages == 0 || pages > UINT64_MAX / kStatePage) {
    return uint64_t{EINVAL};
  }
  Vcpu& self = vcpus_.at(vcpu);
  const Direction direction = DirectionOf((attributes & kEncrypted) != 0);
  self.Note(gpa, direction);
  const auto tried = ConvertWithPatience(gpa, pages * kStatePage, direction, rest);
  if (!tried) return uint64_t{EAGAIN};
  const Result<uint64_t>& done = *tried;
  if (done.has_value()) {
    self = {};
    return uint64_t{0};
  }
  const Status& status = done.error();
  if (status.code() == StatusCode::kDataLoss) return status;
  if (MayComeLater(status) && self.retries++ < policy_.max_retries) return uint64_t{EAGAIN};
  // The guest decides how often this happens: told at the first, second, fourth... time.
  const uint64_t refused = refused_.fetch_add(1) + 1;
  if (!std::has_single_bit(refused)) return uint64_t{EINVAL};
  LOG(kWarning, "conversions_refused",
      {{"count", refused},
       {"vcpu", vcpu},
       {"range", RangeText(gpa, pages * kStatePage)},
       {"to", Wanted(direction)},
       {"reason", status}});
  return uint64_t{EINVAL};
}

Status GuestRequests::MemoryFault(uint32_t vcpu, uint64_t gpa, uint64_t size, bool is_private) {
  const Direction direction = DirectionOf(is_private);
  const std::string what = "vCPU " + std::to_string(vcpu) + " used " + RangeText(gpa, size) + " as " +
                           std::string(Wanted(direction)) + " memory";
  if (!policy_.implicit) {
    return FailedPrecondition(what + ", which this kind of guest must ask for by a hypercall");
  }
  const std::optional<PageState> state =
      converter_.pages().Read([gpa](const PageStateMap& states) { return states.At(gpa); });
  if (!state.has_value()) return FailedPrecondition(what + ", where it has no memory");
  if (*state == PageState::kUnplugged) return FailedPrecondition(what + ", which is not plugged");

  Vcpu& self = vcpus_.at(vcpu);
  self.Note(gpa, direction);
  if (++self.faults > policy_.max_repeated_faults) {
    return FailedPrecondition(what + " " + std::to_string(self.faults) +
                              " times, and others use it as the other kind");
  }
  const Result<uint64_t> done = converter_.Convert(gpa, size, direction);
  if (done.has_value() && *done > 0) {
    self.without_progress = 0;
    return OkStatus();
  }
  // Another vCPU may have been faster, or the pages are in use: the guest tries again.
  if (done.has_value() || done.error().code() == StatusCode::kUnavailable) {
    if (++self.without_progress <= policy_.max_faults_without_progress) return OkStatus();
    return FailedPrecondition(what + " " + std::to_string(self.without_progress) + " times without progress" +
                              (done.has_value() ? "" : ": " + done.error().message()));
  }
  return Status(done.error()).WithContext(what);
}

}  // namespace berth::vmm
