// How an instance ends: its VMM is asked, told and killed, and what the instance had is given back.
#include <algorithm>
#include <csignal>
#include <filesystem>

#include "common/log.h"
#include "compute-agent/instances/instance.h"
#include "compute-agent/instances/vmm_client.h"

namespace berth::agent {
namespace {

using placement::InstanceState;
using std::chrono::milliseconds;

constexpr milliseconds kAskPause{2'000};    // after a power button that was not answered
constexpr milliseconds kRestorePause{500};  // after a driver that does not take its device back
constexpr int kMaxTapFailures = 5;

}  // namespace

bool Instance::StepTowardsGone() {
  ForgetBrokenRecord();
  if (broken_) return false;
  if (process_.has_value()) {
    SetStatus(InstanceState::kDeleting);
    if (!process_->Ended()) {
      AdvanceStop();
      return false;
    }
    process_->TakeExitStatus();
    process_.reset();
  }
  BetweenSteps();
  return CleanUp();
}

bool Instance::StepTowardsNoProcess() {
  ForgetBrokenRecord();
  if (broken_) return false;
  if (!process_.has_value()) return true;
  if (!process_->Ended()) {
    AdvanceStop();
    return false;
  }
  process_->TakeExitStatus();
  Finish(InstanceState::kStopped, "its claim has moved to another host");
  return true;
}

Status Instance::AskToShutDown() {
  if (record_.phase != Phase::kRunning) return Unavailable("the VMM has not answered yet");
  VmmClient vmm(api_socket());
  // A guest that stands still cannot shut down.
  if (paused_.value_or(true)) {
    Status resumed = vmm.Resume();
    if (resumed.code() == StatusCode::kDeadlineExceeded) return resumed;
    if (resumed.ok()) paused_ = false;
  }
  return vmm.PowerButton();
}

void Instance::AdvanceStop() {
  BetweenSteps();
  Clock::time_point now = Clock::now();
  switch (stop_) {
    case Stop::kNone:
      stop_ = Stop::kAsking;
      deadline_ = now + environment_.shutdown_timeout;
      next_call_ = now;
      [[fallthrough]];
    case Stop::kAsking: {
      if (now < next_call_) return;
      Status asked = AskToShutDown();
      // A busy VMM may have heard it or not: it is asked again as long as the guest has time.
      if (asked.code() == StatusCode::kDeadlineExceeded && Clock::now() < deadline_) {
        next_call_ = std::min(Clock::now() + kAskPause, deadline_);
        return;
      }
      stop_ = Stop::kPowerButton;
      if (!asked.ok()) deadline_ = now;
      return;
    }
    case Stop::kPowerButton:
      if (now < deadline_) return;
      process_->Signal(SIGTERM);
      stop_ = Stop::kTerminated;
      deadline_ = now + environment_.terminate_timeout;
      return;
    case Stop::kTerminated:
    case Stop::kKilled:
      if (now < deadline_) return;
      process_->Signal(SIGKILL);
      stop_ = Stop::kKilled;
      deadline_ = now + environment_.terminate_timeout;
      LOG(kWarning, "instance_killed",
          {{"instance", record_.consumer.ToString()}, {"pid", record_.process.pid}});
      return;
  }
}

bool Instance::CleanUp() {
  environment_.consoles->Forget(record_.consumer);
  if (Clock::now() < next_restore_) return false;
  for (const BoundDevice& device : record_.devices) {
    Status restored = TakeBack(device);
    if (restored.ok()) continue;
    Count(&InstanceEvents::device_faults);
    LOG(kError, "device_not_restored", {{"device", device.address.ToString()}, {"error", restored}});
    // A driver may be busy for a while, with the reset of the VF for one; one that does not want its device
    // back must not keep the claim for ever.
    const Clock::time_point now = Clock::now();
    const Clock::time_point first = unrestored_.try_emplace(device.address, now).first->second;
    if (now - first < environment_.restore_timeout) {
      next_restore_ = now + std::min(kRestorePause, environment_.restore_timeout / 4);
      stop_ = Stop::kKilled;
      SetStatus(InstanceState::kDeleting, restored.message());
      return false;
    }
  }
  if (Status removed = RemoveTaps(); !removed.ok()) {
    LOG(kError, "tap_not_removed", {{"instance", record_.consumer.ToString()}, {"error", removed}});
    SetStatus(InstanceState::kDeleting, removed.message());
    if (++tap_failures_ < kMaxTapFailures) return false;
  }
  if (!environment_.images->Forget(folder())) return false;
  std::error_code error;
  BetweenSteps();
  std::filesystem::remove_all(folder(), error);
  BetweenSteps();
  if (error) {
    LOG(kError, "instance_folder_not_removed", {{"folder", folder()}, {"error", error.message()}});
    SetStatus(InstanceState::kDeleting, "remove " + folder() + ": " + error.message());
    return false;
  }
  // Last of all: what is not undone yet stays on record.
  Status removed = environment_.records->Remove(record_.consumer);
  BetweenSteps();
  if (removed.ok()) return true;
  LOG(kError, "instance_record_not_removed", {{"instance", record_.consumer.ToString()}, {"error", removed}});
  SetStatus(InstanceState::kDeleting, removed.message());
  return false;
}

}  // namespace berth::agent
