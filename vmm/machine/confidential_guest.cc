#include "vmm/machine/confidential_guest.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "common/file.h"
#include "common/log.h"
#include "common/swiotlb.h"
#include "vmm/config/validate.h"
#include "vmm/cvm/bytes.h"
#include "vmm/cvm/snp_launch.h"
#include "vmm/cvm/sw_protected_launch.h"
#include "vmm/cvm/tdx_launch.h"
#include "vmm/kvm/confidential_abi.h"
#include "vmm/memory/zone_backing.h"

namespace berth::vmm {
namespace {

constexpr size_t kMaxImage = size_t{256} << 20;
constexpr uint64_t kLowMemory = uint64_t{1} << 32;

std::span<const uint8_t> BytesIn(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()),
          text.size()};  // SAFETY: any object may be read as bytes
}

Result<std::string> ReadImage(const std::string& path, const char* option) {
  Result<std::string> image = ReadFile(path, kMaxImage);
  if (!image.has_value()) return std::move(image).error().WithField(option);
  return image;
}

template <size_t kSize>
std::array<uint8_t, kSize> HostData(const VmConfig& config) {
  if (!config.host_data) return {};
  return ParseHex<kSize>(*config.host_data).value_or(std::array<uint8_t, kSize>{});  // validated
}

}  // namespace

Result<std::unique_ptr<ConfidentialBoot>> ConfidentialBoot::Read(const VmConfig& config) {
  std::unique_ptr<ConfidentialBoot> boot;
  if (config.platform.confidential == ConfidentialKind::kNone) return boot;
  boot = std::make_unique<ConfidentialBoot>();
  boot->kind = config.platform.confidential;
  switch (boot->kind) {
    case ConfidentialKind::kNone:
      break;
    case ConfidentialKind::kSwProtected:
      boot->launch = std::make_unique<SwProtectedLaunch>();
      break;
    case ConfidentialKind::kTdx: {
      TRY_ASSIGN(boot->image, ReadImage(config.firmware.value_or(""), "firmware"));
      if (!config.kernel.empty()) {
        TRY_ASSIGN(boot->kernel, ReadImage(config.kernel, "kernel"));
      }
      TdxLaunch::Options options;
      options.mr_config_id = HostData<48>(config);
      TRY_ASSIGN(boot->launch, TdxLaunch::Create(BytesIn(boot->image), options));
      break;
    }
    case ConfidentialKind::kSevSnp: {
      TRY_ASSIGN(boot->image, config.igvm ? ReadImage(*config.igvm, "igvm")
                                          : ReadImage(config.firmware.value_or(""), "firmware"));
      SnpLaunch::Options options;
      options.policy = config.platform.snp_policy;
      options.host_data = HostData<32>(config);
      options.vcpus = config.cpus.boot;
      TRY_ASSIGN(boot->launch, config.igvm ? SnpLaunch::FromIgvm(BytesIn(boot->image), options)
                                           : SnpLaunch::FromFirmware(BytesIn(boot->image), options));
      break;
    }
    case ConfidentialKind::kVirtcca:
      return Unimplemented("virtCCA guests run on AArch64 hosts, this program is for x86-64");
  }
  return boot;
}

// Both sides of the memory, as conversions want them.
class ConfidentialGuest::Planes final : public MemoryPlanes {
 public:
  Planes(const std::vector<MemoryRegion>& regions, PrivateMemory& files) : regions_(regions), files_(files) {}

  Status PopulateShared(uint64_t base, uint64_t size) override {
    TRY_ASSIGN(MemoryRegion part, SharedPart(base, size));
    // Pages that the guest has shared count as the host's ordinary memory: it may run out of it.
    if (::madvise(part.host, part.size, MADV_POPULATE_WRITE) == 0) return OkStatus();
    if (errno == EINVAL) return OkStatus();  // before Linux 5.14: pages come at the first touch
    return ErrnoStatus("shared memory for zone " + part.zone, errno);
  }
  Status PopulatePrivate(uint64_t base, uint64_t size) override { return files_.Populate(Gpa{base}, size); }
  Status DiscardShared(uint64_t base, uint64_t size) override {
    TRY_ASSIGN(MemoryRegion part, SharedPart(base, size));
    return DiscardPages(part);
  }
  Status DiscardPrivate(uint64_t base, uint64_t size) override { return files_.Discard(Gpa{base}, size); }

