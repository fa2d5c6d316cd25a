#include "vmm/cvm/snp_vmsa.h"

#include <string>

#include "vmm/cvm/command_error.h"

namespace berth::vmm {
namespace {

constexpr size_t kEfer = 0xd0, kCr4 = 0x148, kFeatures = 0x3b0;
constexpr uint64_t kSvme = 0x1000, kMce = 0x40;  // KVM sets them whatever it is told

// What StateFromVmsa takes over, and the features, which KVM is told when the VM begins.
struct Part {
  size_t offset, size;
};
constexpr Part kTaken[] = {{0, 0xa0},   {kEfer, 8},  {kCr4, 24},  {0x170, 16},    {0x1d8, 8}, {0x1f8, 8},
                           {0x308, 24}, {0x328, 24}, {0x340, 64}, {kFeatures, 8}, {0x408, 4}, {0x410, 2}};

uint64_t Field(std::span<const uint8_t> page, size_t offset, size_t size) {
  uint64_t value = 0;
  for (size_t i = size; i-- > 0;) value = value << 8 | page[offset + i];
  return value;
}

// A segment of a VMSA as KVM takes it.
kvm_segment SegmentOf(std::span<const uint8_t> vmsa, size_t index) {
  const size_t at = 16 * index;
  const uint64_t attributes = Field(vmsa, at + 2, 2);
  kvm_segment segment{};
  segment.selector = static_cast<uint16_t>(Field(vmsa, at, 2));
  segment.limit = static_cast<uint32_t>(Field(vmsa, at + 4, 4));
  segment.base = Field(vmsa, at + 8, 8);
  segment.type = attributes & 0xf;
  segment.s = attributes >> 4 & 1;
  segment.dpl = attributes >> 5 & 3;
  segment.present = attributes >> 7 & 1;
  segment.avl = attributes >> 8 & 1;
  segment.l = attributes >> 9 & 1;
  segment.db = attributes >> 10 & 1;
  segment.g = attributes >> 11 & 1;
  segment.unusable = segment.present == 0;
  return segment;
}

bool Taken(size_t offset) {
  for (const Part& part : kTaken) {
    if (offset >= part.offset && offset < part.offset + part.size) return true;
  }
  return false;
}

Status Differs(std::span<const uint8_t> vmsa, size_t offset, uint64_t wanted) {
  return FailedPrecondition("has " + HexNumber(Field(vmsa, offset, 8)) + " at offset " + HexNumber(offset) +
                            " of its VMSA, where KVM would put " + HexNumber(wanted) +
                            ": the guest would not be the one that was measured");
}

}  // namespace

std::array<uint8_t, 4096> BuildVmsa(const SnpVcpuState& state) {
  std::array<uint8_t, 4096> page{};
  auto put = [&page](size_t offset, uint64_t value, size_t size) {
    for (size_t i = 0; i < size; ++i) page[offset + i] = static_cast<uint8_t>(value >> (8 * i));
  };
  // Segments of 16 bytes: selector, attributes, limit, base.
  auto segment = [&put](size_t index, uint16_t selector, uint16_t attributes, uint64_t base) {
    put(16 * index, selector, 2);
    put(16 * index + 2, attributes, 2);
    put(16 * index + 4, 0xffff, 4);
    put(16 * index + 8, base, 8);
  };
  constexpr uint16_t kCode = 0x9b, kData = 0x93, kLdt = 0x82, kTask = 0x8b;
  segment(0, 0, kData, 0);                                   // ES
  segment(1, 0xf000, kCode, state.reset_eip & 0xffff0000u);  // CS
  for (size_t index : {2, 3, 4, 5}) segment(index, 0, kData, 0);
  segment(6, 0, 0, 0);                      // GDTR
  segment(7, 0, kLdt, 0);                   // LDTR
  segment(8, 0, 0, 0);                      // IDTR
  segment(9, 0, kTask, 0);                  // TR
  put(0xd0, 0x1000, 8);                     // EFER: SVME, which KVM sets
  put(0x148, 0x40, 8);                      // CR4: MCE, likewise
  put(0x158, 0x10, 8);                      // CR0: ET
  put(0x160, 0x400, 8);                     // DR7
  put(0x168, 0xffff0ff0, 8);                // DR6
  put(0x170, 2, 8);                         // RFLAGS
  put(0x178, state.reset_eip & 0xffff, 8);  // RIP
  put(0x268, 0x0007040600070406, 8);        // PAT
  put(0x310, state.signature, 8);           // RDX
  put(0x3b0, state.sev_features, 8);        // SEV_FEATURES
  put(0x3e8, 1, 8);                         // XCR0: x87
  put(0x408, 0x1f80, 4);                    // MXCSR
  put(0x410, 0x37f, 2);                     // x87 control word
  return page;
}

uint64_t SevFeaturesOf(std::span<const uint8_t> vmsa) {
  return Field(vmsa, kFeatures, 8);
}

VcpuState StateFromVmsa(std::span<const uint8_t> vmsa, VcpuState state) {
  kvm_sregs& s = state.sregs;
  kvm_segment* const segments[] = {&s.es, &s.cs, &s.ss, &s.ds, &s.fs, &s.gs};
  for (size_t i = 0; i < std::size(segments); ++i) *segments[i] = SegmentOf(vmsa, i);
  s.gdt.base = Field(vmsa, 16 * 6 + 8, 8);
  s.gdt.limit = static_cast<uint16_t>(Field(vmsa, 16 * 6 + 4, 4));
  s.ldt = SegmentOf(vmsa, 7);
  s.idt.base = Field(vmsa, 16 * 8 + 8, 8);
  s.idt.limit = static_cast<uint16_t>(Field(vmsa, 16 * 8 + 4, 4));
  s.tr = SegmentOf(vmsa, 9);
  s.efer = Field(vmsa, kEfer, 8) & ~kSvme;
  s.cr4 = Field(vmsa, kCr4, 8);
  s.cr3 = Field(vmsa, 0x150, 8);
  s.cr0 = Field(vmsa, 0x158, 8);
  kvm_regs& r = state.regs;
  r.rflags = Field(vmsa, 0x170, 8);
  r.rip = Field(vmsa, 0x178, 8);
  r.rsp = Field(vmsa, 0x1d8, 8);
  r.rax = Field(vmsa, 0x1f8, 8);
  r.rcx = Field(vmsa, 0x308, 8);
  r.rdx = Field(vmsa, 0x310, 8);
  r.rbx = Field(vmsa, 0x318, 8);
  r.rbp = Field(vmsa, 0x328, 8);
  r.rsi = Field(vmsa, 0x330, 8);
  r.rdi = Field(vmsa, 0x338, 8);
  __u64* const rest[] = {&r.r8, &r.r9, &r.r10, &r.r11, &r.r12, &r.r13, &r.r14, &r.r15};
  for (size_t i = 0; i < std::size(rest); ++i) *rest[i] = Field(vmsa, 0x340 + 8 * i, 8);
  state.fpu.fcw = static_cast<uint16_t>(Field(vmsa, 0x410, 2));
  state.fpu.mxcsr = static_cast<uint32_t>(Field(vmsa, 0x408, 4));
  return state;
}

Status CheckVmsa(std::span<const uint8_t> vmsa) {
  const auto usual = BuildVmsa({});
  for (size_t offset = 0; offset < usual.size(); ++offset) {
    if (Taken(offset) || vmsa[offset] == usual[offset]) continue;
    const size_t word = offset / 8 * 8;
    return Differs(vmsa, word, Field(usual, word, 8));
  }
  const uint64_t efer = Field(vmsa, kEfer, 8), cr4 = Field(vmsa, kCr4, 8), features = SevFeaturesOf(vmsa);
  if ((efer & kSvme) == 0) return Differs(vmsa, kEfer, efer | kSvme);
  if ((cr4 & kMce) == 0) return Differs(vmsa, kCr4, cr4 | kMce);
  if ((features & kSevSnpActive) == 0) return Differs(vmsa, kFeatures, features | kSevSnpActive);
  return OkStatus();
}

}  // namespace berth::vmm
