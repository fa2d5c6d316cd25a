#include "vmm/vcpu/registers.h"

#include <array>
#include <cstring>

#include "vmm/boot/pvh_loader.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kCr0Protection = 1, kCr0NumericError = 1 << 5, kCr0Paging = uint64_t{1} << 31;
constexpr uint64_t kCr4PhysicalAddressExtension = 1 << 5;
constexpr uint64_t kEferLongEnable = 1 << 8, kEferLongActive = 1 << 10;
constexpr size_t kLvtLint0 = 0x350, kLvtLint1 = 0x360;
constexpr uint32_t kDeliveryNmi = 4 << 8, kDeliveryExtInt = 7 << 8, kDeliveryMask = 7 << 8,
                   kLvtMasked = 1 << 16;

kvm_segment FlatSegment(uint16_t selector, uint8_t type, bool code) {
  kvm_segment segment{};
  segment.limit = 0xffffffff;
  segment.selector = selector;
  segment.type = type;
  segment.present = 1;
  segment.s = 1;
  segment.g = 1;
  segment.l = code;
  segment.db = !code;
  return segment;
}

void SetLvt(kvm_lapic_state& lapic, size_t offset, uint32_t delivery) {
  uint32_t value;
  std::memcpy(&value, lapic.regs + offset, sizeof value);
  value = (value & ~(kDeliveryMask | kLvtMasked)) | delivery;
  std::memcpy(lapic.regs + offset, &value, sizeof value);
}

}  // namespace

namespace {

// As the PVH protocol has it.
void EnterPvh(const BootEntry& entry, VcpuState& state) {
  constexpr uint8_t kCodeType = 0xb, kDataType = 0x3, kBusyTask = 0xb;
  state.regs.rbx = entry.start_info;
  state.sregs.cs = FlatSegment(kPvhCodeSelector, kCodeType, false);
  state.sregs.ds = state.sregs.es = state.sregs.fs = state.sregs.gs = state.sregs.ss =
      FlatSegment(kPvhDataSelector, kDataType, false);
  state.sregs.tr.selector = kPvhTaskSelector;
  state.sregs.tr.type = kBusyTask;
  state.sregs.cr3 = 0;
  state.sregs.cr4 = 0;
  state.sregs.cr0 = kCr0Protection;
  state.sregs.efer = 0;
}

}  // namespace

VcpuState BootState(const VcpuState& reset, const BootEntry& entry) {
  VcpuState state = reset;
  state.regs = {};
  state.regs.rflags = 2;
  state.regs.rip = entry.instruction_pointer;
  state.regs.rsi = entry.zero_page;

  constexpr uint8_t kCodeType = 0xb, kDataType = 0x3, kBusyTask = 0xb;
  kvm_segment data = FlatSegment(kBootDataSelector, kDataType, false);
  state.sregs.cs = FlatSegment(kBootCodeSelector, kCodeType, true);
  state.sregs.ds = state.sregs.es = state.sregs.fs = state.sregs.gs = state.sregs.ss = data;
  kvm_segment task{};
  task.limit = 0x67;
  task.selector = kBootTaskSelector;
  task.type = kBusyTask;
  task.present = 1;
  state.sregs.tr = task;
  state.sregs.gdt.base = entry.gdt;
  state.sregs.gdt.limit = entry.gdt_limit;
  state.sregs.idt.base = 0;
  state.sregs.idt.limit = 0;
  state.sregs.cr3 = entry.page_tables;
  state.sregs.cr4 |= kCr4PhysicalAddressExtension;
  state.sregs.cr0 = kCr0Protection | kCr0NumericError | kCr0Paging;
  state.sregs.efer |= kEferLongEnable | kEferLongActive;

  if (entry.mode == BootEntry::Mode::kPvh) EnterPvh(entry, state);

  state.fpu = {};
  state.fpu.fcw = 0x37f;
  state.fpu.mxcsr = 0x1f80;
  return state;
}

std::span<const kvm_msr_entry> BootMsrs() {
  static constexpr std::array<kvm_msr_entry, 10> kMsrs = {{
      {0x174, 0, 0},       // IA32_SYSENTER_CS
      {0x175, 0, 0},       // IA32_SYSENTER_ESP
      {0x176, 0, 0},       // IA32_SYSENTER_EIP
      {0xc0000081, 0, 0},  // STAR
      {0xc0000082, 0, 0},  // LSTAR
      {0xc0000083, 0, 0},  // CSTAR
      {0xc0000084, 0, 0},  // SYSCALL_MASK
      {0xc0000102, 0, 0},  // KERNEL_GS_BASE
      {0x1a0, 0, 1},       // IA32_MISC_ENABLE: fast strings
      {0x2ff, 0, 0x806},   // IA32_MTRR_DEF_TYPE: enabled, write-back
  }};
  return kMsrs;
}

kvm_lapic_state BootLapic(const kvm_lapic_state& reset) {
  kvm_lapic_state lapic = reset;
  SetLvt(lapic, kLvtLint0, kDeliveryExtInt);
  SetLvt(lapic, kLvtLint1, kDeliveryNmi);
  return lapic;
}

}  // namespace berth::vmm