 private:
  Result<MemoryRegion> SharedPart(uint64_t base, uint64_t size) const {
    for (const MemoryRegion& region : regions_) {
      if (base < Raw(region.base) || base - Raw(region.base) >= region.size) continue;
      const uint64_t offset = base - Raw(region.base);
      if (size > region.size - offset) break;
      return region.Part(offset, size);
    }
    return InvalidArgument("no memory there");
  }

  const std::vector<MemoryRegion>& regions_;
  PrivateMemory& files_;
};

class ConfidentialGuest::Attributes final : public PageAttributes {
 public:
  explicit Attributes(KvmVm& vm) : vm_(vm) {}
  Status SetPrivate(uint64_t base, uint64_t size, bool is_private) override {
    return vm_.SetPrivate(Gpa{base}, size, is_private);
  }

 private:
  KvmVm& vm_;
};

ConfidentialGuest::ConfidentialGuest(const GuestMemory& memory, ConfidentialBoot& boot)
    : memory_(memory), boot_(boot) {}

Result<std::unique_ptr<ConfidentialGuest>> ConfidentialGuest::Create(KvmVm& vm, const GuestMemory& memory,
                                                                     ConfidentialBoot& boot,
                                                                     const VmConfig& config,
                                                                     std::vector<uint32_t> apic_ids) {
  std::unique_ptr<ConfidentialGuest> self(new ConfidentialGuest(memory, boot));
  self->apic_ids_ = std::move(apic_ids);
  TRY(vm.EnableMapGpaExits());
  TRY(self->MapExtra());
  std::vector<MemoryRegion> regions = memory.regions();
  if (boot.launch->starts_private()) {
    // What the guest before has shared is nobody's.
    for (const MemoryRegion& region : regions) TRY(DiscardPages(region));
    for (const MemoryZoneConfig& zone : EffectiveZones(config)) {
      if (zone.prefault) self->prefault_.insert(zone.id);
    }
  }
  regions.insert(regions.end(), self->extra_.begin(), self->extra_.end());
  for (const MemoryRegion& area : memory.hotplug_areas()) {
    // A guest that starts has nothing of what an earlier one plugged: its private side has gone with it.
    for (const PlugMap::Run& run : area.plug->Runs()) {
      TRY(DiscardPages(area.Part(run.offset, run.length)));
      area.plug->Set(run.offset, run.length, false);
    }
    regions.push_back(area);
  }
  TRY_ASSIGN(self->files_, PrivateMemory::Create(std::move(regions),
                                                 [&vm](uint64_t size) { return vm.CreateGuestMemfd(size); }));
  std::vector<StateRegion> states;
  Converter::Options options;
  for (const MemoryRegion& region : self->files_->regions()) {
    const PageState at_boot = boot.launch->starts_private() ? PageState::kPrivate : PageState::kShared;
    states.push_back({Raw(region.base), region.size, region.host_numa_node,
                      region.plug == nullptr ? at_boot : PageState::kUnplugged});
    options.shared_page_sizes.push_back(region.page_size);
  }
  TRY_ASSIGN(PageStateMap map, PageStateMap::Create(std::move(states)));
  self->pages_ = std::make_unique<GuestPages>(std::move(map));
  self->planes_ = std::make_unique<Planes>(self->files_->regions(), *self->files_);
  self->attributes_ = std::make_unique<Attributes>(vm);
  self->converter_ = std::make_unique<Converter>(*self->pages_, *self->attributes_, *self->planes_,
                                                 std::vector<SharedMemoryListener*>(), std::move(options));
  SwiotlbQuestion question;
  for (const MemoryRegion& region : memory.regions()) question.guest_ram_bytes += region.size;
  question.max_vcpus = MaxVcpus(config.cpus);
  question.x86_confidential = boot.kind != ConfidentialKind::kSwProtected;
  self->bounce_bytes_ = SwiotlbBytes(question);
  GuestRequests::Policy policy;
  // A fault of a software-protected guest follows from the attribute itself: converting would always be
  // wrong.
  policy.implicit = boot.kind != ConfidentialKind::kSwProtected;
  self->requests_ = std::make_unique<GuestRequests>(*self->converter_, MaxVcpus(config.cpus), policy);
  if (boot.kind == ConfidentialKind::kTdx) {
    self->td_calls_ =
        std::make_unique<TdCalls>(memory, *self->pages_, config.platform.quote_socket,
                                  [&vm](const MsiMessage& message) { return vm.SignalMsi(message); });
  }
  return self;
}

