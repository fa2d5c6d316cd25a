// What clients want of an instance, and the steps towards it.
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "common/log.h"
#include "compute-agent/instances/instance.h"

namespace berth::agent {
namespace {

using placement::InstanceState;
using std::chrono::milliseconds;

constexpr milliseconds kCallPause{1'000};  // between two tries of a call that failed

const char* GoalText(Goal goal) {
  switch (goal) {
    case Goal::kRunning:
      return "running";
    case Goal::kStopped:
      return "stopped";
    case Goal::kPaused:
      return "paused";
  }
  return "";
}

}  // namespace

Status Instance::CheckAction(Action action) const {
  const std::string be = "the instance is to be " + std::string(GoalText(record_.goal));
  const bool on = process_.has_value() && record_.goal != Goal::kStopped;
  switch (action) {
    case Action::kStart:
    case Action::kStop:
      return OkStatus();
    case Action::kReboot:
    case Action::kReset:
      if (on && record_.goal == Goal::kPaused) return FailedPrecondition(be, "action", "resume it first");
      break;
    case Action::kResume:
    case Action::kPause:
      break;
  }
  if (on) return OkStatus();
  return FailedPrecondition(
      "the instance has no VM that runs: " + std::string(placement::InstanceStateName(status_.state)),
      "action", "start it first");
}

// Durable before anything of it is done.
Status Instance::Record(InstanceRecord next) {
  if (next == record_) return OkStatus();
  if (::mkdir(folder().c_str(), 0700) != 0 && errno != EEXIST) return ErrnoStatus("mkdir " + folder(), errno);
  BetweenSteps();
  TRY(environment_.records->Save(next));
  record_ = std::move(next);
  recorded_ = true;
  BetweenSteps();
  return OkStatus();
}

// Record, of steps that are taken again until it is done.
bool Instance::Keep(InstanceRecord next) {
  Status recorded = Record(std::move(next));
  if (recorded.ok()) return true;
  LOG(kError, "instance_record_not_saved", {{"instance", record_.consumer.ToString()}, {"error", recorded}});
  return false;
}

Status Instance::Act(Action action, bool dry_run) {
  if (broken_) return FailedPrecondition(status_.detail);
  TRY(CheckAction(action));
  if (dry_run) return OkStatus();
  InstanceRecord next = record_;
  switch (action) {
    case Action::kStart:
      // One that is on its way down starts when it is there.
      next.reboot = next.reboot || (next.goal == Goal::kStopped && process_.has_value());
      next.goal = Goal::kRunning;
      if (next.phase == Phase::kExited) {
        next.phase = Phase::kPreparing;
        next.attempts = 0;
        next.restarts = 0;
        next.outcome.reset();
      }
      break;
    case Action::kStop:
      next.goal = Goal::kStopped;
      next.reboot = false;
      next.reset = false;
      break;
    case Action::kReboot:
      next.reboot = true;
      next.reset = false;
      break;
    case Action::kReset:
      next.reset = true;
      break;
    case Action::kPause:
      next.goal = Goal::kPaused;
      break;
    case Action::kResume:
      next.goal = Goal::kRunning;
      break;
  }
  TRY(Record(std::move(next)));
  if (action == Action::kReset) reset_done_ = false;
  restart_at_.reset();
  next_call_ = {};
  return OkStatus();
}

// True when no process is left and another one may be started.
bool Instance::StepTowardsStopped() {
  if (process_.has_value()) {
    if (!process_->Ended()) {
      if (record_.phase == Phase::kStarting) Observe();
      if (process_.has_value()) AdvanceStop();
    } else {
      HandleEnd();  // Finish, or Relaunch
    }
    if (process_.has_value()) return false;
  }
  if (record_.goal == Goal::kStopped) {
    if (record_.phase != Phase::kExited) Finish(InstanceState::kStopped, "stopped on request");
    return false;
  }
  if (record_.reboot) Relaunch();  // it ended before it could be rebooted
  return true;
}

void Instance::Relaunch() {
  record_.phase = Phase::kPreparing;
  record_.reboot = false;
  record_.attempts = 0;
  record_.restarts = 0;
  record_.outcome.reset();
  Save();
  ForgetProcess();
  SetStatus(InstanceState::kBuilding, "rebooting");
  LOG(kInfo, "instance_rebooting", {{"instance", record_.consumer.ToString()}});
}

void Instance::FollowGoal() {
  if (!process_.has_value() || record_.phase != Phase::kRunning || Clock::now() < next_call_) return;
  FollowReset();
  FollowPause();
}

void Instance::FollowReset() {
  if (!record_.reset) return;
  InstanceRecord next = record_;
  next.reset = false;
  if (!reset_done_) {
    BetweenSteps();
    Status done = VmmClient(api_socket()).Reset();
    BetweenSteps();
    reset_done_ = done.ok();
    if (!done.ok()) {
      LOG(kWarning, "instance_not_reset", {{"instance", record_.consumer.ToString()}, {"error", done}});
      next_call_ = Clock::now() + kCallPause;
      if (done.code() != StatusCode::kFailedPrecondition) return;
      // Its answer will not change: the wish is taken back.
      next.note = "it was not reset: " + done.message();
    }
  }
  // A record that still wants it would let the next agent do it again.
  if (Keep(std::move(next))) {
    reset_done_ = false;
  } else {
    next_call_ = Clock::now() + kCallPause;
  }
}

void Instance::FollowPause() {
  const bool wanted = record_.goal == Goal::kPaused;
  VmmClient vmm(api_socket());
  if (!paused_.has_value()) {
    Result<VmmInfo> info = vmm.Info();
    if (info.has_value()) paused_ = info->state == "Paused";
  }
  if (paused_.has_value() && *paused_ != wanted) {
    BetweenSteps();
    Status done = wanted ? vmm.Pause() : vmm.Resume();
    BetweenSteps();
    if (done.ok()) {
      paused_ = wanted;
    } else {
      paused_.reset();  // somebody else may have done it
      LOG(kWarning, "instance_not_paused",
          {{"instance", record_.consumer.ToString()}, {"pause", wanted}, {"error", done}});
    }
  }
  if (!paused_.has_value()) next_call_ = Clock::now() + kCallPause;
  ShowRunning();
}

void Instance::ShowRunning() {
  SetStatus(paused_.value_or(false) ? InstanceState::kPaused : InstanceState::kRunning, record_.note);
}

void Instance::Note(std::string text) {
  if (record_.note == text) return;
  record_.note = std::move(text);
  Save();
  ShowRunning();
}

}  // namespace berth::agent
