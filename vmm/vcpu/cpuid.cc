#include "vmm/vcpu/cpuid.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <string>

namespace berth::vmm {
namespace {

constexpr uint32_t kX2apicBit = 1u << 21, kTscDeadlineBit = 1u << 24, kHypervisorBit = 1u << 31;  // 1 ECX
constexpr uint32_t kHttBit = 1u << 28;                                                            // 1 EDX
constexpr uint32_t kCmpLegacyBit = 1u << 1, kTopoExtBit = 1u << 22;  // 0x80000001 ECX
constexpr uint32_t kThreadLevel = 1, kCoreLevel = 2, kDieLevel = 5;  // 0xB and 0x1F ECX[15:8]
constexpr uint32_t kKvmSignatureLeaf = 0x40000000, kTimingLeaf = 0x40000010;
constexpr uint32_t kApicBusKhz = 1'000'000;  // KVM's local APIC timer counts nanoseconds

class Editor {
 public:
  Editor(std::vector<kvm_cpuid_entry2> leaves, const CpuTopology& topology, uint32_t vcpu)
      : leaves_(std::move(leaves)), topology_(topology), self_(topology.vcpus[vcpu]) {}

  void SetBasics(const KvmCapabilities& capabilities) {
    kvm_cpuid_entry2* leaf = Find(1);
    if (leaf == nullptr) return;
    leaf->ebx = (leaf->ebx & 0xffff) | (LogicalPerSocket() << 16) | (self_.apic_id << 24);
    leaf->ecx |= kHypervisorBit | kX2apicBit;
    if (capabilities.tsc_deadline_timer) leaf->ecx |= kTscDeadlineBit;
    leaf->edx = topology_.vcpus_per_socket() > 1 ? leaf->edx | kHttBit : leaf->edx & ~kHttBit;
  }

  // Levels of the topology: each tells the width of the numbers below the next one, and how many processors
  // that next one has. Leaf 0xB knows threads and cores only; 0x1F dies as well.
  void SetExtendedTopology(uint32_t function) {
    if (Find(function) == nullptr && !(function == 0xb && MaxLeaf() >= 0xb)) return;
    Erase(function);
    struct Level {
      uint32_t type, bits, processors;
    };
    const bool dies = function == 0x1f && topology_.dies_per_socket > 1;
    const uint32_t threads = topology_.threads_per_core;
    std::vector<Level> levels = {{kThreadLevel, topology_.thread_bits, threads}};
    if (dies) {
      levels.push_back(
          {kCoreLevel, topology_.thread_bits + topology_.core_bits, threads * topology_.cores_per_die});
    }
    levels.push_back({dies ? kDieLevel : kCoreLevel, topology_.socket_bits(), topology_.vcpus_per_socket()});
    levels.push_back({0, 0, 0});
    for (uint32_t index = 0; index < levels.size(); index++) {
      kvm_cpuid_entry2 entry{};
      entry.function = function;
      entry.index = index;
      entry.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
      entry.eax = levels[index].bits;
      entry.ebx = levels[index].processors;
      entry.ecx = index | levels[index].type << 8;
      entry.edx = self_.apic_id;
      leaves_.push_back(entry);
    }
  }

  // Caches of level 3 and up are shared by the die, the others by one core.
  void SetCaches(uint32_t function, bool cores_in_eax) {
    const uint32_t core_sharing = (1u << topology_.thread_bits) - 1;
    const uint32_t die_sharing = (1u << (topology_.thread_bits + topology_.core_bits)) - 1;
    const uint32_t cores = (1u << (topology_.core_bits + topology_.die_bits)) - 1;
    for (kvm_cpuid_entry2& leaf : leaves_) {
      if (leaf.function != function || (leaf.eax & 0x1f) == 0) continue;
      uint32_t level = (leaf.eax >> 5) & 7;
      uint32_t sharing = level >= 3 ? die_sharing : core_sharing;
      leaf.eax = (leaf.eax & 0x3fff) | (sharing << 14);
      if (cores_in_eax) leaf.eax |= std::min(cores, 63u) << 26;
    }
  }

