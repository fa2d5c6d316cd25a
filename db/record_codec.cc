#include "db/record_codec.h"

#include <bit>
#include <concepts>
#include <limits>
#include <optional>
#include <type_traits>

#include "common/varint.h"

namespace berth::db {
namespace {

using placement::Cell;
using placement::CellBinding;
using placement::Claim;
using placement::Device;
using placement::DeviceBinding;
using placement::HostReport;
using placement::InstanceSpec;
using placement::InstanceStatus;
using placement::PagePool;
using placement::PortSettings;

// 2: claims have `external`. 3: bounce buffers of cells, port settings of devices. 4: claims that reserve for
// a move, devices that leave, paused instances. 5: disk of hosts and instances, server group of claims,
// virtual IOMMU. Readers know the older ones.
constexpr uint8_t kVersion = 6;

template <class V, class T>
concept Is = std::same_as<std::remove_const_t<V>, T>;

// The fields of each record, once for both directions: A is Encoder or Decoder.
template <class A, Is<PagePool> V>
void Fields(A& a, V& v) {
  a(v.size_bytes, v.total, v.reserved);
}
template <class A, Is<Cell> V>
void Fields(A& a, V& v) {
  a(v.id, v.socket, v.shared_cpus, v.dedicated_cpus, v.siblings, v.memory_bytes, v.pages, v.distances,
    v.secure_memory_bytes);
}
template <class A, Is<Device> V>
void Fields(A& a, V& v) {
  a(v.address, v.vendor_id, v.product_id, v.class_code, v.type, v.parent, v.numa_node, v.iommu_group,
    v.driver, v.assignable, v.physical_network, v.trusted, v.remote_managed, v.resource_class, v.traits,
    v.domains);
}
template <class A, Is<HostReport> V>
void Fields(A& a, V& v) {
  a(v.uuid, v.name, v.agent_endpoint, v.kernel_release, v.os_name, v.can_run_guests, v.cpu_allocation_ratio,
    v.ram_allocation_ratio, v.cells, v.devices, v.warnings);
  if (a.version() >= 5) a(v.disk_bytes);
}
template <class A, Is<CellBinding> V>
void Fields(A& a, V& v) {
  a(v.guest_cell, v.host_cell, v.vcpus, v.pinning, v.reserved, v.memory_bytes, v.page_size_bytes, v.secure);
  if (a.version() >= 3) a(v.swiotlb_bytes);
}
template <class A, Is<PortSettings> V>
void Fields(A& a, V& v) {
  a(v.mac, v.vlan, v.trusted, v.spoof_check);
}
template <class A, Is<DeviceBinding> V>
void Fields(A& a, V& v) {
  a(v.request, v.address, v.alias, v.numa_node);
  if (a.version() >= 3) a(v.port);
  if (a.version() >= 4) a(v.leaving);
}
template <class A, Is<InstanceSpec> V>
void Fields(A& a, V& v) {
  a(v.flavor, v.vcpus, v.memory_bytes, v.kernel, v.initramfs, v.cmdline, v.disks, v.nets);
  if (a.version() >= 5) a(v.disk_bytes, v.viommu);
}
template <class A, Is<InstanceStatus> V>
void Fields(A& a, V& v) {
  a(v.state, v.detail, v.observed_at_ms);
}
template <class A, Is<placement::ServerGroup> V>
void Fields(A& a, V& v) {
  a(v.name, v.policy, v.max_per_host);
}
template <class A, Is<Claim> V>
void Fields(A& a, V& v) {
  a(v.consumer, v.name, v.host, v.phase, v.cells, v.devices, v.spec, v.status, v.created_at_ms);
  if (a.version() >= 2) a(v.external);
  if (a.version() >= 4) a(v.reserved_for, v.swapped);
  if (a.version() >= 5) a(v.group);
  if (a.version() >= 6) a(v.stays_stopped);
}
template <class A, Is<placement::Inventory> V>
void Fields(A& a, V& v) {
  a(v.resource_class, v.total, v.reserved, v.min_unit, v.max_unit, v.step_size, v.allocation_ratio);
}
template <class A, Is<ProviderRecord> V>
void Fields(A& a, V& v) {
  a(v.owner, v.provider.parent, v.provider.inventories, v.provider.traits, v.provider.aggregates,
    v.provider.created_at_ms, v.provider.updated_at_ms, v.provider.inventories_at_ms);
}
template <class A, Is<placement::Allocation> V>
void Fields(A& a, V& v) {
  a(v.provider, v.resource_class, v.amount);
}
template <class A, Is<placement::Consumer> V>
void Fields(A& a, V& v) {
  a(v.generation, v.project, v.user, v.type, v.allocations, v.created_at_ms, v.updated_at_ms);
}
template <class A, Is<std::pair<uint32_t, uint32_t>> V>
void Fields(A& a, V& v) {
  a(v.first, v.second);
}

class Encoder {
 public:
  template <class... V>
  void operator()(const V&... values) {
    (Put(values), ...);
  }
  std::string Take() { return std::move(out_); }
  static constexpr uint8_t version() { return kVersion; }

