#include "vmm/cvm/virtcca_launch.h"

#include <algorithm>
#include <cerrno>
#include <string>

#include "vmm/cvm/command_error.h"
#include "vmm/kvm/confidential_abi.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kPage = 4096, kGranule = uint64_t{2} << 20;
constexpr uint64_t kSmallestGuest = uint64_t{1} << 30;
constexpr uint32_t kMaxVcpus = 256;  // bits of the bitmap

int Tmm(KvmVm& vm, uint64_t command, void* argument) {
  kvm_enable_cap cap{};
  cap.cap = abi::kCapArmRme;
  cap.args[0] = command;
  cap.args[1] = reinterpret_cast<uintptr_t>(argument);
  return vm.LaunchCommand(abi::kEnableCap, &cap);
}

Status Configure(KvmVm& vm, abi::TmmConfigItem item, const char* what) {
  const int error = Tmm(vm, abi::kTmmConfigCvm, &item);
  if (error == 0) return OkStatus();
  return CommandError(std::string("virtCCA configuration of ") + what, error,
                      {{EINVAL, "the monitor (TMM) does not support the value"},
                       {EBUSY, "the guest exists already"},
                       {EFAULT, "the kernel has another version of the interface"}});
}

}  // namespace

Status VirtccaLaunch::CheckOptions() const {
  if (options_.nodes.empty() || options_.nodes.size() > abi::kTmmMaxNumaNodes) {
    return InvalidArgument("a virtCCA guest has " + std::to_string(options_.nodes.size()) +
                           " nodes, 1 to 8 are possible");
  }
  uint64_t total = 0, end = 0;
  for (const Node& node : options_.nodes) {
    if (node.ipa % kGranule != 0 || node.size % kGranule != 0 || node.size == 0) {
      return InvalidArgument("secure memory is given in steps of 2 MiB: " + HexNumber(node.size) + " at " +
                             HexNumber(node.ipa));
    }
    if (node.ipa < end || node.size > UINT64_MAX - node.ipa) {
      return InvalidArgument("the guest's nodes are not in ascending order");
    }
    end = node.ipa + node.size;
    total += node.size;
    for (uint32_t vcpu : node.vcpus) {
      if (vcpu >= kMaxVcpus) return InvalidArgument("vCPU " + std::to_string(vcpu) + " is above 255");
    }
  }
  if (total < kSmallestGuest) return InvalidArgument("the smallest virtCCA guest has 1 GiB of secure memory");
  const Images& images = options_.images;
  const Node& first = options_.nodes.front();
  if (images.loader_start < first.ipa || images.image_end <= images.loader_start ||
      images.initrd_start < images.image_end || images.dtb_end < images.initrd_start ||
      images.dtb_end > first.ipa + first.size) {
    return InvalidArgument("the guest's images do not lie one after the other in its first node");
  }
  if (images.loader_start % kPage != 0 || images.initrd_start % kPage != 0) {
    return InvalidArgument("the guest's images do not start at pages");
  }
  return OkStatus();
}

