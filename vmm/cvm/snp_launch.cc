#include "vmm/cvm/snp_launch.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "vmm/cvm/bytes.h"
#include "vmm/cvm/command_error.h"
#include "vmm/cvm/launch_pages.h"
#include "vmm/cvm/snp_cpuid.h"
#include "vmm/cvm/snp_vmsa.h"
#include "vmm/kvm/confidential_abi.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kPage = LaunchPages::kPage;
constexpr uint64_t kFourGiB = uint64_t{4} << 30;
constexpr uint64_t kMaxFirmware = 16 << 20;
constexpr uint64_t kMaxPieces = uint64_t{512} << 20;

// Error codes of the SEV firmware that an operator can do something about (linux/psp-sev.h, sev_ret_code;
// SEV-SNP Firmware ABI, "Status Codes").
std::string FirmwareError(uint32_t error) {
  struct Known {
    uint32_t code;
    const char* meaning;
  };
  constexpr Known kKnown[] = {{0x01, "the platform is not initialised"},
                              {0x02, "the guest is not in the right state"},
                              {0x07, "the policy is not allowed on this platform"},
                              {0x0a, "the signature of the identity block is not right"},
                              {0x0b, "the identity block does not match the launch digest"},
                              {0x0d, "the ASID is invalid"},
                              {0x0e, "the caches must be written back first"},
                              {0x10, "there is no such guest"},
                              {0x13, "the firmware failed on the hardware"},
                              {0x14, "the firmware found a hardware that is not safe"},
                              {0x16, "a parameter is invalid"},
                              {0x17, "the firmware has no room for more"},
                              {0x1a, "a page is not in the right state"}};
  if (error == 0) return "";
  std::string text = "SEV firmware error " + HexNumber(error);
  for (const Known& known : kKnown) {
    if (known.code == error) text += ": " + std::string(known.meaning);
  }
  return text;
}

}  // namespace

Result<std::unique_ptr<SnpLaunch>> SnpLaunch::FromFirmware(std::span<const uint8_t> image,
                                                           const Options& options) {
  if (image.empty() || image.size() % kPage != 0 || image.size() > kMaxFirmware) {
    return InvalidArgument(
        "the firmware has " + std::to_string(image.size()) + " bytes, must be whole pages, at most 16 MiB",
        "firmware");
  }
  TRY_ASSIGN(const SevMetadata metadata, ParseSevMetadata(image));
  std::unique_ptr<SnpLaunch> launch(new SnpLaunch(options));
  launch->application_eip_ = metadata.reset_eip;
  const uint64_t base = kFourGiB - image.size();  // it ends at 4 GiB, where the first instruction is
  launch->extra_.push_back({base, image.size()});
  launch->pieces_.push_back({abi::kSnpPageNormal, base, image.size(), image});
  for (const SevSection& section : metadata.sections) {
    uint8_t type = abi::kSnpPageZero;
    if (section.type == SevSection::Type::kSecrets) type = abi::kSnpPageSecrets;
    if (section.type == SevSection::Type::kCpuid) type = abi::kSnpPageCpuid;
    launch->pieces_.push_back({type, section.gpa, section.size, {}});
  }
  return launch;
}

