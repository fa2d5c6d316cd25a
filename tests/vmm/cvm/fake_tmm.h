#pragma once

#include <cerrno>
#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "vmm/kvm/confidential_abi.h"
#include "vmm/kvm/fake_kvm.h"
#include "vmm/kvm/fake_platform.h"

namespace berth::vmm {

// KVM's virtCCA commands by the rules of openEuler 24.03's arch/arm64/kvm/virtcca_cvm.c.
class FakeTmm final : public FakePlatform {
 public:
  // Commands of KVM_ENABLE_CAP by number; kUserData and kTec for the others.
  static constexpr uint64_t kUserData = 100, kTec = 101;
  void FailNext(uint64_t command, int error) { failures_[command].push_back(error); }

  bool sha512 = true;
  uint32_t max_sve_vq = 4, max_pmu = 6;
  uint64_t secure_memory = uint64_t{8} << 30;

  enum class State { kNone, kNew, kActive };
  State state = State::kNone;
  std::optional<abi::TmmUserData> user_data;
  std::vector<uint32_t> configured;
  std::vector<abi::TmmPopulate> populated;
  std::set<uint32_t> tecs;

  VmType type() const override { return VmType::kArmRealm; }

  int OnVmCommand(const FakeVm&, unsigned long request, void* argument) override {
    if (request == abi::kLoadUserData) return LoadUserData(*static_cast<abi::TmmUserData*>(argument));
    if (request != abi::kEnableCap) return ENOTTY;
    const auto& cap = *static_cast<kvm_enable_cap*>(argument);
    if (cap.cap != abi::kCapArmRme || cap.flags != 0) return EINVAL;
    if (int error = Take(cap.args[0]); error != 0) return error;
    switch (cap.args[0]) {
      case abi::kTmmConfigCvm:
        return Configure(*reinterpret_cast<abi::TmmConfigItem*>(cap.args[1]));
      case abi::kTmmCreateRd:
        if (state != State::kNone) return 0;
        state = State::kNew;
        return 0;
      case abi::kTmmPopulateCvm:
        return Populate(*reinterpret_cast<abi::TmmPopulate*>(cap.args[1]));
      case abi::kTmmActivateCvm: {
        if (state != State::kNew) return EINVAL;
        if (user_data && user_data->ram_size > secure_memory) return EFAULT;
        state = State::kActive;
        return 0;
      }
      default:
        return EINVAL;
    }
  }

  int OnVcpuCommand(const FakeVm&, uint32_t vcpu, unsigned long request, void* argument) override {
    if (request != abi::kArmVcpuFinalize) return ENOTTY;
    if (int error = Take(kTec); error != 0) return error;
    if (*static_cast<int*>(argument) != abi::kArmVcpuTec || state == State::kNone) return EINVAL;
    return tecs.insert(vcpu).second ? 0 : EPERM;
  }
  int OnCreateVcpu(const FakeVm&, uint32_t) override { return 0; }
  int OnSetState(const FakeVm&, uint32_t vcpu) override { return tecs.contains(vcpu) ? EPERM : 0; }
  int OnRun(const FakeVm&, uint32_t vcpu) override {
    return state == State::kActive && tecs.contains(vcpu) ? 0 : EINVAL;
  }

 private:
  int Take(uint64_t command) {
    auto& list = failures_[command];
    if (list.empty()) return 0;
    const int error = list.front();
    list.erase(list.begin());
    return error;
  }

  int Configure(const abi::TmmConfigItem& item) {
    if (state != State::kNone) return EBUSY;
    configured.push_back(item.cfg);
    switch (item.cfg) {
      case abi::kTmmCfgHashAlgo:
        return item.hash_algo == abi::kTmmSha256 || (item.hash_algo == abi::kTmmSha512 && sha512) ? 0
                                                                                                  : EINVAL;
      case abi::kTmmCfgSve:
        return item.sve_vq <= max_sve_vq ? 0 : EINVAL;
      case abi::kTmmCfgPmu:
        return item.num_pmu_cntrs <= max_pmu ? 0 : EINVAL;
      default:
        return EINVAL;
    }
  }

  int LoadUserData(const abi::TmmUserData& data) {
    if (int error = Take(kUserData); error != 0) return error;
    const auto& info = data.numa_info;
    if (info.numa_cnt > abi::kTmmMaxNumaNodes) return EINVAL;
    uint64_t total = 0, end = 0;
    for (uint64_t i = 0; i < info.numa_cnt; ++i) {
      const auto& node = info.numa_nodes[i];
      if (node.ipa_start < end || node.ipa_start + node.ipa_size < node.ipa_start) return EINVAL;
      end = node.ipa_start + node.ipa_size;
      total += node.ipa_size;
    }
    if (info.numa_cnt > 0) {
      const auto& first = info.numa_nodes[0];
      if (data.loader_start < first.ipa_start || data.dtb_end > first.ipa_start + first.ipa_size)
        return EINVAL;
      if (total != data.ram_size) return EINVAL;
    }
    if (data.image_end <= data.loader_start || data.initrd_start < data.image_end ||
        data.dtb_end < data.initrd_start || data.ram_size < data.dtb_end - data.loader_start) {
      return EINVAL;
    }
    user_data = data;
    return 0;
  }

  int Populate(const abi::TmmPopulate& args) {
    if (state != State::kNew || !user_data) return EINVAL;
    for (uint64_t value : {args.base1, args.size1, args.base2, args.size2}) {
      if (value % 4096 != 0) return EINVAL;
    }
    if (args.base1 < user_data->loader_start || args.base2 < args.base1 + args.size1 ||
        user_data->dtb_end < args.base2 + args.size2) {
      return EINVAL;
    }
    if ((args.flags & ~abi::kTmmPopulateMeasure) != 0) return EINVAL;
    populated.push_back(args);
    return 0;
  }

  std::map<uint64_t, std::vector<int>> failures_;
};

}  // namespace berth::vmm
