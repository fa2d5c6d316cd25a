#include "vmm/vcpu/exit_dispatch.h"

#include <cstdio>

namespace berth::vmm {
namespace {

std::string Hex(uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof text, "%#llx", static_cast<unsigned long long>(value));
  return text;
}

// " at rip=... cr0=...", for failures.
std::string Where(KvmVcpu& vcpu) {
  Result<VcpuState> state = vcpu.GetState();
  if (!state.has_value()) return "";
  return " at rip=" + Hex(state->regs.rip) + " rflags=" + Hex(state->regs.rflags) +
         " cs=" + Hex(state->sregs.cs.selector) + " cr0=" + Hex(state->sregs.cr0) +
         " cr3=" + Hex(state->sregs.cr3) + " cr4=" + Hex(state->sregs.cr4);
}

std::string SuberrorName(uint32_t suberror) {
  switch (suberror) {
    case KVM_INTERNAL_ERROR_EMULATION:
      return "an instruction that KVM cannot emulate";
    case KVM_INTERNAL_ERROR_SIMUL_EX:
      return "simultaneous exceptions";
    case KVM_INTERNAL_ERROR_DELIVERY_EV:
      return "an exit while an event was delivered";
    case KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON:
      return "an exit of unknown reason";
    default:
      return "suberror " + std::to_string(suberror);
  }
}

class Server {
 public:
  Server(const VcpuTargets& targets, KvmVcpu& vcpu) : targets_(targets), vcpu_(vcpu) {}

  std::optional<VcpuEnding> operator()(const PortExit& exit) {
    for (size_t at = 0; exit.size > 0 && at + exit.size <= exit.data.size(); at += exit.size) {
      auto piece = exit.data.subspan(at, exit.size);
      if (exit.write) {
        targets_.ports->Write(exit.port, piece);
      } else {
        targets_.ports->Read(exit.port, piece);
      }
    }
    return std::nullopt;
  }

  std::optional<VcpuEnding> operator()(const MmioExit& exit) {
    if (exit.write) {
      targets_.mmio->Write(exit.address, exit.data);
    } else {
      targets_.mmio->Read(exit.address, exit.data);
    }
    return std::nullopt;
  }

  std::optional<VcpuEnding> operator()(const EoiExit& exit) {
    if (targets_.end_of_interrupt) targets_.end_of_interrupt(exit.vector);
    return std::nullopt;
  }

  std::optional<VcpuEnding> operator()(const InterruptedExit&) { return std::nullopt; }

  std::optional<VcpuEnding> operator()(const ShutdownExit&) {
    return VcpuEnding{VcpuEnd::kReset, "triple fault" + Where(vcpu_)};
  }

  std::optional<VcpuEnding> operator()(const SystemEventExit& exit) {
    switch (exit.type) {
      case KVM_SYSTEM_EVENT_SHUTDOWN:
        return VcpuEnding{VcpuEnd::kPowerOff, "system event: shutdown"};
      case KVM_SYSTEM_EVENT_RESET:
        return VcpuEnding{VcpuEnd::kReset, "system event: reset"};
      case KVM_SYSTEM_EVENT_CRASH:
        return VcpuEnding{VcpuEnd::kFailed, "system event: the guest has crashed"};
      default:
        return VcpuEnding{VcpuEnd::kFailed, "unknown system event " + std::to_string(exit.type)};
    }
  }

  std::optional<VcpuEnding> operator()(const HaltExit&) {
    return VcpuEnding{VcpuEnd::kFailed, "halted with no interrupt that could wake it" + Where(vcpu_)};
  }

  std::optional<VcpuEnding> operator()(const EntryFailureExit& exit) {
    return VcpuEnding{VcpuEnd::kFailed, "the processor refused to enter the guest, hardware reason " +
                                            Hex(exit.hardware_reason) + Where(vcpu_)};
  }

  std::optional<VcpuEnding> operator()(const InternalErrorExit& exit) {
    std::string message = "KVM met " + SuberrorName(exit.suberror) + Where(vcpu_);
    for (uint64_t value : exit.data) message += " " + Hex(value);
    return VcpuEnding{VcpuEnd::kFailed, message};
  }

  std::optional<VcpuEnding> operator()(const OtherExit& exit) {
    return VcpuEnding{VcpuEnd::kFailed, "unknown KVM exit " + std::to_string(exit.reason) + Where(vcpu_)};
  }

 private:
  const VcpuTargets& targets_;
  KvmVcpu& vcpu_;
};

}  // namespace

std::optional<VcpuEnding> ServeExit(const VcpuExit& exit, const VcpuTargets& targets, KvmVcpu& vcpu) {
  return std::visit(Server(targets, vcpu), exit);
}

}  // namespace berth::vmm