Result<std::unique_ptr<SnpLaunch>> SnpLaunch::FromIgvm(std::span<const uint8_t> file,
                                                       const Options& options) {
  TRY_ASSIGN(const IgvmFile igvm, ParseIgvm(file, IgvmFile::Platform::kSevSnp));
  Options own = options;
  if (igvm.policy) own.policy = *igvm.policy;
  std::unique_ptr<SnpLaunch> launch(new SnpLaunch(own));
  uint64_t total = 0;
  for (const IgvmFile::Step& step : igvm.steps) {
    Piece piece;
    switch (step.what) {
      case IgvmFile::Step::What::kPage: {
        const IgvmFile::Page& page = igvm.pages[step.index];
        if (page.shared) continue;  // nothing to launch: it starts as shared memory
        piece = {page.unmeasured ? abi::kSnpPageUnmeasured : abi::kSnpPageNormal, page.gpa, page.size,
                 page.data};
        if (page.kind == IgvmFile::Page::Kind::kSecrets) piece.type = abi::kSnpPageSecrets;
        if (page.kind == IgvmFile::Page::Kind::kCpuid) piece.type = abi::kSnpPageCpuid;
        if (page.kind == IgvmFile::Page::Kind::kCpuidExtended) {
          return Unimplemented("the IGVM file wants a page of extended CPUID functions");
        }
        break;
      }
      case IgvmFile::Step::What::kInsertArea: {
        const IgvmFile::ParameterArea& area = igvm.areas[step.index];
        for (const IgvmFile::Parameter& parameter : igvm.parameters) {
          if (parameter.area == area.index) {
            return Unimplemented("the IGVM file asks the VMM for parameters in area " +
                                 std::to_string(area.index) + ", which this version does not fill");
          }
        }
        piece = {abi::kSnpPageUnmeasured, *area.inserted_at, area.size, area.data};
        break;
      }
      case IgvmFile::Step::What::kVpContext: {
        const IgvmFile::VpContext& vp = igvm.vp_contexts[step.index];
        if (vp.data.size() < kPage) return InvalidArgument("the IGVM file has a vCPU state that is cut off");
        if (vp.index >= own.vcpus) continue;  // a vCPU that this guest does not have
        TRY(CheckVmsa(vp.data.first(kPage))
                .WithContext("the IGVM file's state of vCPU " + std::to_string(vp.index)));
        if (launch->vmsas_.size() <= vp.index) launch->vmsas_.resize(size_t{vp.index} + 1);
        launch->vmsas_[vp.index].assign(vp.data.begin(), vp.data.end());
        continue;
      }
    }
    total += piece.size;
    if (total > kMaxPieces) return InvalidArgument("the IGVM file launches more than 512 MiB");
    launch->pieces_.push_back(piece);
  }
  if (launch->vmsas_.empty() || launch->vmsas_[0].empty()) {
    return InvalidArgument("the IGVM file has no state of vCPU 0");
  }
  for (uint32_t id = 0; id < own.vcpus; ++id) {
    if (id < launch->vmsas_.size() && !launch->vmsas_[id].empty()) continue;
    return InvalidArgument("the IGVM file has no state of vCPU " + std::to_string(id) + ", the guest has " +
                           std::to_string(own.vcpus));
  }
  launch->sev_features_ = SevFeaturesOf(launch->vmsas_[0]);
  for (uint32_t id = 1; id < own.vcpus; ++id) {
    if (SevFeaturesOf(launch->vmsas_[id]) == launch->sev_features_) continue;
    return InvalidArgument("the IGVM file gives vCPU " + std::to_string(id) + " the SEV features " +
                           HexNumber(SevFeaturesOf(launch->vmsas_[id])) + ", vCPU 0 has " +
                           HexNumber(launch->sev_features_) + ": KVM knows those of a guest only");
  }
  if (igvm.id_block) {
    // The firmware's own layout: digest, ids, version, SVN and policy; and, apart, the keys.
    std::vector<uint8_t>& block = launch->id_block_;
    auto append = [](std::vector<uint8_t>& to, std::span<const uint8_t> bytes) {
      to.insert(to.end(), bytes.begin(), bytes.end());
    };
    append(block, igvm.id_block->launch_digest);
    append(block, igvm.id_block->family_id);
    append(block, igvm.id_block->image_id);
    append(block, BytesOf(igvm.id_block->version));
    append(block, BytesOf(igvm.id_block->guest_svn));
    append(block, BytesOf(own.policy));
    // ID_AUTH_INFO: algorithms, then each signature in 512 and each key in 1028 bytes, at fixed places.
    launch->id_auth_.assign(4096, 0);
    const std::span<const uint8_t> keys = igvm.id_block->keys;
    constexpr size_t kSignature = 144, kKey = 152;
    constexpr size_t kPlaces[] = {0x40, 0x240, 0x680, 0x880};
    std::memcpy(launch->id_auth_.data(), keys.data(), 8);
    size_t at = 8;
    for (size_t i = 0; i < std::size(kPlaces); ++i) {
      const bool key = i % 2 == 1;
      uint8_t* place = launch->id_auth_.data() + kPlaces[i];
      if (key) {
        // The file has four reserved bytes between the curve and the point, the firmware none.
        constexpr size_t kCurve = 4, kGap = 4;
        std::memcpy(place, keys.data() + at, kCurve);
        std::memcpy(place + kCurve, keys.data() + at + kCurve + kGap, kKey - kCurve - kGap);
      } else {
        std::memcpy(place, keys.data() + at, kSignature);
      }
      at += key ? kKey : kSignature;
    }
    launch->author_key_ = igvm.id_block->author_key_enabled;
  }
  return launch;
}

