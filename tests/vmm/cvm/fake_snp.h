#pragma once

#include <fcntl.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <optional>
#include <vector>

#include "vmm/kvm/confidential_abi.h"
#include "vmm/kvm/fake_kvm.h"
#include "vmm/kvm/fake_platform.h"

namespace berth::vmm {

// KVM's SEV-SNP commands by the rules of Linux 6.11's arch/x86/kvm/svm/sev.c: order, arguments, error
// numbers.
class FakeSnp final : public FakePlatform {
 public:
  struct Failure {
    int error = 0;
    uint32_t firmware = 0;
    uint32_t after_pages = 0;  // of LAUNCH_UPDATE
  };
  void FailNext(uint32_t id, Failure failure) { failures_[id].push_back(failure); }

  bool smt = true;            // the host runs with it
  bool refuse_cpuid = false;  // the firmware wants another CPUID page, once told so it stays that way

  bool initialised = false, started = false, finished = false;
  uint64_t policy = 0;
  static constexpr uint64_t kDebugSwap = 1 << 5;  // the feature that this kernel knows
  uint64_t features = 0;
  struct Page {
    uint8_t type = 0;
    std::vector<uint8_t> content;
  };
  std::map<uint64_t, Page> pages;
  std::vector<std::pair<uint64_t, uint8_t>> order;  // address, type
  std::array<uint8_t, 32> host_data{};
  std::vector<uint8_t> id_block, id_auth;
  bool author_key = false;

  VmType type() const override { return VmType::kSevSnp; }

  int OnVmCommand(const FakeVm& vm, unsigned long request, void* argument) override {
    if (request != abi::kMemoryEncryptOp) return ENOTTY;
    auto& command = *static_cast<abi::SevCommand*>(argument);
    if (command.pad0 != 0) return EINVAL;
    if (command.id != abi::kSnpLaunchUpdate) {
      if (auto failure = Take(command.id)) {
        command.error = failure->firmware;
        return failure->error;
      }
    }
    switch (command.id) {
      case abi::kSevInit2: {
        const auto& init = *reinterpret_cast<abi::SevInit*>(command.data);
        if (initialised || !vm.vcpus.empty() || init.flags != 0 || (init.vmsa_features & ~kDebugSwap) != 0 ||
            init.ghcb_version > 2) {
          return EINVAL;
        }
        features = init.vmsa_features | 1;
        initialised = true;
        return 0;
      }
      case abi::kSnpLaunchStart: {
        const auto& start = *reinterpret_cast<abi::SnpLaunchStart*>(command.data);
        if (!initialised) return ENOTTY;
        if (::fcntl(static_cast<int>(command.sev_fd), F_GETFD) < 0) return EBADF;
        constexpr uint64_t kMustBeOne = 1 << 17, kSmt = 1 << 16, kValid = 0x1fffff;
        if (started || start.flags != 0 || (start.policy & ~kValid) != 0 || (start.policy & kMustBeOne) == 0)
          return EINVAL;
        if ((start.policy & kSmt) == 0 && smt) return EINVAL;
        policy = start.policy;
        started = true;
        return 0;
      }
      case abi::kSnpLaunchUpdate:
        return Update(vm, command);
      case abi::kSnpLaunchFinish: {
        const auto& finish = *reinterpret_cast<abi::SnpLaunchFinish*>(command.data);
        if (!started || finished || finish.flags != 0) return EINVAL;
        if (finish.id_block_en == 0 && (finish.auth_key_en != 0 || finish.id_block_uaddr != 0)) return EINVAL;
        if (finish.id_block_en != 0) {
          if (finish.id_block_uaddr == 0 || finish.id_auth_uaddr == 0) return EFAULT;
          const auto* block = reinterpret_cast<const uint8_t*>(finish.id_block_uaddr);
          id_block.assign(block, block + 96);
          const auto* auth = reinterpret_cast<const uint8_t*>(finish.id_auth_uaddr);
          id_auth.assign(auth, auth + 4096);
          author_key = finish.auth_key_en != 0;
        }
        std::memcpy(host_data.data(), finish.host_data, host_data.size());
        finished = true;
        return 0;
      }
      default:
        return EINVAL;
    }
  }

  int OnVcpuCommand(const FakeVm&, uint32_t, unsigned long, void*) override { return ENOTTY; }
  int OnCreateVcpu(const FakeVm&, uint32_t) override { return initialised ? 0 : EINVAL; }
  int OnSetState(const FakeVm&, uint32_t) override { return finished ? EINVAL : 0; }
  int OnRun(const FakeVm&, uint32_t) override { return finished ? 0 : EINVAL; }

 private:
  std::optional<Failure> Take(uint32_t id) {
    auto& list = failures_[id];
    if (list.empty()) return std::nullopt;
    Failure failure = list.front();
    list.erase(list.begin());
    return failure;
  }

  int Update(const FakeVm& vm, abi::SevCommand& command) {
    auto& update = *reinterpret_cast<abi::SnpLaunchUpdate*>(command.data);
    if (!started || finished || update.flags != 0 || update.pad0 != 0) return EINVAL;
    const bool known = update.type == abi::kSnpPageNormal ||
                       (update.type >= abi::kSnpPageZero && update.type <= abi::kSnpPageCpuid);
    if (!known || update.len == 0 || update.len % 4096 != 0) return EINVAL;
    if (update.type != abi::kSnpPageZero && update.uaddr % 4096 != 0) return EINVAL;
    const auto failure = Take(command.id);
    for (uint32_t done = 0; update.len > 0; ++done) {
      const uint64_t gpa = update.gfn_start << 12;
      if (failure && done == failure->after_pages) {
        command.error = failure->firmware;
        return failure->error;
      }
      if (!vm.IsPrivate(gpa, 4096) || !HasMemfd(vm, gpa)) return EINVAL;
      if (pages.contains(gpa)) return EPERM;
      auto* source = reinterpret_cast<uint8_t*>(update.uaddr);
      if (update.type == abi::kSnpPageCpuid && refuse_cpuid) {
        source[16 + 24] ^= 1;  // eax of the first leaf
        command.error = abi::kSnpFirmwareInvalidParameter;
        return EIO;
      }
      Page& page = pages[gpa];
      page.type = update.type;
      if (update.type != abi::kSnpPageZero) page.content.assign(source, source + 4096);
      order.emplace_back(gpa, update.type);
      ++update.gfn_start;
      if (update.type != abi::kSnpPageZero) update.uaddr += 4096;
      update.len -= 4096;
    }
    return 0;
  }

  static bool HasMemfd(const FakeVm& vm, uint64_t gpa) {
    for (const auto& [id, slot] : vm.slots) {
      if (gpa >= Raw(slot.gpa) && gpa < Raw(slot.gpa) + slot.size) return slot.guest_memfd >= 0;
    }
    return false;
  }

  std::map<uint32_t, std::vector<Failure>> failures_;
};

}  // namespace berth::vmm