  void SetAmdTopology() {
    if (kvm_cpuid_entry2* leaf = Find(0x80000001); leaf != nullptr) {
      leaf->ecx = topology_.vcpus_per_socket() > 1 ? leaf->ecx | kCmpLegacyBit : leaf->ecx & ~kCmpLegacyBit;
    }
    if (kvm_cpuid_entry2* leaf = Find(0x80000008); leaf != nullptr) {
      leaf->ecx = (topology_.vcpus_per_socket() - 1) | (topology_.socket_bits() << 12);
    }
    // Linux before 6.9 reads threads on AMD's processors from this leaf only, whatever the host has of it. It
    // needs nothing of the hardware.
    const bool threads = topology_.threads_per_core > 1 && MaxExtendedLeaf() >= 0x8000001e;
    if (threads && Find(0x8000001e) == nullptr) {
      kvm_cpuid_entry2 entry{};
      entry.function = 0x8000001e;
      leaves_.push_back(entry);
    }
    if (kvm_cpuid_entry2* leaf = Find(0x80000001); leaf != nullptr && threads) leaf->ecx |= kTopoExtBit;
    if (kvm_cpuid_entry2* leaf = Find(0x8000001e); leaf != nullptr) {
      leaf->eax = self_.apic_id;
      leaf->ebx = self_.core | (topology_.threads_per_core - 1) << 8;
      leaf->ecx = self_.socket;  // one node in each socket
      leaf->edx = 0;
    }
  }

  void SetHypervisor(uint32_t tsc_khz) {
    kvm_cpuid_entry2* signature = Find(kKvmSignatureLeaf);
    if (signature == nullptr || tsc_khz == 0) return;
    signature->eax = std::max(signature->eax, kTimingLeaf);
    Erase(kTimingLeaf);
    kvm_cpuid_entry2 timing{};
    timing.function = kTimingLeaf;
    timing.eax = tsc_khz;
    timing.ebx = kApicBusKhz;
    leaves_.push_back(timing);
  }

  // Leaf 0x15: TSC = crystal * EBX / EAX with a crystal of 1 MHz.
  void SetIntelTsc(uint32_t tsc_khz) {
    kvm_cpuid_entry2* leaf = Find(0x15);
    if (leaf == nullptr || tsc_khz == 0 || leaf->ecx != 0) return;
    leaf->eax = 1000;
    leaf->ebx = tsc_khz;
    leaf->ecx = 1'000'000;
  }

  bool IsIntel() const {
    const kvm_cpuid_entry2* leaf = const_cast<Editor*>(this)->Find(0);
    return leaf != nullptr && leaf->ebx == 0x756e6547;  // "Genu"
  }

  std::vector<kvm_cpuid_entry2> Take() { return std::move(leaves_); }

 private:
  kvm_cpuid_entry2* Find(uint32_t function) {
    auto it = std::find_if(leaves_.begin(), leaves_.end(),
                           [function](const kvm_cpuid_entry2& leaf) { return leaf.function == function; });
    return it == leaves_.end() ? nullptr : &*it;
  }
  void Erase(uint32_t function) {
    std::erase_if(leaves_, [function](const kvm_cpuid_entry2& leaf) { return leaf.function == function; });
  }
  uint32_t MaxLeaf() {
    kvm_cpuid_entry2* leaf = Find(0);
    return leaf == nullptr ? 0 : leaf->eax;
  }
  uint32_t MaxExtendedLeaf() {
    kvm_cpuid_entry2* leaf = Find(0x80000000);
    return leaf == nullptr ? 0 : leaf->eax;
  }
  // Addressable ids, a power of two.
  uint32_t LogicalPerSocket() const { return 1u << topology_.socket_bits(); }

  std::vector<kvm_cpuid_entry2> leaves_;
  const CpuTopology& topology_;
  CpuTopology::Vcpu self_;
};

}  // namespace

// Fewer address bits than the host's, for guests that are to fit other hosts as well.
void LimitPhysicalAddressBits(std::vector<kvm_cpuid_entry2>& leaves, uint32_t bits) {
  for (kvm_cpuid_entry2& leaf : leaves) {
    if (leaf.function == 0x80000008) leaf.eax = (leaf.eax & ~0xffu) | bits;
  }
}

std::vector<kvm_cpuid_entry2> BuildCpuid(const std::vector<kvm_cpuid_entry2>& supported,
                                         const KvmCapabilities& capabilities, const CpuTopology& topology,
                                         uint32_t vcpu, uint32_t tsc_khz) {
  Editor editor(supported, topology, vcpu);
  editor.SetBasics(capabilities);
  editor.SetExtendedTopology(0xb);
  editor.SetExtendedTopology(0x1f);
  if (editor.IsIntel()) {
    editor.SetCaches(4, true);
    editor.SetIntelTsc(tsc_khz);
  } else {
    editor.SetCaches(0x8000001d, false);
    editor.SetAmdTopology();
  }
  editor.SetHypervisor(tsc_khz);
  return editor.Take();
}

uint32_t PhysicalAddressBits(const std::vector<kvm_cpuid_entry2>& supported) {
  for (const kvm_cpuid_entry2& leaf : supported) {
    if (leaf.function == 0x80000008 && (leaf.eax & 0xff) != 0) return std::clamp(leaf.eax & 0xff, 36u, 52u);
  }
  return 36;
}

}  // namespace berth::vmm
