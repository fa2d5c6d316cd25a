#include "vmm/cvm/tdx_launch.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "vmm/cvm/command_error.h"
#include "vmm/cvm/launch_pages.h"
#include "vmm/cvm/td_hob.h"
#include "vmm/kvm/confidential_abi.h"

namespace berth::vmm {
namespace {

using Type = TdvfSection::Type;
constexpr uint64_t kPage = LaunchPages::kPage;
// Attributes of a TD (TDX Module ABI, TD_PARAMS): no #VE for private pages that are not there, which the
// guest could not trust; the host may debug it.
constexpr uint64_t kSeptVeDisable = uint64_t{1} << 28;
constexpr uint64_t kDebug = 1;
constexpr uint64_t kXfamX87Sse = 3;  // always on

std::string ModuleStatus(uint64_t status) {
  return status == 0 ? "" : "TDX module status " + HexNumber(status);
}

// A structure of the kernel's that ends in a list of CPUID leaves, with room for `count` of them.
template <class T>
class WithLeaves {
 public:
  explicit WithLeaves(uint32_t count) : words_((sizeof(T) + count * sizeof(kvm_cpuid_entry2) + 7) / 8) {
    header().cpuid.nent = count;
  }
  T& header() { return *reinterpret_cast<T*>(words_.data()); }  // SAFETY: zeroed, aligned and large enough
  std::span<kvm_cpuid_entry2> leaves() {
    auto* first = reinterpret_cast<uint8_t*>(words_.data()) + sizeof(T);
    return {reinterpret_cast<kvm_cpuid_entry2*>(first), header().cpuid.nent};  // SAFETY: as above
  }

