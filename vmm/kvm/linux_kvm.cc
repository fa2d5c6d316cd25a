#include "vmm/kvm/linux_kvm.h"

#include <fcntl.h>
#include <linux/kvm_para.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <mutex>
#include <utility>

#include "common/unique_fd.h"
#include "vmm/kvm/confidential_abi.h"
#include "vmm/kvm/kvm_tables.h"
#include "vmm/kvm/linux_vcpu.h"

namespace berth::vmm {
namespace {

constexpr int kApiVersion = 12;

// Retries what a signal interrupted; none of the calls made through it has done anything by then.
template <class T>
int Ioctl(int fd, unsigned long request, T argument) {
  int result;
  do {
    result = ::ioctl(fd, request, argument);
  } while (result < 0 && errno == EINTR);
  return result;
}

struct Requirement {
  int capability;
  const char* what;
};

// What the VMM cannot do without, with the kernel release that brought it.
constexpr Requirement kRequired[] = {
    {KVM_CAP_USER_MEMORY, "user memory (KVM_CAP_USER_MEMORY)"},
    {KVM_CAP_EXT_CPUID, "CPUID control (KVM_CAP_EXT_CPUID)"},
    {KVM_CAP_SPLIT_IRQCHIP, "split interrupt controller (KVM_CAP_SPLIT_IRQCHIP, Linux 4.4)"},
    {KVM_CAP_IRQ_ROUTING, "interrupt routing (KVM_CAP_IRQ_ROUTING)"},
    {KVM_CAP_SIGNAL_MSI, "message-signalled interrupts (KVM_CAP_SIGNAL_MSI)"},
    {KVM_CAP_IRQFD, "interrupts from eventfds (KVM_CAP_IRQFD)"},
    {KVM_CAP_IOEVENTFD, "eventfds from guest writes (KVM_CAP_IOEVENTFD)"},
    {KVM_CAP_IOEVENTFD_ANY_LENGTH, "eventfds of any write width (KVM_CAP_IOEVENTFD_ANY_LENGTH, Linux 4.4)"},
    {KVM_CAP_IMMEDIATE_EXIT, "immediate exit (KVM_CAP_IMMEDIATE_EXIT, Linux 4.13)"},
};

class LinuxVm final : public KvmVm {
 public:
  LinuxVm(UniqueFd fd, const LinuxVcpuSizes& sizes, std::shared_ptr<const std::vector<uint32_t>> msrs)
      : fd_(std::move(fd)), sizes_(sizes), msrs_(std::move(msrs)) {}

  Status SetMemorySlot(const MemorySlot& slot) override {
    if (slot.guest_memfd >= 0) return SetPrivateSlot(slot);
    kvm_userspace_memory_region region{};
    region.slot = slot.slot;
    region.flags = slot.readonly ? KVM_MEM_READONLY : 0;
    region.guest_phys_addr = Raw(slot.gpa);
    region.memory_size = slot.size;
    region.userspace_addr = reinterpret_cast<uintptr_t>(slot.host);
    return Call(KVM_SET_USER_MEMORY_REGION, &region, "KVM_SET_USER_MEMORY_REGION");
  }

  Status ReservePages(Gpa tss, Gpa identity_map) override {
    TRY(Call(KVM_SET_TSS_ADDR, static_cast<unsigned long>(Raw(tss)), "KVM_SET_TSS_ADDR"));
    uint64_t address = Raw(identity_map);
    return Call(KVM_SET_IDENTITY_MAP_ADDR, &address, "KVM_SET_IDENTITY_MAP_ADDR");
  }

  Status EnableSplitIrqchip(uint32_t pins) override {
    return Enable(KVM_CAP_SPLIT_IRQCHIP, pins, "KVM_CAP_SPLIT_IRQCHIP");
  }

  Status EnableX2apicIds() override {
    return Enable(KVM_CAP_X2APIC_API, KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK,
                  "KVM_CAP_X2APIC_API");
  }

  Status SetRoutes(std::span<const GsiRoute> routes) override {
    std::vector<kvm_irq_routing_entry> entries(routes.size());
    for (size_t i = 0; i < routes.size(); i++) {
      entries[i].gsi = routes[i].gsi;
      entries[i].type = KVM_IRQ_ROUTING_MSI;
      entries[i].u.msi.address_lo = static_cast<uint32_t>(routes[i].message.address);
      entries[i].u.msi.address_hi = static_cast<uint32_t>(routes[i].message.address >> 32);
      entries[i].u.msi.data = routes[i].message.data;
    }
    KvmTable<kvm_irq_routing_entry> table(entries);
    return Call(kSetGsiRouting, table.data(), "KVM_SET_GSI_ROUTING");
  }

