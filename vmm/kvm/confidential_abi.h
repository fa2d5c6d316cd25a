#pragma once

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <cstddef>
#include <cstdint>

// KVM's interface for private memory and confidential VMs, written down here because the kernel headers of
// the oldest supported systems (Linux 6.1) do not have it. Sources, by structure:
//   include/uapi/linux/kvm.h and arch/x86/include/uapi/asm/kvm.h of Linux 6.16 (guest_memfd and attributes
//   since 6.8, SEV-SNP since 6.11, TDX since 6.16); include/uapi/linux/kvm.h and
//   arch/arm64/include/asm/kvm_tmi.h of openEuler 24.03 LTS (virtCCA).
namespace berth::vmm::abi {

// ---- Capabilities (KVM_CHECK_EXTENSION)
inline constexpr int kCapUserMemory2 = 231;
inline constexpr int kCapMemoryFaultInfo = 232;
inline constexpr int kCapMemoryAttributes = 233;
inline constexpr int kCapGuestMemfd = 234;
inline constexpr int kCapVmTypes = 235;
inline constexpr int kCapArmRme = 300;  // openEuler's virtCCA

// ---- VM types (KVM_CREATE_VM)
inline constexpr uint64_t kVmTypeDefault = 0;
inline constexpr uint64_t kVmTypeSwProtected = 1;
inline constexpr uint64_t kVmTypeSnp = 4;
inline constexpr uint64_t kVmTypeTdx = 5;
inline constexpr uint64_t kVmTypeArmRealm = uint64_t{1} << 8;

// ---- Memory
inline constexpr uint32_t kMemGuestMemfd = 1 << 2;  // flag of a slot
inline constexpr uint64_t kAttributePrivate = 1 << 3;

struct UserspaceMemoryRegion2 {
  uint32_t slot;
  uint32_t flags;
  uint64_t guest_phys_addr;
  uint64_t memory_size;
  uint64_t userspace_addr;
  uint64_t guest_memfd_offset;
  uint32_t guest_memfd;
  uint32_t pad1;
  uint64_t pad2[14];
};
static_assert(sizeof(UserspaceMemoryRegion2) == 160);
static_assert(offsetof(UserspaceMemoryRegion2, guest_memfd) == 40);
inline constexpr unsigned long kSetUserMemoryRegion2 = _IOW(KVMIO, 0x49, UserspaceMemoryRegion2);

struct MemoryAttributes {
  uint64_t address;
  uint64_t size;
  uint64_t attributes;
  uint64_t flags;
};
static_assert(sizeof(MemoryAttributes) == 32);
inline constexpr unsigned long kSetMemoryAttributes = _IOW(KVMIO, 0xd2, MemoryAttributes);

struct CreateGuestMemfd {
  uint64_t size;
  uint64_t flags;
  uint64_t reserved[6];
};
static_assert(sizeof(CreateGuestMemfd) == 64);
inline constexpr unsigned long kCreateGuestMemfd = _IOWR(KVMIO, 0xd4, CreateGuestMemfd);
static_assert(kCreateGuestMemfd == 0xc040aed4 && kSetMemoryAttributes == 0x4020aed2 &&
              kSetUserMemoryRegion2 == 0x40a0ae49);

// ---- Exits
inline constexpr uint32_t kExitMemoryFault = 39;
inline constexpr uint32_t kExitTdx = 40;
inline constexpr uint32_t kSystemEventSevTerm = 6;
inline constexpr uint32_t kSystemEventTdxFatal = 7;

// In kvm_run's union (offset 32).
struct MemoryFaultRun {
  uint64_t flags;  // kAttributePrivate: the guest meant private memory
  uint64_t gpa;
  uint64_t size;
};
struct TdxRun {
  uint64_t flags;
  uint64_t nr;   // TDVMCALL sub-function
  uint64_t ret;  // to the guest; the kernel presets kTdVmCallUnsupported
  uint64_t data[5];
};
static_assert(offsetof(TdxRun, data) == 24);

// KVM_HC_MAP_GPA_RANGE: the third argument.
inline constexpr uint64_t kMapGpaEncrypted = 1 << 4;

// ---- KVM_MEMORY_ENCRYPT_OP, on VM and vCPU descriptors
inline constexpr unsigned long kMemoryEncryptOp = KVM_MEMORY_ENCRYPT_OP;
static_assert(kMemoryEncryptOp == 0xc008aeba);

// ---- TDX
enum TdxCommandId : uint32_t {
  kTdxCapabilities = 0,
  kTdxInitVm = 1,
  kTdxInitVcpu = 2,
  kTdxInitMemRegion = 3,
  kTdxFinalizeVm = 4,
  kTdxGetCpuid = 5,
};
struct TdxCommand {
  uint32_t id;
  uint32_t flags;
  uint64_t data;      // a value or a pointer
  uint64_t hw_error;  // of the TDX module; 0 when the call is made
};
static_assert(sizeof(TdxCommand) == 24);

// A kvm_cpuid2 follows both of the next: uint32_t nent, padding, then the entries.
struct CpuidHeader {
  uint32_t nent;
  uint32_t padding;
};
struct TdxCapabilities {
  uint64_t supported_attrs;
  uint64_t supported_xfam;
  uint64_t kernel_tdvmcallinfo_1_r11;
  uint64_t user_tdvmcallinfo_1_r11;
  uint64_t kernel_tdvmcallinfo_1_r12;
  uint64_t user_tdvmcallinfo_1_r12;
  uint64_t reserved[250];
  CpuidHeader cpuid;
};
static_assert(sizeof(TdxCapabilities) == 2056);
struct TdxInitVm {
  uint64_t attributes;
  uint64_t xfam;
  uint64_t mrconfigid[6];
  uint64_t mrowner[6];
  uint64_t mrownerconfig[6];
  uint64_t reserved[12];
  CpuidHeader cpuid;
};
static_assert(sizeof(TdxInitVm) == 264 && offsetof(TdxInitVm, mrowner) == 64 &&
              offsetof(TdxInitVm, mrownerconfig) == 112 && offsetof(TdxInitVm, cpuid) == 256);
struct TdxInitMemRegion {
  uint64_t source_addr;
  uint64_t gpa;
  uint64_t nr_pages;
};
static_assert(sizeof(TdxInitMemRegion) == 24);
inline constexpr uint32_t kTdxMeasureMemoryRegion = 1;

// TDVMCALL sub-functions that come to user space, and their status codes (GHCI).
inline constexpr uint64_t kTdVmCallGetInfo = 0x10000;
inline constexpr uint64_t kTdVmCallMapGpa = 0x10001;
inline constexpr uint64_t kTdVmCallGetQuote = 0x10002;
inline constexpr uint64_t kTdVmCallSetupEventNotify = 0x10004;
inline constexpr uint64_t kTdVmCallSuccess = 0;
inline constexpr uint64_t kTdVmCallRetry = 1;
inline constexpr uint64_t kTdVmCallInvalidOperand = 0x8000000000000000;
inline constexpr uint64_t kTdVmCallAlignError = 0x8000000000000002;
inline constexpr uint64_t kTdVmCallUnsupported = 0x8000000000000003;

// ---- SEV-SNP
enum SevCommandId : uint32_t {
  kSevInit2 = 22,
  kSnpLaunchStart = 100,
  kSnpLaunchUpdate = 101,
  kSnpLaunchFinish = 102,
};
struct SevCommand {
  uint32_t id;
  uint32_t pad0;
  uint64_t data;
  uint32_t error;  // of the firmware, when the call fails with EIO
  uint32_t sev_fd;
};
static_assert(sizeof(SevCommand) == 24);
struct SevInit {
  uint64_t vmsa_features;
  uint32_t flags;
  uint16_t ghcb_version;
  uint16_t pad1;
  uint32_t pad2[8];
};
static_assert(sizeof(SevInit) == 48);
struct SnpLaunchStart {
  uint64_t policy;
  uint8_t gosvw[16];
  uint16_t flags;
  uint8_t pad0[6];
  uint64_t pad1[4];
};
static_assert(sizeof(SnpLaunchStart) == 64);
enum SnpPageType : uint8_t {
  kSnpPageNormal = 1,
  kSnpPageVmsa = 2,  // the kernel's, never given to SNP_LAUNCH_UPDATE
  kSnpPageZero = 3,
  kSnpPageUnmeasured = 4,
  kSnpPageSecrets = 5,
  kSnpPageCpuid = 6,
};
struct SnpLaunchUpdate {
  uint64_t gfn_start;
  uint64_t uaddr;
  uint64_t len;
  uint8_t type;
  uint8_t pad0;
  uint16_t flags;
  uint32_t pad1;
  uint64_t pad2[4];
};
static_assert(sizeof(SnpLaunchUpdate) == 64);
struct SnpLaunchFinish {
  uint64_t id_block_uaddr;
  uint64_t id_auth_uaddr;
  uint8_t id_block_en;
  uint8_t auth_key_en;
  uint8_t vcek_disabled;
  uint8_t host_data[32];
  uint8_t pad0[3];
  uint16_t flags;
  uint64_t pad1[4];
};
static_assert(sizeof(SnpLaunchFinish) == 88 && offsetof(SnpLaunchFinish, host_data) == 19 &&
              offsetof(SnpLaunchFinish, flags) == 54);
inline constexpr uint32_t kSnpFirmwareInvalidParameter = 0x16;

// ---- virtCCA: KVM_ENABLE_CAP(kCapArmRme) with a sub-command in args[0] and a pointer in args[1]
inline constexpr unsigned long kEnableCap = KVM_ENABLE_CAP;
enum TmmCommandId : uint64_t {
  kTmmConfigCvm = 0,
  kTmmCreateRd = 1,
  kTmmPopulateCvm = 2,
  kTmmActivateCvm = 3,
};
enum TmmConfigId : uint32_t {
  kTmmCfgRpv = 0,
  kTmmCfgHashAlgo = 1,
  kTmmCfgSve = 2,
  kTmmCfgDbg = 3,
  kTmmCfgPmu = 4
};
inline constexpr uint32_t kTmmSha256 = 0;
inline constexpr uint32_t kTmmSha512 = 1;
struct TmmConfigItem {
  uint32_t cfg;
  union {
    uint8_t rpv[64];
    uint32_t hash_algo;
    uint32_t sve_vq;
    uint32_t num_pmu_cntrs;
    uint8_t reserved[256];
  };
};
static_assert(sizeof(TmmConfigItem) == 260);
struct TmmPopulate {
  uint64_t base1;
  uint64_t size1;
  uint64_t base2;
  uint64_t size2;
  uint32_t flags;
  uint32_t reserved[3];
};
static_assert(sizeof(TmmPopulate) == 48);
inline constexpr uint32_t kTmmPopulateMeasure = 1;

// kvm_user_data: what the kernel must know of the guest before CREATE_RD.
inline constexpr size_t kTmmMaxNumaNodes = 8;
struct TmmNumaNode {
  uint64_t numa_id;
  uint64_t ipa_start;
  uint64_t ipa_size;
  int64_t host_numa_nodes[2];  // numbers of nodes, the first is used
  uint64_t cpu_id[4];          // bitmap of vCPUs
};
struct TmmNumaInfo {
  uint64_t numa_cnt;
  TmmNumaNode numa_nodes[kTmmMaxNumaNodes];
};
struct TmmUserData {
  uint64_t loader_start;
  uint64_t image_end;
  uint64_t initrd_start;
  uint64_t dtb_end;
  uint64_t ram_size;
  TmmNumaInfo numa_info;
};
// The command number and the widths of TmmNumaNode's arrays are as openEuler's QEMU uses them; unlike the
// rest of this file they could not be compared with the kernel's header.
inline constexpr unsigned long kLoadUserData = _IOW(KVMIO, 0x49, TmmUserData);

// KVM_ARM_VCPU_FINALIZE of a vCPU makes its TEC (realm execution context).
inline constexpr int kArmVcpuTec = 8;
inline constexpr unsigned long kArmVcpuFinalize = _IOW(KVMIO, 0xc2, int);

}  // namespace berth::vmm::abi
