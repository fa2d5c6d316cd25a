#pragma once

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

// KVM's structures that end in an array. The kernel's header declares the arrays in a way that gives the
// structures another size and layout in C++ than in C, and the size is part of the ioctl's number; so the
// headers of these tables and their numbers are written down here. For the ioctl callers in vmm/kvm only.
namespace berth::vmm {

// Common to kvm_cpuid2, kvm_msrs and kvm_irq_routing: the number of entries, then padding or flags.
struct KvmTableHeader {
  uint32_t count;
  uint32_t padding;
};
static_assert(sizeof(KvmTableHeader) == 8);
static_assert(sizeof(kvm_cpuid_entry2) == 40);
static_assert(sizeof(kvm_msr_entry) == 16);
static_assert(sizeof(kvm_irq_routing_entry) == 48);

inline constexpr unsigned long kGetSupportedCpuid = _IOWR(KVMIO, 0x05, KvmTableHeader);
inline constexpr unsigned long kSetGsiRouting = _IOW(KVMIO, 0x6a, KvmTableHeader);
inline constexpr unsigned long kGetMsrs = _IOWR(KVMIO, 0x88, KvmTableHeader);
inline constexpr unsigned long kSetMsrs = _IOW(KVMIO, 0x89, KvmTableHeader);
inline constexpr unsigned long kSetCpuid2 = _IOW(KVMIO, 0x90, KvmTableHeader);
// Of structures whose number has the size of their fixed part.
inline constexpr unsigned long kGetMsrIndexList = _IOWR(KVMIO, 0x02, uint32_t);
inline constexpr unsigned long kGetNestedState = _IOWR(KVMIO, 0xbe, uint8_t[128]);
inline constexpr unsigned long kSetNestedState = _IOW(KVMIO, 0xbf, uint8_t[128]);
// The kernel copies as much as the processor's extended state takes, whatever the structure says.
inline constexpr unsigned long kGetXsave = _IOR(KVMIO, 0xa4, uint8_t[4096]);
inline constexpr unsigned long kGetXsave2 = _IOR(KVMIO, 0xcf, uint8_t[4096]);
inline constexpr unsigned long kSetXsave = _IOW(KVMIO, 0xa5, uint8_t[4096]);

// Header and entries as the kernel wants them.
template <class T>
class KvmTable {
 public:
  explicit KvmTable(std::span<const T> entries) : KvmTable(entries.size()) {
    if (!entries.empty()) std::memcpy(Entry(0), entries.data(), entries.size_bytes());
  }
  // `count` entries of zeros.
  explicit KvmTable(size_t count)
      : words_((sizeof(KvmTableHeader) + count * sizeof(T) + sizeof(uint64_t) - 1) / sizeof(uint64_t)) {
    KvmTableHeader header{static_cast<uint32_t>(count), 0};
    std::memcpy(words_.data(), &header, sizeof header);
  }

  void* data() { return words_.data(); }
  // As the kernel has set it.
  uint32_t count() const {
    KvmTableHeader header;
    std::memcpy(&header, words_.data(), sizeof header);
    return header.count;
  }
  std::vector<T> Entries() {
    std::vector<T> entries(count());
    if (!entries.empty()) std::memcpy(entries.data(), Entry(0), entries.size() * sizeof(T));
    return entries;
  }

 private:
  uint8_t* Entry(size_t index) {
    return reinterpret_cast<uint8_t*>(words_.data()) + sizeof(KvmTableHeader) + index * sizeof(T);
  }

  std::vector<uint64_t> words_;
};

}  // namespace berth::vmm