  Status SignalMsi(const MsiMessage& message) override {
    kvm_msi msi{};
    msi.address_lo = static_cast<uint32_t>(message.address);
    msi.address_hi = static_cast<uint32_t>(message.address >> 32);
    msi.data = message.data;
    return Call(KVM_SIGNAL_MSI, &msi, "KVM_SIGNAL_MSI");
  }

  Status AssignIrqfd(int event_fd, uint32_t gsi) override { return Irqfd(event_fd, gsi, 0); }
  Status DeassignIrqfd(int event_fd, uint32_t gsi) override {
    return Irqfd(event_fd, gsi, KVM_IRQFD_FLAG_DEASSIGN);
  }
  Status AssignIoEvent(uint64_t address, uint32_t size, int event_fd) override {
    return IoEvent(address, size, event_fd, 0);
  }
  Status DeassignIoEvent(uint64_t address, uint32_t size, int event_fd) override {
    return IoEvent(address, size, event_fd, KVM_IOEVENTFD_FLAG_DEASSIGN);
  }

  Result<uint64_t> GetClock() override {
    kvm_clock_data clock{};
    TRY(Call(KVM_GET_CLOCK, &clock, "KVM_GET_CLOCK"));
    return clock.clock;
  }
  Status SetClock(uint64_t nanoseconds) override {
    kvm_clock_data clock{};
    clock.clock = nanoseconds;
    return Call(KVM_SET_CLOCK, &clock, "KVM_SET_CLOCK");
  }

  Status AddVfioFile(int file) override {
    std::lock_guard lock(vfio_mutex_);
    if (!vfio_.valid()) {
      kvm_create_device create{};
      create.type = KVM_DEV_TYPE_VFIO;
      TRY(Call(KVM_CREATE_DEVICE, &create, "KVM_CREATE_DEVICE vfio"));
      vfio_.reset(static_cast<int>(create.fd));
    }
    return SetVfioFile(file, KVM_DEV_VFIO_GROUP_ADD, "KVM_DEV_VFIO_GROUP_ADD");
  }
  Status RemoveVfioFile(int file) override {
    std::lock_guard lock(vfio_mutex_);
    return SetVfioFile(file, KVM_DEV_VFIO_GROUP_DEL, "KVM_DEV_VFIO_GROUP_DEL");
  }

  Result<std::unique_ptr<KvmVcpu>> CreateVcpu(uint32_t id) override {
    UniqueFd fd(Ioctl(fd_.get(), KVM_CREATE_VCPU, static_cast<unsigned long>(id)));
    if (!fd.valid()) return ErrnoStatus("KVM_CREATE_VCPU " + std::to_string(id), errno);
    LinuxVcpuSizes sizes = sizes_;
    // How large it is is the VM's to tell: features of the processor may be kept from a guest.
    const int xsave = Ioctl(fd_.get(), KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);
    if (xsave > static_cast<int>(sizes.xsave)) sizes.xsave = static_cast<size_t>(xsave);
    return OpenLinuxVcpu(std::move(fd), sizes, msrs_);
  }

  Result<UniqueFd> CreateGuestMemfd(uint64_t size) override {
    abi::CreateGuestMemfd create{};
    create.size = size;
    UniqueFd fd(Ioctl(fd_.get(), abi::kCreateGuestMemfd, &create));
    if (!fd.valid()) return ErrnoStatus("KVM_CREATE_GUEST_MEMFD", errno);
    return fd;
  }

  Status SetPrivate(Gpa gpa, uint64_t size, bool is_private) override {
    abi::MemoryAttributes attributes{};
    attributes.address = Raw(gpa);
    attributes.size = size;
    attributes.attributes = is_private ? abi::kAttributePrivate : 0;
    return Call(abi::kSetMemoryAttributes, &attributes, "KVM_SET_MEMORY_ATTRIBUTES");
  }