 private:
  std::vector<uint64_t> words_;
};

int Command(KvmVm& vm, abi::TdxCommand& command) {
  return vm.LaunchCommand(abi::kMemoryEncryptOp, &command);
}

// For what the kernel asks to be given again: another command is at it.
template <class Give>
int Persist(Give give) {
  int error = EAGAIN;
  for (int i = 0; i < kCommandTries && (error == EAGAIN || error == EINTR); ++i) error = give();
  return error;
}

Result<WithLeaves<abi::TdxCapabilities>> ReadCapabilities(KvmVm& vm) {
  for (uint32_t room = 64; room <= 4096; room *= 2) {
    WithLeaves<abi::TdxCapabilities> capabilities(room);
    abi::TdxCommand command{abi::kTdxCapabilities, 0, reinterpret_cast<uintptr_t>(&capabilities.header()), 0};
    const int error = Command(vm, command);
    if (error == 0) return capabilities;
    if (error != E2BIG) {
      return CommandError("KVM_TDX_CAPABILITIES", error,
                          {{ENOTTY,
                            "this VM is no TDX VM, or the kernel has another TDX interface (Linux 6.16 "
                            "and later are supported)"}},
                          ModuleStatus(command.hw_error));
    }
  }
  return Internal("KVM_TDX_CAPABILITIES gives more than 4096 CPUID leaves");
}

const kvm_cpuid_entry2* Find(std::span<const kvm_cpuid_entry2> leaves, uint32_t function, uint32_t index) {
  auto found = std::find_if(leaves.begin(), leaves.end(), [=](const kvm_cpuid_entry2& leaf) {
    const bool indexed = (leaf.flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) != 0;
    return leaf.function == function && (!indexed || leaf.index == index);
  });
  return found == leaves.end() ? nullptr : &*found;
}

// Extended states that the guest may use: those of its CPUID that the module lets through.
uint64_t Xfam(std::span<const kvm_cpuid_entry2> cpuid, uint64_t supported) {
  uint64_t wanted = kXfamX87Sse;
  if (const auto* user = Find(cpuid, 0xd, 0)) wanted |= user->eax | uint64_t{user->edx} << 32;
  if (const auto* supervisor = Find(cpuid, 0xd, 1))
    wanted |= supervisor->ecx | uint64_t{supervisor->edx} << 32;
  return (wanted & supported) | kXfamX87Sse;
}

}  // namespace

Result<std::unique_ptr<TdxLaunch>> TdxLaunch::Create(std::span<const uint8_t> firmware,
                                                     const Options& options) {
  TRY_ASSIGN(auto sections, ParseTdvf(firmware));
  return std::unique_ptr<TdxLaunch>(new TdxLaunch(firmware, options, std::move(sections)));
}

std::vector<LaunchRange> TdxLaunch::extra_memory() const {
  std::vector<LaunchRange> ranges;
  for (const TdvfSection& section : sections_) {
    const bool is_image = section.type == Type::kBootFirmware || section.type == Type::kConfigFirmware;
    if (is_image) ranges.push_back({section.gpa, section.memory_size});
  }
  return ranges;
}

const TdvfSection& TdxLaunch::Hob() const {
  return *std::find_if(sections_.begin(), sections_.end(),
                       [](const TdvfSection& section) { return section.type == Type::kTdHob; });
}

Status TdxLaunch::InitVm(KvmVm& vm, std::span<const kvm_cpuid_entry2> cpuid) {
  TRY_ASSIGN(auto capabilities, ReadCapabilities(vm));
  const uint64_t attributes = kSeptVeDisable | (options_.debug ? kDebug : 0);
  if (const uint64_t missing = attributes & ~capabilities.header().supported_attrs; missing != 0) {
    return FailedPrecondition("the TDX module or KVM does not support the TD attributes " +
                              HexNumber(missing) + " (supported are " +
                              HexNumber(capabilities.header().supported_attrs) + ")");
  }
  // The module lets a VMM choose some bits of some leaves, and decides on all others itself.
  std::vector<kvm_cpuid_entry2> chosen;
  for (const kvm_cpuid_entry2& configurable : capabilities.leaves()) {
    const auto* leaf = Find(cpuid, configurable.function, configurable.index);
    if (leaf == nullptr) continue;
    kvm_cpuid_entry2 entry = configurable;
    entry.eax &= leaf->eax;
    entry.ebx &= leaf->ebx;
    entry.ecx &= leaf->ecx;
    entry.edx &= leaf->edx;
    chosen.push_back(entry);
  }
  WithLeaves<abi::TdxInitVm> init(static_cast<uint32_t>(chosen.size()));
  init.header().attributes = attributes;
  init.header().xfam = Xfam(cpuid, capabilities.header().supported_xfam);
  std::memcpy(init.header().mrconfigid, options_.mr_config_id.data(), options_.mr_config_id.size());
  std::copy(chosen.begin(), chosen.end(), init.leaves().begin());
  abi::TdxCommand command{};
  const int error = Persist([&] {
    command = {abi::kTdxInitVm, 0, reinterpret_cast<uintptr_t>(&init.header()), 0};
    return Command(vm, command);
  });
  if (error == 0) return OkStatus();
  return CommandError(
      "KVM_TDX_INIT_VM", error,
      {{EINVAL,
        "the VM is initialised already, or the module refuses an attribute, extended "
        "state or CPUID bit"},
       {E2BIG, "too many CPUID leaves"},
       {EBUSY, "another TD is being made"},
       {ENOSPC, "all key ids for TDs are in use: fewer TDs, or more keys in the firmware's setup"},
       {EIO, "the TDX module failed"}},
      ModuleStatus(command.hw_error));
}

Status TdxLaunch::InitVcpu(KvmVcpu& vcpu, uint32_t id) {
  // The first register that the firmware looks at: where the list of its memory is.
  abi::TdxCommand command{abi::kTdxInitVcpu, 0, Hob().gpa, 0};
  const int error = vcpu.LaunchCommand(abi::kMemoryEncryptOp, &command);
  if (error == 0) return OkStatus();
  return CommandError(
      "KVM_TDX_INIT_VCPU of vCPU " + std::to_string(id), error,
      {{EINVAL, "the VM is not initialised, is final already, or the vCPU's CPUID lacks x2APIC"},
       {EIO, "the TDX module failed"}},
      ModuleStatus(command.hw_error));
}

Status TdxLaunch::AddSection(KvmVcpu& boot, const TdvfSection& section, std::span<const uint8_t> data) {
  LaunchPages pages(section.memory_size, data);
  abi::TdxInitMemRegion region{pages.address(), section.gpa, section.memory_size / kPage};
  // What is left when a signal comes stays in `region`.
  abi::TdxCommand command{};
  int stalled = 0, error = EAGAIN;
  while (error == EAGAIN || error == EINTR) {
    const uint64_t before = region.nr_pages;
    command = {abi::kTdxInitMemRegion, section.measured ? abi::kTdxMeasureMemoryRegion : 0,
               reinterpret_cast<uintptr_t>(&region), 0};
    error = boot.LaunchCommand(abi::kMemoryEncryptOp, &command);
    stalled = region.nr_pages == before ? stalled + 1 : 0;
    if (stalled > kCommandTries) break;
  }
  if (error != 0) {
    return CommandError(std::string("KVM_TDX_INIT_MEM_REGION of ") + TdvfSectionName(section.type) + " at " +
                            HexNumber(region.gpa),
                        error,
                        {{EINVAL,
                          "the vCPU is not initialised, the VM is final, or the memory is not whole "
                          "private pages"},
                         {EFAULT, "the page has no guest_memfd, or is shared"},
                         {EEXIST, "the page was added already"},
                         {ENOMEM, "no memory on the host"},
                         {EIO, "the TDX module refuses the page"}},
                        ModuleStatus(command.hw_error));
  }
  for (uint64_t i = 0; i < section.memory_size / kPage; ++i) {
    mrtd_.AddPage(section.gpa + i * kPage);
    if (section.measured) mrtd_.ExtendPage(section.gpa + i * kPage, pages.page(i));
  }
  return OkStatus();
}

Status TdxLaunch::Load(KvmVm&, KvmVcpu& boot, const LaunchContent& content) {
  auto find = [this](Type type) {
    auto found = std::find_if(sections_.begin(), sections_.end(),
                              [type](const TdvfSection& section) { return section.type == type; });
    return found == sections_.end() ? nullptr : &*found;
  };
  const TdvfSection* payload = find(Type::kPayload);
  const TdvfSection* parameters = find(Type::kPayloadParam);
  if (!content.kernel.empty()) {
    if (payload == nullptr || payload->data_size != 0) {
      return FailedPrecondition(
          "the firmware takes no kernel: its TDVF metadata has no empty PAYLOAD section", "kernel",
          "use a td-shim image made for a payload, or boot from a disk");
    }
    if (content.kernel.size() > payload->memory_size) {
      return OutOfRange("the kernel has " + std::to_string(content.kernel.size()) +
                            " bytes, the firmware's PAYLOAD section has room for " +
                            std::to_string(payload->memory_size),
                        "kernel");
    }
    if (parameters == nullptr ? !content.cmdline.empty()
                              : content.cmdline.size() + 1 > parameters->memory_size) {
      return OutOfRange("the firmware has no room for the command line", "cmdline");
    }
  }
  std::vector<HobRange> ram, launched;
  for (const LaunchRange& range : content.ram) ram.push_back({range.base, range.size, false});
  for (const TdvfSection& section : sections_) {
    if (!section.added_later) launched.push_back({section.gpa, section.memory_size, true});
  }
  const TdvfSection& hob = Hob();
  TRY_ASSIGN(const std::vector<uint8_t> list,
             BuildTdHob(hob.gpa, hob.memory_size,
                        {CutRanges(ram, launched), content.acpi_tables, !content.kernel.empty()}));
  for (const TdvfSection& section : sections_) {
    if (section.added_later) continue;
    std::span<const uint8_t> data = firmware_.subspan(section.data_offset, section.data_size);
    if (section.type == Type::kTdHob) data = list;
    if (&section == payload && !content.kernel.empty()) data = content.kernel;
    if (&section == parameters && !content.kernel.empty()) {
      data = {reinterpret_cast<const uint8_t*>(content.cmdline.data()), content.cmdline.size()};
    }
    TRY(AddSection(boot, section, data));
  }
  return OkStatus();
}

Status TdxLaunch::Finish(KvmVm& vm) {
  abi::TdxCommand command{};
  const int error = Persist([&] {
    command = {abi::kTdxFinalizeVm, 0, 0, 0};
    return Command(vm, command);
  });
  if (error != 0) {
    return CommandError(
        "KVM_TDX_FINALIZE_VM", error,
        {{EINVAL, "the VM is not initialised, is final already, or has pages that were not added"},
         {EIO, "the TDX module failed"}},
        ModuleStatus(command.hw_error));
  }
  const Sha384Digest digest = mrtd_.Finish();
  measurement_ = LaunchMeasurement{"mrtd", {digest.begin(), digest.end()}};
  return OkStatus();
}

}  // namespace berth::vmm
