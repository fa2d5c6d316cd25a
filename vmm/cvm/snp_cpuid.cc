#include "vmm/cvm/snp_cpuid.h"

#include <cstring>

#include "vmm/cvm/bytes.h"
#include "vmm/cvm/command_error.h"

namespace berth::vmm {
namespace {

constexpr uint32_t kMaxLeaves = 64;

struct Header {
  uint32_t count;
  uint32_t reserved1;
  uint64_t reserved2;
};
struct Entry {
  uint32_t function, index;
  uint64_t xcr0, xss;
  uint32_t eax, ebx, ecx, edx;
  uint64_t reserved;
};
static_assert(sizeof(Header) == 16 && sizeof(Entry) == 48);

bool IsLeftOut(const kvm_cpuid_entry2& leaf) {
  return leaf.function >= 0x40000000 && leaf.function <= 0x400000ff;
}

}  // namespace

Status FillSnpCpuidPage(std::span<const kvm_cpuid_entry2> leaves, std::span<uint8_t> page) {
  CHECK(page.size() == 4096);
  Header header{};
  for (const kvm_cpuid_entry2& leaf : leaves) {
    if (IsLeftOut(leaf)) continue;
    if (header.count == kMaxLeaves) {
      return OutOfRange("the guest has more CPUID leaves than the 64 that SEV-SNP has room for");
    }
    Entry entry{};
    entry.function = leaf.function;
    entry.index = leaf.index;
    entry.eax = leaf.eax;
    entry.ebx = leaf.ebx;
    entry.ecx = leaf.ecx;
    entry.edx = leaf.edx;
    // The first two sub-leaves tell sizes that depend on what is enabled: as they are with x87 alone. The
    // guest makes its own out of the others (Linux, snp_cpuid_calc_xsave_size; QEMU,
    // sev_snp_cpuid_info_fill).
    if (leaf.function == 0xd && leaf.index <= 1) {
      constexpr uint32_t kLegacySize = 0x240;
      entry.xcr0 = 1;
      entry.ebx = kLegacySize;
    }
    std::memcpy(page.data() + sizeof header + header.count * sizeof entry, &entry, sizeof entry);
    ++header.count;
  }
  std::memcpy(page.data(), &header, sizeof header);
  return OkStatus();
}

std::string DescribeSnpCpuidDifference(std::span<const uint8_t> asked, std::span<const uint8_t> accepted) {
  for (uint64_t at = sizeof(Header);; at += sizeof(Entry)) {
    const auto a = ReadAt<Entry>(asked, at);
    const auto b = ReadAt<Entry>(accepted, at);
    if (!a || !b) return "it does not say which CPUID leaf";
    const std::pair<const char*, std::pair<uint32_t, uint32_t>> registers[] = {{"eax", {a->eax, b->eax}},
                                                                               {"ebx", {a->ebx, b->ebx}},
                                                                               {"ecx", {a->ecx, b->ecx}},
                                                                               {"edx", {a->edx, b->edx}}};
    for (const auto& [name, values] : registers) {
      if (values.first == values.second) continue;
      return "CPUID leaf " + HexNumber(a->function) + "/" + HexNumber(a->index) + ": " + name + " " +
             HexNumber(values.first) + " is refused, " + HexNumber(values.second) + " would be accepted";
    }
  }
}

}  // namespace berth::vmm