  Status EnableMapGpaExits() override {
    return Enable(KVM_CAP_EXIT_HYPERCALL, 1 << KVM_HC_MAP_GPA_RANGE, "KVM_CAP_EXIT_HYPERCALL");
  }

  // Not by Ioctl: a command that a signal interrupted may have done a part, and the caller goes on from
  // there.
  int LaunchCommand(unsigned long request, void* argument) override {
    return ::ioctl(fd_.get(), request, argument) < 0 ? errno : 0;
  }

 private:
  Status SetPrivateSlot(const MemorySlot& slot) {
    abi::UserspaceMemoryRegion2 region{};
    region.slot = slot.slot;
    region.flags = abi::kMemGuestMemfd | (slot.readonly ? KVM_MEM_READONLY : 0);
    region.guest_phys_addr = Raw(slot.gpa);
    region.memory_size = slot.size;
    region.userspace_addr = reinterpret_cast<uintptr_t>(slot.host);
    region.guest_memfd_offset = slot.guest_memfd_offset;
    region.guest_memfd = static_cast<uint32_t>(slot.guest_memfd);
    return Call(abi::kSetUserMemoryRegion2, &region, "KVM_SET_USER_MEMORY_REGION2");
  }

  template <class T>
  Status Call(unsigned long request, T argument, const char* name) {
    if (Ioctl(fd_.get(), request, argument) < 0) return ErrnoStatus(name, errno);
    return OkStatus();
  }

  Status Enable(uint32_t capability, uint64_t argument, const char* name) {
    kvm_enable_cap cap{};
    cap.cap = capability;
    cap.args[0] = argument;
    return Call(KVM_ENABLE_CAP, &cap, name);
  }

  Status SetVfioFile(int file, uint64_t what, const char* name) {
    kvm_device_attr attribute{};
    attribute.group = KVM_DEV_VFIO_GROUP;  // also called KVM_DEV_VFIO_FILE
    attribute.attr = what;
    attribute.addr = reinterpret_cast<uintptr_t>(&file);
    if (Ioctl(vfio_.get(), KVM_SET_DEVICE_ATTR, &attribute) < 0) return ErrnoStatus(name, errno);
    return OkStatus();
  }

  Status Irqfd(int event_fd, uint32_t gsi, uint32_t flags) {
    kvm_irqfd irqfd{};
    irqfd.fd = static_cast<uint32_t>(event_fd);
    irqfd.gsi = gsi;
    irqfd.flags = flags;
    return Call(KVM_IRQFD, &irqfd, "KVM_IRQFD");
  }

  Status IoEvent(uint64_t address, uint32_t size, int event_fd, uint32_t flags) {
    kvm_ioeventfd event{};
    event.addr = address;
    event.len = size;
    event.fd = event_fd;
    event.flags = flags;
    return Call(KVM_IOEVENTFD, &event, "KVM_IOEVENTFD");
  }

  UniqueFd fd_;
  const LinuxVcpuSizes sizes_;
  const std::shared_ptr<const std::vector<uint32_t>> msrs_;
  std::mutex vfio_mutex_;  // guards vfio_
  UniqueFd vfio_;          // KVM's device for VFIO files, made with the first
};

class LinuxKvm final : public Kvm {
 public:
  explicit LinuxKvm(UniqueFd fd) : fd_(std::move(fd)) {}

  Result<KvmCapabilities> Probe() override {
    int version = Ioctl(fd_.get(), KVM_GET_API_VERSION, 0);
    if (version != kApiVersion) {
      return FailedPrecondition("KVM API version is " + std::to_string(version) + ", need " +
                                std::to_string(kApiVersion));
    }
    std::string missing;
    for (const Requirement& requirement : kRequired) {
      if (Check(requirement.capability) > 0) continue;
      missing += (missing.empty() ? "" : "; ") + std::string(requirement.what);
    }
    if (!missing.empty()) return FailedPrecondition("KVM of this host lacks: " + missing);
    KvmCapabilities found;
    found.max_vcpus = static_cast<uint32_t>(std::max(Check(KVM_CAP_MAX_VCPUS), 1));
    found.max_memory_slots = static_cast<uint32_t>(std::max(Check(KVM_CAP_NR_MEMSLOTS), 32));
    found.tsc_deadline_timer = Check(KVM_CAP_TSC_DEADLINE_TIMER) > 0;
    found.x2apic_api = Check(KVM_CAP_X2APIC_API) > 0;
    found.vm_types = Mask(abi::kCapVmTypes);
    found.memory_attributes = Mask(abi::kCapMemoryAttributes);
    found.exit_hypercalls = Mask(KVM_CAP_EXIT_HYPERCALL);
    found.guest_memfd = Check(abi::kCapGuestMemfd) > 0;
    found.memory_fault_exits = Check(abi::kCapMemoryFaultInfo) > 0;
    found.user_memory2 = Check(abi::kCapUserMemory2) > 0;
    return found;
  }