int SnpLaunch::SevCommand(KvmVm& vm, uint32_t id, void* data, uint32_t& firmware_error) {
  abi::SevCommand command{id, 0, reinterpret_cast<uintptr_t>(data), 0, static_cast<uint32_t>(sev_.get())};
  const int error = vm.LaunchCommand(abi::kMemoryEncryptOp, &command);
  firmware_error = command.error;
  return error;
}

Status SnpLaunch::InitVm(KvmVm& vm, std::span<const kvm_cpuid_entry2> cpuid) {
  cpuid_.assign(cpuid.begin(), cpuid.end());
  sev_.reset(::open(options_.device.c_str(), O_RDWR | O_CLOEXEC));
  if (!sev_.valid()) {
    return ErrnoStatus("open " + options_.device, errno)
        .WithHint("load ccp and kvm_amd with sev_snp=1; the firmware must have SNP enabled");
  }
  abi::SevInit init{};
  init.vmsa_features = sev_features_ & ~kSevSnpActive;  // KVM adds that one itself
  uint32_t firmware = 0;
  const int error = SevCommand(vm, abi::kSevInit2, &init, firmware);
  if (error == 0) return OkStatus();
  return CommandError(
      "KVM_SEV_INIT2", error,
      {{EINVAL,
        "the VM has vCPUs or is initialised already, or the kernel does not know the guest's SEV "
        "features (" +
            HexNumber(sev_features_) + ")"},
       {EBUSY,
        "all ASIDs for SEV-ES and SEV-SNP guests are in use: raise their number in the "
        "firmware's setup, or run fewer guests"},
       {ENOTTY, "this VM is no SNP VM"},
       {EIO, "the SEV firmware failed"}},
      FirmwareError(firmware));
}

std::array<uint8_t, 4096> SnpLaunch::VmsaOf(uint32_t vcpu) const {
  if (vcpu < vmsas_.size()) {
    std::array<uint8_t, 4096> page{};
    std::copy_n(vmsas_[vcpu].begin(), page.size(), page.begin());
    return page;
  }
  SnpVcpuState state;
  if (vcpu > 0) state.reset_eip = application_eip_;
  state.sev_features = sev_features_;
  for (const kvm_cpuid_entry2& leaf : cpuid_) {
    if (leaf.function == 1) state.signature = leaf.eax;
  }
  return BuildVmsa(state);
}

Status SnpLaunch::InitVcpu(KvmVcpu& vcpu, uint32_t id) {
  TRY_ASSIGN(const VcpuState reset, vcpu.GetState());
  return vcpu.SetState(StateFromVmsa(VmsaOf(id), reset));
}

