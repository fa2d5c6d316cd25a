#include "vmm/jail/call_table.h"

#include <linux/fs.h>
#include <linux/kvm.h>
#include <linux/userfaultfd.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <iterator>

namespace berth::vmm {
namespace {

using enum ThreadKind;
using Form = ArgumentRule::Form;

constexpr ThreadKinds kWorkers = ThreadKinds(kVcpu) | kDevices | kDisk | kPager | kPrefault;
constexpr ThreadKinds kServers = ThreadKinds(kVcpu) | kDevices | kDisk;  // what a guest's request can reach

constexpr uint32_t kExecutable[] = {PROT_EXEC};
constexpr uint32_t kNameOnly[] = {PR_SET_NAME};
constexpr uint32_t kUnixOnly[] = {AF_UNIX};
// Requests that a guest's accesses lead to: of KVM, VFIO, iommufd and TAPs.
constexpr uint32_t kTunSetOffload = _IOW('T', 208, unsigned int);
constexpr uint32_t kTunSetQueue = _IOW('T', 217, int);
// struct kvm_memory_attributes has 32 bytes (linux/kvm.h of Linux 6.8).
constexpr uint32_t kSetMemoryAttributes = _IOC(_IOC_WRITE, KVMIO, 0xd2, 32);
// struct kvm_userspace_memory_region2 has 160: slots with private memory.
constexpr uint32_t kSetMemoryRegion2 = _IOC(_IOC_WRITE, KVMIO, 0x49, 160);
constexpr uint32_t kIommufdDestroy = _IO(';', 0x80), kIommufdCopy = _IO(';', 0x83),
                   kIommufdRanges = _IO(';', 0x84), kIommufdMap = _IO(';', 0x85),
                   kIommufdUnmap = _IO(';', 0x86);
constexpr uint32_t kSetGsiRouting = _IOW(KVMIO, 0x6a, uint64_t);
constexpr uint32_t kVcpuRequests[] = {
    KVM_RUN,        KVM_KVMCLOCK_CTRL,    KVM_GET_REGS,      KVM_GET_SREGS,        KVM_GET_FPU,
    KVM_IRQFD,      KVM_IOEVENTFD,        KVM_SIGNAL_MSI,    kSetGsiRouting,       KVM_SET_USER_MEMORY_REGION,
    kTunSetOffload, VFIO_DEVICE_SET_IRQS, VFIO_DEVICE_RESET, VFIO_IOMMU_MAP_DMA,   VFIO_IOMMU_UNMAP_DMA,
    kIommufdMap,    kIommufdUnmap,        kTunSetQueue,      kSetMemoryAttributes, kSetMemoryRegion2,
    kIommufdRanges, kIommufdCopy,         kIommufdDestroy,   VFIO_IOMMU_GET_INFO,
};
constexpr uint32_t kDevicesRequests[] = {
    KVM_SIGNAL_MSI,     KVM_SET_USER_MEMORY_REGION, kSetGsiRouting,    KVM_IRQFD,      VFIO_DEVICE_SET_IRQS,
    VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA,       kIommufdMap,       kIommufdUnmap,  kTunSetQueue,
    kTunSetOffload,     kSetMemoryAttributes,       kSetMemoryRegion2, kIommufdRanges, kIommufdCopy,
    kIommufdDestroy,    VFIO_IOMMU_GET_INFO,
};
// A disk behind a VT-d that meets a fault tells the guest of it by a message.
constexpr uint32_t kDiskRequests[] = {KVM_SIGNAL_MSI, kSetGsiRouting, KVM_IRQFD, BLKDISCARD, BLKZEROOUT};
constexpr uint32_t kPagerRequests[] = {static_cast<uint32_t>(UFFDIO_COPY), static_cast<uint32_t>(UFFDIO_WAKE),
                                       static_cast<uint32_t>(UFFDIO_UNREGISTER)};

constexpr AllowedCall Call(uint32_t number, std::string_view name, ThreadKinds kinds,
                           std::string_view unseen = {}) {
  return {number, name, kinds, {}, unseen};
}
constexpr AllowedCall CallIf(uint32_t number, std::string_view name, ThreadKinds kinds, ArgumentRule rule,
                             std::string_view unseen = {}) {
  return {number, name, kinds, rule, unseen};
}
#define NR(name) SYS_##name, #name

constexpr std::string_view kSelfTell = "only where the kernel gives no vDSO clock";
constexpr std::string_view kAllocator = "memory that the allocator takes or gives back now and then";
constexpr std::string_view kUnfiltered =
    "the test runs without filters, which is when strace sees every call";
constexpr std::string_view kRings = "kernels with io_uring";
constexpr std::string_view kPrivate = "confidential guests";

constexpr AllowedCall kTable[] = {
    // ---- What every thread does: wait, lock, allocate, log, end.
    Call(NR(futex), ThreadKinds(kVcpu) | kDevices),
    Call(NR(futex), ThreadKinds(kDisk) | kPager | kPrefault, "two threads that want one lock now and then"),
    Call(NR(madvise), kWorkers),
    Call(NR(rt_sigprocmask), kWorkers),
    Call(NR(exit), kWorkers),
    Call(NR(write), kServers | kPager),
    Call(NR(munmap), kWorkers, kAllocator),
    Call(NR(brk), kWorkers, kAllocator),
    CallIf(NR(mmap), kWorkers, {Form::kClear, 2, kExecutable}, kAllocator),
    CallIf(NR(mprotect), kWorkers, {Form::kClear, 2, kExecutable}, kAllocator),
    Call(NR(clock_gettime), kServers | kPager, kSelfTell),
    Call(NR(time), kServers | kPager, kSelfTell),
    Call(NR(gettid), kServers | kPager, "a thread's first message to the log"),
    Call(NR(restart_syscall), kWorkers, "a wait that a debugger has interrupted"),
    // ---- The guest's requests
    CallIf(NR(ioctl), kVcpu, {Form::kOneOf, 1, kVcpuRequests}),
    CallIf(NR(ioctl), kDevices, {Form::kOneOf, 1, kDevicesRequests}),
    CallIf(NR(ioctl), kDisk, {Form::kOneOf, 1, kDiskRequests}),
    CallIf(NR(ioctl), kPager, {Form::kOneOf, 1, kPagerRequests}),
    Call(NR(rt_sigreturn), kVcpu),
    Call(NR(read), kServers | kPager),
    Call(NR(epoll_wait), ThreadKinds(kDevices) | kDisk),
    Call(NR(epoll_ctl), kServers),
    Call(NR(timerfd_settime), ThreadKinds(kDevices) | kDisk),
    Call(NR(timerfd_settime), kVcpu, "devices with rate limits"),
    Call(NR(close), kDevices),
    Call(NR(close), kVcpu, "a guest that resets its vsock while connections are open"),
    Call(NR(writev), kDevices),
    Call(NR(preadv), kDisk),
    Call(NR(pwritev), kDisk),
    Call(NR(fdatasync), kDisk),
    Call(NR(fallocate), ThreadKinds(kDevices) | kDisk),
    Call(NR(fallocate), kVcpu, kPrivate),
    Call(NR(clock_nanosleep), ThreadKinds(kVcpu) | kDevices, kPrivate),  // a conversion tries again
    Call(NR(io_uring_enter), kDisk),
    Call(NR(io_uring_enter), kVcpu, kRings),
    Call(NR(sched_yield), ThreadKinds(kVcpu) | kDisk, kRings),
    Call(NR(pread64), kPager),
    Call(NR(pread64), kVcpu),
    Call(NR(pwrite64), kVcpu),
    Call(NR(lseek), kPager),
    Call(NR(exit_group), kPager, "a snapshot's memory that is lost ends the process"),
    Call(NR(readv), kDevices),
    Call(NR(accept4), kDevices),
    Call(NR(sendto), kDevices),
    Call(NR(recvfrom), kDevices, kPrivate),  // a quote
    Call(NR(shutdown), kDevices),
    Call(NR(shutdown), kVcpu,
         "a back end that breaks the protocol when the guest starts or stops its device"),
    CallIf(NR(socket), kDevices, {Form::kOneOf, 0, kUnixOnly}),
    CallIf(NR(socketpair), kDevices, {Form::kOneOf, 0, kUnixOnly}),
    Call(NR(connect), kDevices),
    Call(NR(fcntl), kDevices),
    Call(NR(getrandom), kDevices, "a source of entropy that has run dry"),
    Call(NR(sendmsg), ThreadKinds(kVcpu) | kDevices),
    Call(NR(recvmsg), ThreadKinds(kVcpu) | kDevices),
    Call(NR(eventfd2), kVcpu),
    Call(NR(poll), ThreadKinds(kVcpu) | kDevices, "a back end that takes its time to answer"),
    // The device loop fills memory, by threads near it.
    Call(NR(clone3), kDevices),
    Call(NR(rseq), kDevices),
    Call(NR(set_robust_list), kDevices),
    Call(NR(sched_getaffinity), kDevices),
    Call(NR(openat), kDevices),
    Call(NR(sched_setaffinity), kDevices),
    Call(NR(seccomp), kDevices, kUnfiltered),
    CallIf(NR(prctl), kDevices, {Form::kOneOf, 0, kNameOnly}),
    // ---- Building a machine, and telling of it
    Call(NR(ioctl), kControl),
    Call(NR(mbind), kControl),
    Call(NR(set_mempolicy), kControl, kPrivate),  // threads that fill private memory on a node
    Call(NR(memfd_create), kControl),
    Call(NR(ftruncate), kControl),
    Call(NR(fsync), kControl),
    Call(NR(unlink), kControl),
    Call(NR(mkdir), kControl),
    Call(NR(rmdir), kControl, "a snapshot that could not be written"),
    Call(NR(rename), kControl),
    Call(NR(access), kControl),
    Call(NR(newfstatat), kControl),
    Call(NR(statfs), kControl),
    Call(NR(readlink), kControl),
    Call(NR(getdents64), kControl),
    Call(NR(chmod), kControl),
    Call(NR(fchmod), kControl),
    Call(NR(socket), kControl),
    Call(NR(bind), kControl),
    Call(NR(listen), kControl),
    Call(NR(recvmsg), kControl),
    Call(NR(poll), kControl),
    Call(NR(epoll_create1), kControl),
    Call(NR(eventfd2), kControl),
    Call(NR(signalfd4), kControl),
    Call(NR(timerfd_create), kControl),
    Call(NR(userfaultfd), kControl),
    Call(NR(io_uring_setup), kControl),
    Call(NR(socketpair), kControl),
    Call(NR(rt_sigaction), kControl),
    Call(NR(tgkill), kControl),
    Call(NR(getpid), kControl),
    Call(NR(prlimit64), kControl),
    Call(NR(prctl), kControl),
    Call(NR(seccomp), kControl, kUnfiltered),
    Call(NR(getrandom), kControl),
    Call(NR(fallocate), kControl),
    Call(NR(exit_group), kControl),
    Call(NR(landlock_create_ruleset), kControl),
    Call(NR(landlock_add_rule), kControl),
    Call(NR(landlock_restrict_self), kControl),
    Call(NR(clock_nanosleep), kControl, "out of descriptors: the API waits a moment"),
};

#undef NR

}  // namespace

std::string_view ThreadKindName(ThreadKind kind) {
  constexpr std::string_view kThreadNames[] = {"control", "vcpu", "devices", "disk", "pager", "prefault"};
  static_assert(std::size(kThreadNames) == kThreadKinds);
  return kThreadNames[static_cast<size_t>(kind)];
}

std::span<const AllowedCall> CallTable() {
  return kTable;
}

}  // namespace berth::vmm