  Result<std::vector<kvm_cpuid_entry2>> SupportedCpuid() override {
    // The kernel answers E2BIG until the array is large enough.
    for (uint32_t room = 64; room <= 1024; room *= 2) {
      KvmTable<kvm_cpuid_entry2> table(room);
      if (Ioctl(fd_.get(), kGetSupportedCpuid, table.data()) == 0) return table.Entries();
      if (errno != E2BIG) return ErrnoStatus("KVM_GET_SUPPORTED_CPUID", errno);
    }
    return Internal("KVM_GET_SUPPORTED_CPUID gives more than 1024 leaves");
  }

  Result<std::unique_ptr<KvmVm>> CreateVm(VmType type) override {
    int run_size = Ioctl(fd_.get(), KVM_GET_VCPU_MMAP_SIZE, 0);
    if (run_size < static_cast<int>(sizeof(kvm_run))) return ErrnoStatus("KVM_GET_VCPU_MMAP_SIZE", errno);
    UniqueFd fd(Ioctl(fd_.get(), KVM_CREATE_VM, static_cast<unsigned long>(type)));
    if (!fd.valid()) {
      int error = errno;
      const auto number = std::to_string(static_cast<uint64_t>(type));
      return ErrnoStatus(type == VmType::kDefault ? "KVM_CREATE_VM" : "KVM_CREATE_VM of type " + number,
                         error);
    }
    LinuxVcpuSizes sizes;
    sizes.run = static_cast<size_t>(run_size);
    sizes.nested = static_cast<size_t>(std::max(Check(KVM_CAP_NESTED_STATE), 0));
    TRY_ASSIGN(auto msrs, MsrIndices());
    return std::unique_ptr<KvmVm>(std::make_unique<LinuxVm>(std::move(fd), sizes, std::move(msrs)));
  }

 private:
  // The registers that KVM_GET_MSRS knows.
  Result<std::shared_ptr<const std::vector<uint32_t>>> MsrIndices() {
    for (uint32_t room = 256; room <= 4096; room *= 2) {
      auto list = std::make_shared<std::vector<uint32_t>>(room + 1);
      list->front() = room;
      if (Ioctl(fd_.get(), kGetMsrIndexList, list->data()) == 0) {
        const uint32_t count = std::min(list->front(), room);
        list->erase(list->begin());
        list->resize(count);
        return std::shared_ptr<const std::vector<uint32_t>>(std::move(list));
      }
      if (errno != E2BIG) return ErrnoStatus("KVM_GET_MSR_INDEX_LIST", errno);
    }
    return Internal("KVM_GET_MSR_INDEX_LIST gives more than 4096 registers");
  }
  int Check(int capability) { return Ioctl(fd_.get(), KVM_CHECK_EXTENSION, capability); }
  uint64_t Mask(int capability) { return static_cast<uint64_t>(std::max(Check(capability), 0)); }

  UniqueFd fd_;
};

}  // namespace

Result<std::unique_ptr<Kvm>> OpenLinuxKvm(const std::string& device) {
  UniqueFd fd(::open(device.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd.valid()) {
    int error = errno;
    Status status = ErrnoStatus("open " + device, error);
    if (error == ENOENT || error == ENODEV || error == ENXIO) {
      return std::move(status).WithHint(
          "load kvm_intel or kvm_amd; virtualisation must be enabled in the firmware");
    }
    if (error == EACCES || error == EPERM) {
      return std::move(status).WithHint("the user must be a member of the group that owns the device");
    }
    return status;
  }
  if (Ioctl(fd.get(), KVM_GET_API_VERSION, 0) < 0) {
    return FailedPrecondition(device + " is not a KVM device");
  }
  return std::unique_ptr<Kvm>(std::make_unique<LinuxKvm>(std::move(fd)));
}

}  // namespace berth::vmm
