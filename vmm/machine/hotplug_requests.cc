#include "vmm/machine/hotplug_requests.h"

#include "common/log.h"

namespace berth::vmm {

void HotplugRequests::Begin(const std::string& subject, uint64_t wanted, std::chrono::milliseconds timeout,
                            Clock::time_point now) {
  requests_[subject] = {wanted, now + timeout, HotplugState::kPending};
}

std::vector<HotplugFacts> HotplugRequests::Look(Clock::time_point now,
                                                const std::function<uint64_t(const std::string&)>& actual,
                                                const std::function<void(const HotplugFacts&)>& changed) {
  std::vector<HotplugFacts> list;
  for (auto& [subject, request] : requests_) {
    const uint64_t have = actual(subject);
    const HotplugState before = request.state;
    if (have == request.wanted) {
      request.state = HotplugState::kDone;
    } else if (request.state == HotplugState::kPending && now >= request.deadline) {
      request.state = HotplugState::kTimedOut;
    }
    if (request.state != before) {
      LOG(kInfo, "hotplug_changed",
          {{"subject", subject}, {"state", HotplugStateName(request.state)}, {"actual", have}});
    }
    list.push_back({subject, request.wanted, have, request.state});
    if (request.state != before) changed(list.back());
  }
  return list;
}

void HotplugRequests::Clear(const std::function<void(const HotplugFacts&)>& dropped) {
  for (const auto& [subject, request] : requests_) {
    if (request.state == HotplugState::kPending)
      dropped({subject, request.wanted, 0, HotplugState::kDropped});
  }
  requests_.clear();
}

}  // namespace berth::vmm