 private:
  void Varint(uint64_t value) { AppendVarint(out_, value); }
  template <class T>
    requires std::integral<T> || std::is_enum_v<T>
  void Put(const T& value) {
    Varint(static_cast<uint64_t>(value));
  }
  void Put(const double& value) {
    auto bits = std::bit_cast<uint64_t>(value);
    for (int i = 0; i < 8; ++i) out_ += static_cast<char>(bits >> (8 * i));
  }
  void Put(const std::string& value) {
    Varint(value.size());
    out_ += value;
  }
  void Put(const Uuid& value) {
    out_.append(reinterpret_cast<const char*>(value.bytes.data()), value.bytes.size());
  }
  void Put(const MacAddress& value) {
    out_.append(reinterpret_cast<const char*>(value.data()), value.size());
  }
  void Put(const PciAddress& value) { Varint(value.ToKey()); }
  void Put(const CpuSet& value) {
    // Runs: distance from the end of the one before, length - 1; a final 0-length marker is not needed as the
    // number of runs comes first.
    std::string runs;
    std::swap(runs, out_);
    uint64_t count = 0;
    uint32_t end = 0;
    for (uint32_t first = value.First(); first != CpuSet::kNone; ++count) {
      uint32_t last = first;
      uint32_t next = value.NextAfter(last);
      while (next == last + 1) {
        last = next;
        next = value.NextAfter(last);
      }
      Varint(first - end);
      Varint(last - first);
      end = last;
      first = next;
    }
    std::swap(runs, out_);
    Varint(count);
    out_ += runs;
  }
  template <class T>
  void Put(const std::optional<T>& value) {
    out_ += value ? '\1' : '\0';
    if (value) Put(*value);
  }
  template <class T>
  void Put(const std::vector<T>& values) {
    Varint(values.size());
    for (const T& value : values) Put(value);
  }
  void Put(const CoreList& cores) {
    Varint(cores.size());
    for (const CpuSet& core : cores) Put(core);
  }
  template <class T>
    requires std::is_class_v<T>
  void Put(const T& value) {
    Fields(*this, value);
  }

  std::string out_;
};

// Reads what Encoder wrote. After the first fault it reads nothing more, and ok() is false.
class Decoder {
 public:
  explicit Decoder(std::string_view in) : in_(in) {}

  template <class... V>
  void operator()(V&... values) {
    (Get(values), ...);
  }
  bool ok() const { return ok_; }
  bool AtEnd() const { return ok_ && in_.empty(); }
  uint8_t version() const { return version_; }
  void set_version(uint8_t version) { version_ = version; }

 private:
  void Fail() {
    ok_ = false;
    in_ = {};
  }
  uint8_t Byte() {
    if (in_.empty()) {
      Fail();
      return 0;
    }
    auto byte = static_cast<uint8_t>(in_.front());
    in_.remove_prefix(1);
    return byte;
  }
  uint64_t Varint(uint64_t limit = UINT64_MAX) {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      uint8_t byte = Byte();
      uint64_t bits = byte & 0x7F;
      if (shift == 63 && bits > 1) break;
      value |= bits << shift;
      if (byte >= 0x80) continue;
      if (value > limit) break;
      return value;
    }
    Fail();
    return 0;
  }
  // Each entry takes at least one byte, so that a length cannot ask for more memory than the record has
  // bytes.
  size_t Length() {
    uint64_t length = Varint();
    if (length <= in_.size()) return length;
    Fail();
    return 0;
  }

