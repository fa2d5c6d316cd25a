#include "vmm/machine/machine.h"

#include <pthread.h>

#include <utility>

#include "common/log.h"
#include "vmm/config/validate.h"

namespace berth::vmm {

std::string_view StateName(Machine::State state) {
  switch (state) {
    case Machine::State::kCreated:
      return "Created";
    case Machine::State::kRunning:
      return "Running";
    case Machine::State::kPaused:
      return "Paused";
    case Machine::State::kShutdown:
      return "Shutdown";
  }
  return "";
}

namespace {

Status WrongState(std::string_view what, Machine::State state) {
  return FailedPrecondition(std::string(what) + " is not possible while the machine is " +
                            std::string(StateName(state)));
}

}  // namespace

Machine::Machine(Kvm& kvm, VmConfig config, EventLoop& control, std::function<void(MachineEnd)> on_end)
    : kvm_(kvm), config_(std::move(config)), control_(control), on_end_(std::move(on_end)) {}

Result<std::unique_ptr<Machine>> Machine::Create(Kvm& kvm, VmConfig config, EventLoop& control,
                                                 std::function<void(MachineEnd)> on_end) {
  std::unique_ptr<Machine> machine(new Machine(kvm, std::move(config), control, std::move(on_end)));
  TRY_ASSIGN(machine->devices_, EventLoop::Create());
  if (machine->config_.serial.mode != SerialConfig::Mode::kOff) {
    TRY_ASSIGN(machine->serial_, OpenSerialBackend(machine->config_.serial, *machine->devices_));
  }
  TRY_ASSIGN(machine->memory_, ZonedMemory::Create(EffectiveZones(machine->config_)));
  return machine;
}

Machine::~Machine() {
  StopBoard();
}

Status Machine::Boot() {
  if (state_ != State::kCreated && state_ != State::kShutdown) return WrongState("boot", state_);
  return StartBoard();
}

Status Machine::Pause() {
  if (state_ != State::kRunning) return WrongState("pause", state_);
  board_->Pause();
  state_ = State::kPaused;
  LOG(kInfo, "vm_paused");
  return OkStatus();
}

Status Machine::Resume() {
  if (state_ != State::kPaused) return WrongState("resume", state_);
  board_->Run();
  state_ = State::kRunning;
  LOG(kInfo, "vm_resumed");
  return OkStatus();
}

Status Machine::Shutdown() {
  if (board_ == nullptr) return WrongState("shutdown", state_);
  StopBoard();
  state_ = State::kShutdown;
  LOG(kInfo, "vm_shut_down");
  return OkStatus();
}

Status Machine::Reboot() {
  if (board_ == nullptr) return WrongState("reboot", state_);
  StopBoard();
  state_ = State::kShutdown;
  return StartBoard();
}

Status Machine::PressPowerButton() {
  if (state_ != State::kRunning) return WrongState("power-button", state_);
  board_->PressPowerButton();
  return OkStatus();
}

Status Machine::StartBoard() {
  BoardParts parts;
  parts.kvm = &kvm_;
  parts.config = &config_;
  parts.memory = &memory_->memory();
  parts.loop = devices_.get();
  parts.serial = serial_.get();
  TRY_ASSIGN(board_, Board::Create(parts, EventsOf(++boots_)));
  device_thread_ = std::thread([loop = devices_.get()] {
    ::pthread_setname_np(::pthread_self(), "devices");
    if (Status status = loop->Run(); !status.ok()) LOG(kError, "device_loop_failed", {{"error", status}});
  });
  board_->Run();
  state_ = State::kRunning;
  LOG(kInfo, "vm_booted", {{"boot", boots_}, {"vcpus", config_.cpus.boot}});
  return OkStatus();
}

void Machine::StopBoard() {
  if (board_ == nullptr) return;
  board_->Stop();
  devices_->Stop();
  device_thread_.join();
  board_.reset();
}

BoardEvents Machine::EventsOf(uint32_t boot) {
  // Each event becomes a task of the control loop, where the machine may be gone or have another board.
  auto post = [this, boot, alive = std::weak_ptr<bool>(alive_)](auto handle) {
    control_.Post([this, boot, alive, handle = std::move(handle)] {
      if (!alive.expired() && board_ != nullptr && boot == boots_) handle();
    });
  };
  BoardEvents events;
  events.on_power_off = [this, post] { post([this] { End({MachineEnd::Kind::kPoweredOff, {}}); }); };
  events.on_reset = [this, post] {
    post([this] {
      LOG(kInfo, "vm_reset_by_guest");
      if (Status status = Reboot(); !status.ok()) {
        on_end_({MachineEnd::Kind::kFailed, "reset: " + status.ToString()});
      }
    });
  };
  events.on_failure = [this, post](std::string message) {
    post([this, message = std::move(message)] { End({MachineEnd::Kind::kFailed, message}); });
  };
  return events;
}

void Machine::End(MachineEnd end) {
  StopBoard();
  state_ = State::kShutdown;
  on_end_(std::move(end));
}

}  // namespace berth::vmm