Status VirtccaLaunch::InitVm(KvmVm& vm, std::span<const kvm_cpuid_entry2>) {
  TRY(CheckOptions());
  abi::TmmConfigItem item{};
  item.cfg = abi::kTmmCfgHashAlgo;
  item.hash_algo = options_.sha512 ? abi::kTmmSha512 : abi::kTmmSha256;
  TRY(Configure(vm, item, "the measurement"));
  if (options_.sve_vector_bits) {
    item = {};
    item.cfg = abi::kTmmCfgSve;
    item.sve_vq = *options_.sve_vector_bits / 128;
    TRY(Configure(vm, item, "SVE"));
  }
  if (options_.pmu_counters) {
    item = {};
    item.cfg = abi::kTmmCfgPmu;
    item.num_pmu_cntrs = *options_.pmu_counters;
    TRY(Configure(vm, item, "performance counters"));
  }
  // Before CREATE_RD: the monitor puts the guest's descriptor on the node of vCPU 0.
  abi::TmmUserData data{};
  data.loader_start = options_.images.loader_start;
  data.image_end = options_.images.image_end;
  data.initrd_start = options_.images.initrd_start;
  data.dtb_end = options_.images.dtb_end;
  data.numa_info.numa_cnt = options_.nodes.size();
  for (size_t i = 0; i < options_.nodes.size(); ++i) {
    const Node& node = options_.nodes[i];
    abi::TmmNumaNode& raw = data.numa_info.numa_nodes[i];
    raw.numa_id = i;
    raw.ipa_start = node.ipa;
    raw.ipa_size = node.size;
    raw.host_numa_nodes[0] = node.host_node;
    raw.host_numa_nodes[1] = -1;
    for (uint32_t vcpu : node.vcpus) raw.cpu_id[vcpu / 64] |= uint64_t{1} << vcpu % 64;
    data.ram_size += node.size;
  }
  if (int error = vm.LaunchCommand(abi::kLoadUserData, &data); error != 0) {
    return CommandError("virtCCA user data", error,
                        {{EINVAL, "the kernel refuses the guest's nodes or the places of its images"},
                         {EFAULT, "this VM is no virtCCA VM"},
                         {ENOTTY, "the kernel has no virtCCA (virtcca_cvm_host=1)"}});
  }
  if (int error = Tmm(vm, abi::kTmmCreateRd, nullptr); error != 0) {
    return CommandError("virtCCA CREATE_RD", error,
                        {{ENOMEM,
                          "not enough secure memory, or all guest numbers are in use "
                          "(/sys/kernel/tmm/memory_info)"},
                         {EFAULT, "the guest has no parameters"}});
  }
  return OkStatus();
}

Status VirtccaLaunch::InitVcpu(KvmVcpu& vcpu, uint32_t id) {
  int feature = abi::kArmVcpuTec;
  const int error = vcpu.LaunchCommand(abi::kArmVcpuFinalize, &feature);
  if (error == 0) return OkStatus();
  return CommandError("virtCCA context of vCPU " + std::to_string(id), error,
                      {{EINVAL, "the guest does not exist"},
                       {EPERM, "the vCPU has its context already"},
                       {ENOMEM, "not enough secure memory"}});
}

Status VirtccaLaunch::Load(KvmVm& vm, KvmVcpu&, const LaunchContent&) {
  // The loader with the kernel, and the initial RAM file system with the device tree; both measured.
  auto up = [](uint64_t value) { return (value + kPage - 1) / kPage * kPage; };
  const Images& images = options_.images;
  abi::TmmPopulate populate{};
  populate.base1 = images.loader_start;
  populate.size1 = std::min(up(images.image_end), images.initrd_start) - images.loader_start;
  populate.base2 = images.initrd_start;
  populate.size2 = images.dtb_end / kPage * kPage - images.initrd_start;
  populate.flags = abi::kTmmPopulateMeasure;
  const int error = Tmm(vm, abi::kTmmPopulateCvm, &populate);
  if (error == 0) return OkStatus();
  return CommandError("virtCCA POPULATE", error,
                      {{EINVAL,
                        "the guest does not exist, or the images are not whole pages between loader and "
                        "device tree"},
                       {EFAULT, "an image lies outside of the guest's memory, or secure memory ran out"}});
}

Status VirtccaLaunch::Finish(KvmVm& vm) {
  const int error = Tmm(vm, abi::kTmmActivateCvm, nullptr);
  if (error == 0) return OkStatus();
  return CommandError(
      "virtCCA ACTIVATE", error,
      {{EINVAL, "the guest does not exist, or runs already"},
       {EFAULT, "not enough secure memory on a node of the guest (/sys/kernel/tmm/memory_info)"},
       {ENXIO, "the monitor refuses the guest"}});
}

}  // namespace berth::vmm