Status SnpLaunch::Update(KvmVm& vm, const Piece& piece) {
  LaunchPages pages(piece.size, piece.data);
  if (piece.type == abi::kSnpPageCpuid) TRY(FillSnpCpuidPage(cpuid_, pages.page(0)));
  const std::vector<uint8_t> asked(pages.data(),
                                   pages.data() + (piece.type == abi::kSnpPageCpuid ? kPage : 0));
  abi::SnpLaunchUpdate update{};
  update.gfn_start = piece.gpa / kPage;
  update.uaddr = piece.type == abi::kSnpPageZero ? 0 : pages.address();
  update.len = piece.size;
  update.type = piece.type;
  uint32_t firmware = 0;
  int error = 0, stalled = 0;
  // The kernel takes as much as it can, and moves the start on.
  while (update.len > 0) {
    const uint64_t before = update.len;
    error = SevCommand(vm, abi::kSnpLaunchUpdate, &update, firmware);
    if (error != 0 && error != EAGAIN && error != EINTR) break;
    stalled = update.len == before ? stalled + 1 : 0;
    if (stalled > kCommandTries) {
      error = EAGAIN;
      break;
    }
    error = 0;
  }
  if (error != 0) {
    std::string detail = FirmwareError(firmware);
    if (piece.type == abi::kSnpPageCpuid && firmware == abi::kSnpFirmwareInvalidParameter) {
      // The kernel has written back what the firmware would accept.
      detail += "; " + DescribeSnpCpuidDifference(asked, pages.page(0));
    }
    return CommandError("KVM_SEV_SNP_LAUNCH_UPDATE of page type " + std::to_string(piece.type) + " at " +
                            HexNumber(update.gfn_start * kPage),
                        error,
                        {{EINVAL,
                          "the launch has not started, or the memory is not private, has no guest_memfd or "
                          "is not whole pages"},
                         {EPERM, "a page belongs to the guest already"},
                         {ENOMEM, "no memory on the host"},
                         {EFAULT, "the source cannot be read"},
                         {EIO, "the SEV firmware refuses the page"}},
                        detail);
  }
  for (uint64_t i = 0; i < piece.size / kPage; ++i) {
    const uint64_t gpa = piece.gpa + i * kPage;
    switch (piece.type) {
      case abi::kSnpPageNormal:
        digest_.AddNormal(gpa, pages.page(i));
        break;
      case abi::kSnpPageZero:
        digest_.AddZero(gpa, kPage);
        break;
      case abi::kSnpPageUnmeasured:
        digest_.AddUnmeasured(gpa, kPage);
        break;
      case abi::kSnpPageSecrets:
        digest_.AddSecrets(gpa);
        break;
      default:
        digest_.AddCpuid(gpa);
        break;
    }
  }
  return OkStatus();
}

Status SnpLaunch::Load(KvmVm& vm, KvmVcpu&, const LaunchContent& content) {
  if (!content.kernel.empty()) {
    return FailedPrecondition("the firmware of an SEV-SNP guest takes no kernel from this VMM", "kernel");
  }
  abi::SnpLaunchStart start{};
  start.policy = options_.policy;
  uint32_t firmware = 0;
  if (int error = SevCommand(vm, abi::kSnpLaunchStart, &start, firmware); error != 0) {
    return CommandError("KVM_SEV_SNP_LAUNCH_START with policy " + HexNumber(options_.policy), error,
                        {{EINVAL,
                          "the launch has started already, or this host cannot keep the policy: it forbids "
                          "multi-threading (bit 16 not set) while SMT is on, or wants one socket"},
                         {ENOTTY, "this VM is no SNP VM"},
                         {EIO, "the SEV firmware refuses the guest"}},
                        FirmwareError(firmware));
  }
  for (const Piece& piece : pieces_) TRY(Update(vm, piece));
  return OkStatus();
}

Status SnpLaunch::Finish(KvmVm& vm) {
  abi::SnpLaunchFinish finish{};
  std::copy(options_.host_data.begin(), options_.host_data.end(), finish.host_data);
  if (!id_block_.empty()) {
    finish.id_block_en = 1;
    finish.auth_key_en = author_key_ ? 1 : 0;
    finish.id_block_uaddr = reinterpret_cast<uintptr_t>(id_block_.data());
    finish.id_auth_uaddr = reinterpret_cast<uintptr_t>(id_auth_.data());
  }
  uint32_t firmware = 0;
  if (int error = SevCommand(vm, abi::kSnpLaunchFinish, &finish, firmware); error != 0) {
    return CommandError("KVM_SEV_SNP_LAUNCH_FINISH", error,
                        {{EINVAL, "the launch has not started, or is finished"},
                         {EFAULT, "the identity block cannot be read"},
                         {EIO, "the SEV firmware refuses the guest"}},
                        FirmwareError(firmware));
  }
  for (uint32_t id = 0; id < options_.vcpus; ++id) digest_.AddVmsa(VmsaOf(id));
  measurement_ = LaunchMeasurement{"launch_digest", {digest_.value().begin(), digest_.value().end()}};
  return OkStatus();
}

}  // namespace berth::vmm