ConfidentialGuest::~ConfidentialGuest() {
  td_calls_.reset();  // its worker writes into guest memory
  memory_.ShowOnly(nullptr);
  for (const MemoryRegion& region : extra_) ::munmap(region.host, region.size);
}

Status ConfidentialGuest::MapExtra() {
  for (const LaunchRange& range : boot_.launch->extra_memory()) {
    void* host = ::mmap(nullptr, range.size, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (host == MAP_FAILED) return ErrnoStatus("memory for the firmware", errno);
    MemoryRegion region;
    region.base = Gpa{range.base};
    region.size = range.size;
    region.host = static_cast<uint8_t*>(host);
    region.zone = "firmware";
    region.shared = true;
    extra_.push_back(std::move(region));
  }
  return OkStatus();
}

Status ConfidentialGuest::Start(MemorySlots& slots) {
  for (const MemoryRegion& region : extra_) {
    const PrivateMemory::Place place = files_->Find(region.base);
    Result<uint32_t> slot =
        slots.Add(region.base, region.size, region.host, /*readonly=*/false, place.file, place.offset);
    if (!slot.has_value()) return std::move(slot).error().WithContext("memory for the firmware");
  }
  TRY(converter_->Start());
  for (const MemoryRegion& region : memory_.regions()) {
    if (prefault_.contains(region.zone)) TRY(files_->Populate(region.base, region.size));
  }
  // From here on device models, too, reach shared pages only.
  memory_.ShowOnly(pages_.get());
  return OkStatus();
}

Status ConfidentialGuest::Plug(Gpa base, uint64_t size) {
  TRY(converter_->Plug(Raw(base), size));
  if (boot_.launch->starts_private()) return OkStatus();
  Result<uint64_t> shared = converter_->Convert(Raw(base), size, Direction::kToShared);
  if (shared.has_value()) return OkStatus();
  if (Status undone = converter_->Unplug(Raw(base), size); !undone.ok()) {
    LOG(kError, "memory_not_taken_back", {{"error", undone}});
  }
  return std::move(shared).error();
}

std::vector<HostRange> ConfidentialGuest::SharedSide() const {
  std::vector<HostRange> ranges;
  for (const MemoryRegion& region : files_->regions()) {
    ranges.push_back({Raw(region.base), region.size, region.host});
  }
  std::sort(ranges.begin(), ranges.end(),
            [](const HostRange& a, const HostRange& b) { return a.base < b.base; });
  return ranges;
}

Result<uint64_t> ConfidentialGuest::MapGpaRange(uint32_t vcpu, uint64_t gpa, uint64_t pages,
                                                uint64_t attributes, const VcpuRest& rest) {
  return requests_->MapGpaRange(vcpu, gpa, pages, attributes, rest);
}

Status ConfidentialGuest::MemoryFault(uint32_t vcpu, const MemoryFaultExit& fault) {
  return requests_->MemoryFault(vcpu, fault.gpa, fault.size, fault.is_private);
}

void ConfidentialGuest::TdVmCall(uint32_t vcpu, const TdxExit& call) {
  if (td_calls_ == nullptr) {
    *call.result = abi::kTdVmCallUnsupported;
    return;
  }
  td_calls_->Serve(apic_ids_.at(vcpu), call);
}

ConfidentialFacts ConfidentialGuest::Facts() const {
  ConfidentialFacts facts;
  facts.platform = ConfidentialName(boot_.kind);
  pages_->Read([&facts](const PageStateMap& map) {
    facts.private_bytes = map.Bytes(PageState::kPrivate);
    facts.shared_bytes = map.Bytes(PageState::kShared);
    for (const StateRegion& region : map.regions()) {
      if (!region.host_node) continue;
      facts.private_by_node[*region.host_node] = map.NodeBytes(*region.host_node, PageState::kPrivate);
    }
  });
  facts.bounce_bytes = bounce_bytes_;
  for (const MemoryRegion& region : memory_.regions()) {  // by address
    if (Raw(region.base) < kLowMemory) facts.bounce_node = region.host_numa_node;
  }
  if (auto measurement = boot_.launch->measurement()) {
    facts.measurement = measurement->name;
    facts.digest = HexText(measurement->digest);
  }
  return facts;
}

}  // namespace berth::vmm
