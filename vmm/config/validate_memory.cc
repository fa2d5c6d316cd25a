#include <bit>

#include "vmm/config/hotplug_plan.h"
#include "vmm/config/validate.h"
#include "vmm/config/validate_rules.h"

namespace berth::vmm {
namespace {

constexpr ByteSize kPage = KiB(4);
constexpr ByteSize kMaxRam = GiB(64ull << 10);  // 64 TiB
// The first MiB has the tables that the VMM hands over and the reset vector; kernels begin behind it.
constexpr ByteSize kMinRam = MiB(2);

// What a zone and --memory have in common.
struct Backing {
  std::string label;
  ByteSize size;
  bool mergeable;
  bool shared;
  bool hugepages;
  std::optional<ByteSize> hugepage_size;
  std::optional<ByteSize> hotplug_size;
  std::optional<ByteSize> hotplugged_size;
};

template <class Memory>
Backing BackingOf(const Memory& memory, std::string label) {
  return {std::move(label), memory.size,          memory.mergeable,    memory.shared,
          memory.hugepages, memory.hugepage_size, memory.hotplug_size, memory.hotplugged_size};
}

bool IsPageSize(ByteSize size) {
  return std::has_single_bit(size.bytes()) && size > kPage;
}

void CheckBacking(const Backing& backing, ConfigErrors& errors) {
  const auto& huge = backing.hugepage_size;
  if (huge && !backing.hugepages) {
    errors.push_back({"HugePageSizeWithoutHugePages", backing.label, "hugepage_size", huge->ToString(),
                      "a huge page size without huge pages", "", "add hugepages=on"});
  }
  if (huge && !IsPageSize(*huge)) {
    errors.push_back({"InvalidHugePageSize", backing.label, "hugepage_size", huge->ToString(),
                      "not a size of huge pages", "a power of two above 4K, such as 2M or 1G", ""});
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

// hotplug_size and hotplugged_size. A multiple of the smallest piece that the method moves.
void CheckHotplug(const Backing& backing, HotplugMethod method, ConfigErrors& errors) {
  const auto& most = backing.hotplug_size;
  const auto& first = backing.hotplugged_size;
  auto refuse = [&](const char* code, const char* key, ByteSize value, TextRef message, TextRef allowed,
                    TextRef hint) {
    errors.push_back({code, backing.label, key, value.ToString(), message, allowed, hint});
  };
  const bool huge = backing.hugepages && backing.hugepage_size && IsPageSize(*backing.hugepage_size);
  const ByteSize block(HotplugBlock(method, huge ? backing.hugepage_size->bytes() : kPage.bytes()));
  if (most && *most == ByteSize())
    refuse("InvalidHotplugSize", "hotplug_size", *most, "nothing to plug", "above 0", "leave it out");
  if (most && !most->IsMultipleOf(block))
    refuse("MisalignedMemorySize", "hotplug_size", *most, "not a multiple of what is plugged at a time",
           "multiples of " + block.ToString(), "");
  if (!first) return;
  if (*first == ByteSize())
    refuse("InvalidMemoryParameters", "hotplugged_size", *first, "nothing is plugged", "above 0",
           "leave it out");
  if (!most)
    refuse("InvalidMemoryParameters", "hotplugged_size", *first, "plugged memory without room for it", "",
           "give hotplug_size");
  if (most && *first > *most)
    refuse("InvalidMemoryParameters", "hotplugged_size", *first, "more than hotplug_size",
           "up to " + most->ToString(), "");
  if (method == HotplugMethod::kAcpi)
    refuse("InvalidMemoryParameters", "hotplugged_size", *first,
           "memory that is added by ACPI cannot be taken back", "", "use hotplug_method=virtio-mem");
  if (!first->IsMultipleOf(block))
    refuse("MisalignedMemorySize", "hotplugged_size", *first, "not a multiple of what is plugged at a time",
           "multiples of " + block.ToString(), "");
}

void CheckZone(const MemoryZoneConfig& zone, HotplugMethod method, const std::string& label,
               ConfigErrors& errors) {
  const Backing backing = BackingOf(zone, label);
  CheckBacking(backing, errors);
  if (method == HotplugMethod::kVirtioMem) CheckHotplug(backing, method, errors);
  if (method == HotplugMethod::kAcpi && (zone.hotplug_size || zone.hotplugged_size)) {
    errors.push_back(
        {"InvalidHotplugMethodWithMemoryZones", label, zone.hotplug_size ? "hotplug_size" : "hotplugged_size",
         zone.hotplug_size.value_or(zone.hotplugged_size.value_or(ByteSize())).ToString(),
         "a zone can be resized only by virtio-mem", "", "use --memory hotplug_method=virtio-mem"});
  }
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

// --memory beside zones must say nothing that the zones would have to ignore; but for reserve=off, which is
// Cloud Hypervisor's default and stands in all configurations that it writes.
void CheckMemoryBesideZones(const MemoryConfig& memory, ConfigErrors& errors) {
  auto refuse = [&](const char* key, TextRef value, const char* allowed) {
    errors.push_back({"InvalidMemoryParameters", "memory", key, value, "set together with memory zones",
                      allowed, "give it for each --memory-zone"});
  };
  if (memory.size != ByteSize()) refuse("size", memory.size.ToString(), "0");
  if (memory.shared) refuse("shared", "on", "off");
  if (memory.hugepages) refuse("hugepages", "on", "off");
  if (memory.hugepage_size) refuse("hugepage_size", memory.hugepage_size->ToString(), "");
  if (memory.prefault) refuse("prefault", "on", "off");
  if (memory.hotplug_size) refuse("hotplug_size", memory.hotplug_size->ToString(), "");
  if (memory.hotplugged_size) refuse("hotplugged_size", memory.hotplugged_size->ToString(), "");
}

// Pages that are pinned for a device stay as they are.
void CheckMergeableBesideDevices(const VmConfig& config, ConfigErrors& errors) {
  auto check = [&](bool mergeable, const std::string& label) {
    if (!mergeable) return;
    errors.push_back({"MergeableWithDevice", label, "mergeable", "on",
                      "the host cannot merge pages that a device of the host reaches", "",
                      "leave out mergeable=on or --device"});
  };
  if (config.memory_zones.empty()) check(config.memory.mergeable, "memory");
  for (size_t i = 0; i < config.memory_zones.size(); ++i) {
    check(config.memory_zones[i].mergeable, Label("memory-zone", i));
  }
}

}  // namespace

void CheckMemory(const VmConfig& config, ConfigErrors& errors) {
  const MemoryConfig& memory = config.memory;
  const char* const of_all = config.memory_zones.empty() ? "memory" : "memory-zone";
  if (config.memory_zones.empty()) {
    CheckBacking(BackingOf(memory, "memory"), errors);
    CheckHotplug(BackingOf(memory, "memory"), memory.hotplug_method, errors);
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
    CheckZone(zone, memory.hotplug_method, Label("memory-zone", i), errors);
    if (total) total = total->Plus(zone.size);
  }
  if (total && *total < kMinRam && *total != ByteSize() && total->IsMultipleOf(kPage)) {
    errors.push_back({"InvalidMemoryParameters", of_all, "size", total->ToString(),
                      "too little memory to start in", kMinRam.ToString() + " or more", ""});
  }
  if (!config.devices.empty()) CheckMergeableBesideDevices(config, errors);
  for (const MemoryZoneConfig& zone : EffectiveZones(config)) {
    if (total) total = total->Plus(zone.hotplug_size.value_or(ByteSize()));
  }
  if (!total || *total > kMaxRam) {
    errors.push_back({"InvalidMemoryParameters", of_all, "size",
                      total ? total->ToString() : "more than 64 bits hold", "too much memory",
                      "up to " + kMaxRam.ToString(), ""});
  }
}

}  // namespace berth::vmm
