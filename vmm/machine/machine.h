#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "common/status.h"
#include "vmm/bus/event_loop.h"
#include "vmm/config/vm_config.h"
#include "vmm/kvm/kvm.h"
#include "vmm/machine/board.h"
#include "vmm/memory/zoned_memory.h"

namespace berth::vmm {

// How a machine came to its end.
struct MachineEnd {
  enum class Kind { kPoweredOff, kFailed };
  Kind kind = Kind::kPoweredOff;
  std::string message;  // of a failure
};

// One virtual machine over all its boots: the memory and the serial port's far end stay, a reset gives them a
// new board. All calls come from the thread that runs the `control` loop; the guest's events reach it through
// that loop.
class Machine {
 public:
  enum class State { kCreated, kRunning, kPaused, kShutdown };

  // Maps and binds the memory and opens what the configuration names. `on_end` runs on the control loop when
  // the guest has powered off or cannot go on; the machine is in kShutdown by then. `kvm` and `control`
  // outlive the machine.
  static Result<std::unique_ptr<Machine>> Create(Kvm& kvm, VmConfig config, EventLoop& control,
                                                 std::function<void(MachineEnd)> on_end);
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  // Each is kFailedPrecondition in a state that does not allow it.
  Status Boot();
  Status Pause();
  Status Resume();
  // At once, without the guest's help.
  Status Shutdown();
  Status Reboot();
  // Asks the guest to power off.
  Status PressPowerButton();

  State state() const { return state_; }
  const VmConfig& config() const { return config_; }
  uint32_t boots() const { return boots_; }

 private:
  Machine(Kvm& kvm, VmConfig config, EventLoop& control, std::function<void(MachineEnd)> on_end);
  // Builds a board and lets it run.
  Status StartBoard();
  void StopBoard();
  // Events of board number `boot`; those of a board that is gone are dropped.
  BoardEvents EventsOf(uint32_t boot);
  void End(MachineEnd end);

  Kvm& kvm_;
  const VmConfig config_;
  EventLoop& control_;
  std::function<void(MachineEnd)> on_end_;
  State state_ = State::kCreated;
  uint32_t boots_ = 0;

  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // for tasks that outlive the machine
  std::unique_ptr<ZonedMemory> memory_;
  std::unique_ptr<EventLoop> devices_;
  std::shared_ptr<SerialBackend> serial_;
  std::unique_ptr<Board> board_;
  std::thread device_thread_;  // runs devices_ while there is a board
};

std::string_view StateName(Machine::State state);

}  // namespace berth::vmm
