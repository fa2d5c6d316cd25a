#include "vmm/kvm/vcpu_state.h"

#include <algorithm>
#include <cstdio>
#include <string>

namespace berth::vmm {
namespace {

constexpr uint32_t kLeavesMax = 256;
constexpr uint32_t kMsrsMax = 4096;
constexpr size_t kStateMax = 1 << 20;  // extended and nested state

template <class T>
void PutAll(const std::vector<T>& list, StateWriter& out) {
  out.Put(static_cast<uint32_t>(list.size()));
  for (const T& element : list) out.PutObject(element);
}

template <class T>
std::vector<T> GetAll(uint32_t max, StateReader& in) {
  std::vector<T> list(in.GetCount(max, sizeof(T)));
  for (T& element : list) in.GetObject(element);
  return list;
}

std::vector<uint8_t> GetState(StateReader& in) {
  const std::span<const uint8_t> bytes = in.GetBytes(kStateMax);
  return {bytes.begin(), bytes.end()};
}

// Registers of a leaf whose bits are features: all of them must be there.
struct FeatureLeaf {
  uint32_t function;
  uint32_t index;
  bool eax, ebx, ecx, edx;
};
constexpr FeatureLeaf kFeatureLeaves[] = {
    {0x1, 0, false, false, true, true},        {0x7, 0, false, true, true, true},
    {0x7, 1, true, true, true, true},          {0xd, 1, true, false, false, false},
    {0x80000001, 0, false, false, true, true}, {0x80000008, 0, false, true, false, false},
};

}  // namespace

void SaveVcpu(const VcpuSnapshot& vcpu, StateWriter& out) {
  out.Put(vcpu.tsc_khz);
  PutAll(vcpu.cpuid, out);
  out.PutObject(vcpu.mp_state);
  out.PutObject(vcpu.regs);
  out.PutObject(vcpu.sregs);
  out.PutBytes(vcpu.xsave);
  out.PutObject(vcpu.xcrs);
  out.PutObject(vcpu.debug);
  out.PutObject(vcpu.lapic);
  PutAll(vcpu.msrs, out);
  out.PutObject(vcpu.events);
  out.PutBytes(vcpu.nested);
}

VcpuSnapshot LoadVcpu(StateReader& in) {
  VcpuSnapshot vcpu;
  in.Get(vcpu.tsc_khz);
  vcpu.cpuid = GetAll<kvm_cpuid_entry2>(kLeavesMax, in);
  in.GetObject(vcpu.mp_state);
  in.GetObject(vcpu.regs);
  in.GetObject(vcpu.sregs);
  vcpu.xsave = GetState(in);
  in.GetObject(vcpu.xcrs);
  in.GetObject(vcpu.debug);
  in.GetObject(vcpu.lapic);
  vcpu.msrs = GetAll<kvm_msr_entry>(kMsrsMax, in);
  in.GetObject(vcpu.events);
  vcpu.nested = GetState(in);
  uint32_t nested_size = 0;  // what the kernel would read: flags, format, size
  if (vcpu.nested.size() >= 8) std::memcpy(&nested_size, vcpu.nested.data() + 4, sizeof nested_size);
  if (in.ok() && !vcpu.nested.empty() &&
      (nested_size != vcpu.nested.size() || nested_size < sizeof(kvm_nested_state))) {
    in.Fail(InvalidArgument("a nested state that does not have its size"));
  }
  return vcpu;
}

Status CheckCpuid(std::span<const kvm_cpuid_entry2> wanted, std::span<const kvm_cpuid_entry2> supported) {
  for (const FeatureLeaf& leaf : kFeatureLeaves) {
    const auto is = [&leaf](const kvm_cpuid_entry2& entry) {
      return entry.function == leaf.function && entry.index == leaf.index;
    };
    const auto want = std::find_if(wanted.begin(), wanted.end(), is);
    if (want == wanted.end()) continue;
    const auto have = std::find_if(supported.begin(), supported.end(), is);
    const kvm_cpuid_entry2 none{};
    const kvm_cpuid_entry2& host = have == supported.end() ? none : *have;
    // Bits that the VMM adds or the guest's registers decide: MWAIT, x2APIC, deadline timer, OSXSAVE,
    // hypervisor; OSPKE; AMD's flags of several cores and of threads.
    const uint32_t own = leaf.function == 1 ? 1u << 3 | 1u << 21 | 1u << 24 | 1u << 27 | 1u << 31 : 0;
    const uint32_t own_ecx = leaf.function == 7            ? 1u << 4
                             : leaf.function == 0x80000001 ? 1u << 1 | 1u << 22
                                                           : own;
    const uint32_t own_edx = leaf.function == 1 ? 1u << 28 : 0;  // several threads
    const uint32_t missing[] = {leaf.eax ? want->eax & ~host.eax : 0, leaf.ebx ? want->ebx & ~host.ebx : 0,
                                leaf.ecx ? want->ecx & ~host.ecx & ~own_ecx : 0,
                                leaf.edx ? want->edx & ~host.edx & ~own_edx : 0};
    for (size_t i = 0; i < std::size(missing); ++i) {
      if (missing[i] == 0) continue;
      char text[96];
      std::snprintf(text, sizeof text, "this host's processor lacks bits %#x of e%cx of CPUID leaf %#x.%u",
                    missing[i], "abcd"[i], leaf.function, leaf.index);
      return FailedPrecondition(std::string(text) + ", which the guest uses");
    }
  }
  return OkStatus();
}

}  // namespace berth::vmm