  template <class T>
    requires std::unsigned_integral<T>
  void Get(T& value) {
    value = static_cast<T>(Varint(std::numeric_limits<T>::max()));
  }
  // Amounts: stored ones are never negative.
  void Get(int32_t& value) { value = static_cast<int32_t>(Varint(INT32_MAX)); }
  template <class T>
    requires std::is_enum_v<T> && std::same_as<std::underlying_type_t<T>, uint32_t>
  void Get(T& value) {
    value = static_cast<T>(Varint(UINT32_MAX));
  }
  void Get(placement::TreeOwner& value) { value = static_cast<placement::TreeOwner>(Varint(1)); }
  void Get(bool& value) { value = Varint(1) == 1; }
  void Get(placement::DeviceType& value) { value = static_cast<placement::DeviceType>(Varint(2)); }
  void Get(placement::ServerGroupPolicy& value) {
    value = static_cast<placement::ServerGroupPolicy>(Varint(3));
  }
  void Get(placement::ClaimPhase& value) { value = static_cast<placement::ClaimPhase>(Varint(1)); }
  void Get(placement::InstanceState& value) { value = static_cast<placement::InstanceState>(Varint(6)); }
  void Get(double& value) {
    uint64_t bits = 0;
    for (int i = 0; i < 8; ++i) bits |= uint64_t{Byte()} << (8 * i);
    value = std::bit_cast<double>(bits);
  }
  void Get(std::string& value) {
    size_t length = Length();
    value = in_.substr(0, length);
    in_.remove_prefix(length);
  }
  void Get(Uuid& value) {
    for (uint8_t& byte : value.bytes) byte = Byte();
  }
  void Get(MacAddress& value) {
    for (uint8_t& byte : value) byte = Byte();
  }
  void Get(PciAddress& value) {
    auto key = static_cast<uint32_t>(Varint(UINT32_MAX));
    value.domain = static_cast<uint16_t>(key >> 16);
    value.bus = static_cast<uint8_t>(key >> 8);
    value.slot = static_cast<uint8_t>(key >> 3 & 0x1F);
    value.function = static_cast<uint8_t>(key & 7);
  }
  void Get(CpuSet& value) {
    value = {};
    uint64_t cpu = 0;
    for (size_t runs = Length(); ok_ && runs > 0; --runs) {
      uint64_t first = cpu + Varint(CpuSet::kMaxCpu);
      uint64_t last = first + Varint(CpuSet::kMaxCpu);
      if (last > CpuSet::kMaxCpu) return Fail();
      for (cpu = first; cpu < last; ++cpu) value.Add(static_cast<uint32_t>(cpu));
      value.Add(static_cast<uint32_t>(last));
    }
  }
  template <class T>
  void Get(std::optional<T>& value) {
    value.reset();
    if (Varint(1) == 1) Get(value.emplace());
  }
  template <class T>
  void Get(std::vector<T>& values) {
    values.clear();
    for (size_t count = Length(); ok_ && count > 0; --count) Get(values.emplace_back());
  }
  void Get(CoreList& cores) { Get(cores.Own()); }
  template <class T>
    requires std::is_class_v<T>
  void Get(T& value) {
    Fields(*this, value);
  }

  std::string_view in_;
  bool ok_ = true;
  uint8_t version_ = kVersion;
};

template <class T>
std::string Encode(const T& value) {
  Encoder encoder;
  encoder(kVersion, value);
  return encoder.Take();
}

template <class T>
Result<T> Decode(std::string_view bytes, const char* what) {
  Decoder decoder(bytes);
  uint8_t version = 0;
  T value;
  decoder(version);
  if (decoder.ok() && (version == 0 || version > kVersion)) {
    return DataLoss(std::string(what) + " of version " + std::to_string(version) + ", known are 1 to " +
                    std::to_string(kVersion));
  }
  decoder.set_version(version);
  decoder(value);
  if (!decoder.AtEnd()) {
    return DataLoss(std::string(what) + " of " + std::to_string(bytes.size()) + " bytes cannot be read");
  }
  return value;
}

}  // namespace

std::string EncodeReport(const HostReport& report) {
  return Encode(report);
}

std::string EncodeClaim(const Claim& claim) {
  return Encode(claim);
}

std::string EncodeProvider(const placement::Provider& provider, placement::TreeOwner owner) {
  return Encode(ProviderRecord{provider, owner});
}

std::string EncodeGenerations(const std::vector<uint64_t>& generations) {
  return Encode(generations);
}

std::string EncodeConsumer(const placement::Consumer& consumer) {
  return Encode(consumer);
}

std::string EncodeContents(const Contents& contents) {
  Encoder encoder;
  encoder(contents.sequence, contents.hosts.size());
  for (const HostRecord& host : contents.hosts) encoder(host.generation, *host.reported, *host.effective);
  encoder(contents.claims.size());
  for (const auto& claim : contents.claims) encoder(*claim);
  encoder(contents.events.size());
  for (const auto& event : contents.events) {
    encoder(event->sequence, event->kind, event->host, event->generation, event->at_ms,
            event->report != nullptr, event->claim != nullptr);
    if (event->report) encoder(*event->report);
    if (event->claim) encoder(*event->claim);
  }
  encoder(contents.audit, contents.names.size());
  for (const NameRecord& name : contents.names) {
    encoder(name.kind, name.id, name.name, name.created_at_ms, name.updated_at_ms);
  }
  encoder(contents.providers.size());
  for (const ProviderRecord& record : contents.providers) {
    encoder(record.provider.uuid, record.provider.name, record);
  }
  encoder(contents.generations.size());
  for (const TreeGenerations& tree : contents.generations) encoder(tree.root, tree.generations);
  encoder(contents.consumers.size());
  for (const auto& consumer : contents.consumers) encoder(consumer->uuid, *consumer);
  return encoder.Take();
}

Result<HostReport> DecodeReport(std::string_view bytes) {
  return Decode<HostReport>(bytes, "host report");
}

Result<Claim> DecodeClaim(std::string_view bytes) {
  return Decode<Claim>(bytes, "claim");
}

Result<ProviderRecord> DecodeProvider(std::string_view bytes) {
  return Decode<ProviderRecord>(bytes, "provider");
}

Result<std::vector<uint64_t>> DecodeGenerations(std::string_view bytes) {
  return Decode<std::vector<uint64_t>>(bytes, "generations of a tree");
}

Result<placement::Consumer> DecodeConsumer(std::string_view bytes) {
  return Decode<placement::Consumer>(bytes, "consumer");
}

}  // namespace berth::db
