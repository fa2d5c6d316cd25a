#include "vmm/vcpu/exit_dispatch.h"

#include <linux/kvm_para.h>

#include <cerrno>
#include <cstdio>
#include <string>

#include "vmm/kvm/confidential_abi.h"

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

// GHCB protocol, termination request: bits 15:12 say whose reasons they are, bits 23:16 which one.
std::string SevReason(const std::vector<uint64_t>& data) {
  if (data.empty()) return "";
  return ", reason set " + std::to_string(data[0] >> 12 & 0xf) + ", code " +
         std::to_string(data[0] >> 16 & 0xff);
}

// GHCI, ReportFatalError: the code in R12, up to 64 bytes of text in eight registers. Only printable
// characters get into our log.
std::string TdxReason(const std::vector<uint64_t>& registers) {
  constexpr size_t kText[] = {14, 15, 3, 7, 6, 8, 9, 2};  // R14 R15 RBX RDI RSI R8 R9 RDX
  if (registers.size() < 16) return "";
  std::string text;
  for (size_t index : kText) {
    for (int byte = 0; byte < 8; ++byte) {
      const char c = static_cast<char>(registers[index] >> (8 * byte));
      if (c >= ' ' && c <= '~') text += c;
    }
  }
  return ", code " + Hex(registers[12]) + (text.empty() ? "" : ": " + text);
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

  std::optional<VcpuEnding> operator()(const HypercallExit& exit) {
    if (targets_.requests == nullptr || exit.number != KVM_HC_MAP_GPA_RANGE) {
      *exit.result = static_cast<uint64_t>(-KVM_ENOSYS);
      return std::nullopt;
    }
    Result<uint64_t> result = targets_.requests->MapGpaRange(
        targets_.vcpu, exit.arguments[0], exit.arguments[1], exit.arguments[2], targets_.rest);
    if (!result.has_value()) {
      return VcpuEnding{VcpuEnd::kFailed, "conversion of memory: " + result.error().ToString()};
    }
    *exit.result = *result;
    return std::nullopt;
  }

  std::optional<VcpuEnding> operator()(const MemoryFaultExit& exit) {
    const std::string where =
        std::string(exit.is_private ? "private" : "shared") + " access to " + Hex(exit.gpa);
    if (exit.poisoned) return VcpuEnding{VcpuEnd::kFailed, where + " met a page with a memory error"};
    if (targets_.requests == nullptr) return VcpuEnding{VcpuEnd::kFailed, where + " of an ordinary guest"};
    Status status = targets_.requests->MemoryFault(targets_.vcpu, exit);
    if (status.ok()) return std::nullopt;
    return VcpuEnding{VcpuEnd::kFailed, where + ": " + status.ToString()};
  }

  std::optional<VcpuEnding> operator()(const TdxExit& exit) {
    if (targets_.requests == nullptr) {
      *exit.result = abi::kTdVmCallUnsupported;
    } else {
      targets_.requests->TdVmCall(targets_.vcpu, exit);
    }
    return std::nullopt;
  }

  std::optional<VcpuEnding> operator()(const SystemEventExit& exit) {
    switch (exit.type) {
      case abi::kSystemEventSevTerm:
        return VcpuEnding{VcpuEnd::kFailed, "the SEV-SNP guest has terminated itself" + SevReason(exit.data)};
      case abi::kSystemEventTdxFatal:
        return VcpuEnding{VcpuEnd::kFailed,
                          "the TDX guest has reported a fatal error" + TdxReason(exit.data)};
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
