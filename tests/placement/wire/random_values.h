#pragma once

#include <random>
#include <string>

#include "placement/model/claim.h"
#include "placement/model/host.h"

// Random values of every field of hosts and claims: well-formed for the wire, not necessarily sensible as a
// whole.
namespace berth::placement::testing {

class RandomValues {
 public:
  explicit RandomValues(uint32_t seed) : random_(seed) {}

  uint32_t Below(uint32_t limit) { return static_cast<uint32_t>(random_()) % limit; }
  bool Coin() { return Below(2) == 1; }
  uint64_t Big() { return uint64_t{random_()} << 32 | random_(); }
  std::string Word() {
    std::string word;
    for (uint32_t n = 1 + Below(12); n > 0; --n) word += static_cast<char>('a' + Below(26));
    return word + (Coin() ? "" : " \xC3\xA9=,");
  }
  std::vector<std::string> Words() {
    std::vector<std::string> words;
    for (uint32_t n = Below(3); n > 0; --n) words.push_back(Word());
    return words;
  }
  Uuid AnyUuid() {
    Uuid uuid;
    for (uint8_t& byte : uuid.bytes) byte = static_cast<uint8_t>(Below(256));
    uuid.bytes[0] |= 1;
    return uuid;
  }
  PciAddress Address() {
    return {.domain = static_cast<uint16_t>(Below(65536)),
            .bus = static_cast<uint8_t>(Below(256)),
            .slot = static_cast<uint8_t>(Below(32)),
            .function = static_cast<uint8_t>(Below(8))};
  }
  CpuSet Cpus() {
    CpuSet cpus;
    for (uint32_t n = Below(9); n > 0; --n) cpus.Add(Below(Coin() ? 64 : CpuSet::kMaxCpu + 1));
    return cpus;
  }

  Cell AnyCell() {
    Cell cell;
    cell.id = Below(1000);
    if (Coin()) cell.socket = Below(8);
    cell.shared_cpus = Cpus();
    cell.dedicated_cpus = Cpus();
    for (uint32_t n = Below(4); n > 0; --n) cell.siblings.push_back(Cpus());
    cell.memory_bytes = Big();
    for (uint32_t n = Below(4); n > 0; --n)
      cell.pages.push_back({.size_bytes = Big(), .total = Big(), .reserved = Big()});
    for (uint32_t n = Below(4); n > 0; --n) cell.distances.push_back(Below(255));
    cell.secure_memory_bytes = Big();
    return cell;
  }
  Device AnyDevice() {
    Device device;
    device.address = Address();
    device.vendor_id = "8086";
    device.product_id = "154d";
    device.class_code = Below(1 << 24);
    device.type = static_cast<DeviceType>(Below(3));
    if (Coin()) device.parent = Address();
    if (Coin()) device.numa_node = Below(9);
    if (Coin()) device.iommu_group = Below(99);
    if (Coin()) device.driver = Word();
    device.assignable = Coin();
    if (Coin()) device.physical_network = Coin() ? "" : Word();
    if (Coin()) device.trusted = Coin();
    if (Coin()) device.remote_managed = Coin();
    device.resource_class = Word();
    device.traits = Words();
    device.domains = Words();
    return device;
  }
  HostReport AnyHost() {
    HostReport host;
    host.uuid = AnyUuid();
    host.name = Word();
    host.agent_endpoint = Word();
    host.kernel_release = Word();
    host.os_name = Word();
    host.can_run_guests = Coin();
    host.cpu_allocation_ratio = Below(1000) / 7.0;
    host.ram_allocation_ratio = Below(1000) / 7.0;
    for (uint32_t n = Below(4); n > 0; --n) host.cells.push_back(AnyCell());
    for (uint32_t n = Below(4); n > 0; --n) host.devices.push_back(AnyDevice());
    host.warnings = Words();
    return host;
  }
  CellBinding AnyBinding() {
    CellBinding cell;
    cell.guest_cell = Below(128);
    cell.host_cell = Below(1000);
    cell.vcpus = Cpus();
    for (uint32_t n = Below(4); n > 0; --n) cell.pinning.emplace_back(Below(65536), Below(65536));
    cell.reserved = Cpus();
    cell.memory_bytes = Big();
    cell.page_size_bytes = Coin() ? 0 : Big();
    cell.secure = Coin();
    cell.swiotlb_bytes = Big();
    return cell;
  }
  Claim AnyClaim() {
    Claim claim;
    claim.consumer = AnyUuid();
    claim.name = Word();
    claim.host = AnyUuid();
    claim.phase = Coin() ? ClaimPhase::kActive : ClaimPhase::kReleasing;
    for (uint32_t n = Below(4); n > 0; --n) claim.cells.push_back(AnyBinding());
    for (uint32_t n = Below(4); n > 0; --n) {
      DeviceBinding device;
      device.request = Below(10);
      device.address = Address();
      device.alias = Word();
      if (Coin()) device.numa_node = Below(9);
      if (Coin()) device.port.mac = MacAddress{2, 1, 2, 3, 4, static_cast<uint8_t>(Below(256))};
      if (Coin()) device.port.vlan = static_cast<uint16_t>(Below(4095));
      if (Coin()) device.port.trusted = Coin();
      if (Coin()) device.port.spoof_check = Coin();
      device.leaving = Coin();
      claim.devices.push_back(device);
    }
    claim.spec = {.flavor = Word(),
                  .vcpus = Below(1000),
                  .memory_bytes = Big(),
                  .kernel = Word(),
                  .initramfs = Word(),
                  .cmdline = Word(),
                  .disks = Words(),
                  .nets = Words(),
                  .disk_bytes = Big(),
                  .viommu = Word()};
    claim.status = {.state = static_cast<InstanceState>(Below(7)), .detail = Word(), .observed_at_ms = Big()};
    claim.created_at_ms = Big();
    claim.external = Below(2) == 1;
    if (Coin()) claim.group = ServerGroup{Word(), static_cast<ServerGroupPolicy>(Below(4)), 1 + Below(1024)};
    if (Coin()) claim.reserved_for = AnyUuid();
    claim.swapped = Coin();
    claim.stays_stopped = Coin();
    return claim;
  }

 private:
  std::mt19937 random_;
};

}  // namespace berth::placement::testing
