#include <bit>

#include "vmm/config/validate.h"
#include "vmm/config/validate_rules.h"

namespace berth::vmm {
namespace {

constexpr ByteSize kPage = KiB(4);
constexpr ByteSize kMaxRam = GiB(64ull << 10);  // 64 TiB

// What a zone and --memory have in common.
struct Backing {
  std::string label;
  ByteSize size;
  bool mergeable;
  bool shared;
  bool hugepages;
  std::optional<ByteSize> hugepage_size;
};

bool IsPageSize(ByteSize size) {
  return std::has_single_bit(size.bytes()) && size >= kPage;
}

void CheckBacking(const Backing& backing, ConfigErrors& errors) {
  const auto& huge = backing.hugepage_size;
  if (huge && !backing.hugepages) {
    errors.push_back({"HugePageSizeWithoutHugePages", backing.label, "hugepage_size", huge->ToString(),
                      "a huge page size without huge pages", "", "add hugepages=on"});
  }
  if (huge && !IsPageSize(*huge)) {
    errors.push_back({"InvalidHugePageSize", backing.label, "hugepage_size", huge->ToString(),
                      "not a page size", "a power of two from 4K, such as 2M or 1G", ""});
  }
  if (backing.mergeable && (backing.shared || backing.hugepages)) {
    errors.push_back({"InvalidMemoryParameters", backing.label, "mergeable", "on",
                      "the host cannot merge pages that are shared or huge", "",
                      "use mergeable=on without shared=on and hugepages=on"});
  }
  ByteSize page = huge && backing.hugepages && IsPageSize(*huge) ? *huge : kPage;
  if (!backing.size.IsMultipleOf(page)) {
    errors.push_back({"MisalignedMemorySize", backing.label, "size", backing.size.ToString(),
                      "not a multiple of the page size", "multiples of " + page.ToString(), ""});
  }
}

void CheckZone(const MemoryZoneConfig& zone, const std::string& label, ConfigErrors& errors) {
  CheckBacking({label, zone.size, zone.mergeable, zone.shared, zone.hugepages, zone.hugepage_size}, errors);
  if (zone.size == ByteSize()) {
    errors.push_back(
        {"InvalidMemoryParameters", label, "size", "0", "a zone without memory", "4K or more", ""});
  }
  if (zone.file && zone.shared && zone.host_numa_node) {
    errors.push_back({"InvalidSharedMemoryZoneWithHostNuma", label, "host_numa_node",
                      std::to_string(*zone.host_numa_node), "a shared file cannot be bound to a host node",
                      "", "leave out file, or shared=on, or host_numa_node"});
  }
  if (zone.file && zone.hugepages) {
    errors.push_back({"InvalidMemoryParameters", label, "hugepages", "on",
                      "the file system of a backing file decides its page size", "",
                      "leave out hugepages=on; put the file on a hugetlbfs mount"});
  }
}

// --memory beside zones must say nothing that the zones would have to ignore.
void CheckMemoryBesideZones(const MemoryConfig& memory, ConfigErrors& errors) {
  auto refuse = [&](const char* key, std::string value, const char* allowed) {
    errors.push_back({"InvalidMemoryParameters", "memory", key, std::move(value),
                      "set together with memory zones", allowed, "give it for each --memory-zone"});
  };
  if (memory.size != ByteSize()) refuse("size", memory.size.ToString(), "0");
  if (memory.shared) refuse("shared", "on", "off");
  if (memory.hugepages) refuse("hugepages", "on", "off");
  if (memory.hugepage_size) refuse("hugepage_size", memory.hugepage_size->ToString(), "");
  if (memory.prefault) refuse("prefault", "on", "off");
}

}  // namespace

void CheckMemory(const VmConfig& config, ConfigErrors& errors) {
  const MemoryConfig& memory = config.memory;
  if (config.memory_zones.empty()) {
    CheckBacking(
        {"memory", memory.size, memory.mergeable, memory.shared, memory.hugepages, memory.hugepage_size},
        errors);
    if (memory.size == ByteSize()) {
      errors.push_back({"MissingMemoryZones", "memory", "size", "0", "no memory zones found", "",
                        "give a size, or describe the memory by --memory-zone"});
    }
  } else {
    CheckMemoryBesideZones(memory, errors);
  }
  std::optional<ByteSize> total = config.memory_zones.empty() ? memory.size : ByteSize();
  for (size_t i = 0; i < config.memory_zones.size(); ++i) {
    const MemoryZoneConfig& zone = config.memory_zones[i];
    CheckZone(zone, Label("memory-zone", i), errors);
    if (total) total = total->Plus(zone.size);
  }
  if (!total || *total > kMaxRam) {
    bool zones = !config.memory_zones.empty();
    errors.push_back({"InvalidMemoryParameters", zones ? "memory-zone" : "memory", "size",
                      total ? total->ToString() : "more than 64 bits hold", "too much memory",
                      "up to " + kMaxRam.ToString(), ""});
  }
}

}  // namespace berth::vmm
