#include "placement/model/claim_codec.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "common/varint.h"

namespace berth::placement {
namespace {

// What of a claim is there, beside its name and what the instance asks for.
enum Part : uint64_t {
  kReleasing = 1,
  kOtherHost = 2,
  kCells = 4,
  kDevices = 8,
  kFiles = 16,  // what the agent boots and attaches
  kStatus = 32,
  kExternal = 64,
  kGroup = 128,
  kReservation = 256,
  kSwapped = 512,
  kDisk = 1024,
  kStaysStopped = 2048,
};

class Writer {
 public:
  explicit Writer(std::string& out) : out_(out) {}

  void Number(uint64_t value) { AppendVarint(out_, value); }
  // Figures near zero of either sign are small.
  void Signed(int64_t value) {
    Number(static_cast<uint64_t>(value) << 1 ^ static_cast<uint64_t>(value >> 63));
  }
  // Mostly whole pages or mebibytes: zeros at the end take no room.
  void Bytes(uint64_t value) {
    const bool whole = value % kUnit == 0;
    Number(whole ? value / kUnit << 1 : 1);
    if (!whole) Number(value);
  }
  void Text(std::string_view text) {
    Number(text.size());
    out_ += text;
  }
  void Texts(const std::vector<std::string>& texts) {
    Number(texts.size());
    for (const std::string& text : texts) Text(text);
  }
  void Id(const Uuid& id) { out_.append(reinterpret_cast<const char*>(id.bytes.data()), id.bytes.size()); }
  // Runs, each its length and how many CPUs are left out before it; then 0.
  void Cpus(const CpuSet& cpus) {
    uint32_t next = 0;  // the first CPU after the run before
    for (uint32_t first = cpus.First(); first != CpuSet::kNone;) {
      uint32_t last = first;
      uint32_t after = cpus.NextAfter(last);
      for (; after == last + 1; after = cpus.NextAfter(last)) last = after;
      Number(last - first + 1);
      Number(first - next);
      next = last + 1;
      first = after;
    }
    Number(0);
  }

  static constexpr uint64_t kUnit = 4096;

 private:
  std::string& out_;
};

// Bytes that are not a claim's end early for it: what is left then is 0 and empty.
class Reader {
 public:
  explicit Reader(std::string_view in) : in_(in) {}

  uint64_t Number() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64 && at_ < in_.size(); shift += 7) {
      const auto byte = static_cast<uint8_t>(in_[at_++]);
      value |= uint64_t{byte & 0x7fU} << shift;
      if (byte < 0x80) return value;
    }
    at_ = in_.size();
    return 0;
  }
  uint32_t Short() { return static_cast<uint32_t>(Number()); }
  // How many things follow, each of a byte at least.
  size_t Count() {
    const uint64_t count = Number();
    return std::min<uint64_t>(count, in_.size() - at_);
  }
  int64_t Signed() {
    const uint64_t value = Number();
    return static_cast<int64_t>(value >> 1 ^ (~(value & 1) + 1));
  }
  uint64_t Bytes() {
    const uint64_t value = Number();
    return (value & 1) == 0 ? (value >> 1) * Writer::kUnit : Number();
  }
  std::string_view Text() {
    const size_t size = Count();
    at_ += size;
    return in_.substr(at_ - size, size);
  }
  std::vector<std::string> Texts() {
    std::vector<std::string> texts(Count());
    for (std::string& text : texts) text = Text();
    return texts;
  }
  Uuid Id() {
    Uuid id;
    const size_t size = std::min(id.bytes.size(), in_.size() - at_);
    std::copy_n(in_.data() + at_, size, reinterpret_cast<char*>(id.bytes.data()));
    at_ += size;
    return id;
  }
  CpuSet Cpus() {
    CpuSet cpus;
    uint64_t cpu = 0;
    for (uint64_t size = Number(); size > 0; size = Number()) {
      cpu += Number();
      for (; size > 0 && cpu <= CpuSet::kMaxCpu; --size) cpus.Add(static_cast<uint32_t>(cpu++));
    }
    return cpus;
  }

 private:
  std::string_view in_;
  size_t at_ = 0;
};

// CPUs that follow each other, as the guest's do, take a byte each.
void WritePinning(const std::vector<std::pair<uint32_t, uint32_t>>& pinning, Writer& out) {
  out.Number(pinning.size());
  int64_t next_guest = 0;
  int64_t next_host = 0;
  for (auto [guest, host] : pinning) {
    out.Signed(guest - next_guest);
    out.Signed(host - next_host);
    next_guest = int64_t{guest} + 1;
    next_host = int64_t{host} + 1;
  }
}

std::vector<std::pair<uint32_t, uint32_t>> ReadPinning(Reader& in) {
  std::vector<std::pair<uint32_t, uint32_t>> pinning(in.Count());
  uint32_t next_guest = 0;
  uint32_t next_host = 0;
  for (auto& [guest, host] : pinning) {
    guest = next_guest + static_cast<uint32_t>(in.Signed());
    host = next_host + static_cast<uint32_t>(in.Signed());
    next_guest = guest + 1;
    next_host = host + 1;
  }
  return pinning;
}

void WriteCell(const CellBinding& cell, Writer& out) {
  out.Number(cell.guest_cell);
  out.Number(cell.host_cell);
  out.Cpus(cell.vcpus);
  WritePinning(cell.pinning, out);
  out.Cpus(cell.reserved);
  out.Bytes(cell.memory_bytes);
  out.Bytes(cell.page_size_bytes);
  out.Number(cell.secure ? 1 : 0);
  out.Bytes(cell.swiotlb_bytes);
}

CellBinding ReadCell(Reader& in) {
  CellBinding cell;
  cell.guest_cell = in.Short();
  cell.host_cell = in.Short();
  cell.vcpus = in.Cpus();
  cell.pinning = ReadPinning(in);
  cell.reserved = in.Cpus();
  cell.memory_bytes = in.Bytes();
  cell.page_size_bytes = in.Bytes();
  cell.secure = in.Number() != 0;
  cell.swiotlb_bytes = in.Bytes();
  return cell;
}

// 0: not set, else one more than the value.
void WriteOptional(const std::optional<bool>& value, Writer& out) {
  out.Number(value ? 1U + (*value ? 1U : 0U) : 0U);
}

std::optional<bool> ReadOptional(Reader& in) {
  const uint64_t value = in.Number();
  if (value == 0) return std::nullopt;
  return value == 2;
}

void WritePort(const PortSettings& port, Writer& out) {
  out.Number(port.mac ? 1 : 0);
  if (port.mac) {
    for (uint8_t byte : *port.mac) out.Number(byte);
  }
  out.Number(port.vlan);
  WriteOptional(port.trusted, out);
  WriteOptional(port.spoof_check, out);
}

PortSettings ReadPort(Reader& in) {
  PortSettings port;
  if (in.Number() != 0) {
    port.mac.emplace();
    for (uint8_t& byte : *port.mac) byte = static_cast<uint8_t>(in.Number());
  }
  port.vlan = static_cast<uint16_t>(in.Number());
  port.trusted = ReadOptional(in);
  port.spoof_check = ReadOptional(in);
  return port;
}

void WriteDevice(const DeviceBinding& device, Writer& out) {
  out.Number(device.request);
  out.Number(device.address.domain);
  out.Number(device.address.bus);
  out.Number(device.address.slot);
  out.Number(device.address.function);
  out.Text(device.alias);
  out.Number(device.numa_node ? uint64_t{*device.numa_node} + 1 : 0);
  out.Number((device.leaving ? 1U : 0U) | (device.port.any() ? 2U : 0U));
  if (device.port.any()) WritePort(device.port, out);
}

DeviceBinding ReadDevice(Reader& in) {
  DeviceBinding device;
  device.request = in.Short();
  device.address.domain = static_cast<uint16_t>(in.Number());
  device.address.bus = static_cast<uint8_t>(in.Number());
  device.address.slot = static_cast<uint8_t>(in.Number());
  device.address.function = static_cast<uint8_t>(in.Number());
  device.alias = in.Text();
  if (const uint64_t node = in.Number(); node > 0) device.numa_node = static_cast<NumaNode>(node - 1);
  const uint64_t flags = in.Number();
  device.leaving = (flags & 1) != 0;
  if ((flags & 2) != 0) device.port = ReadPort(in);
  return device;
}

// Does not compile when there is a field that nothing here packs: add it there and in the test, then here.
[[maybe_unused]] void NameFields(const Claim& claim, const CellBinding& cell, const DeviceBinding& device,
                                 const PortSettings& port, const ServerGroup& group) {
  [[maybe_unused]] const auto& [consumer, name, host, phase, cells, devices, spec, status, created_at_ms,
                                external, member_of, reserved_for, swapped, stays_stopped] = claim;
  [[maybe_unused]] const auto& [flavor, vcpus, memory, kernel, initramfs, cmdline, disks, nets, disk_bytes,
                                viommu] = claim.spec;
  [[maybe_unused]] const auto& [state, detail, observed_at_ms] = claim.status;
  [[maybe_unused]] const auto& [guest_cell, host_cell, cell_vcpus, pinning, reserved, memory_bytes, page_size,
                                secure, swiotlb_bytes] = cell;
  [[maybe_unused]] const auto& [request, address, alias, numa_node, settings, leaving] = device;
  [[maybe_unused]] const auto& [mac, vlan, trusted, spoof_check] = port;
  [[maybe_unused]] const auto& [group_name, policy, max_per_host] = group;
}

bool HasFiles(const InstanceSpec& spec) {
  return !spec.kernel.empty() || !spec.initramfs.empty() || !spec.cmdline.empty() || !spec.disks.empty() ||
         !spec.nets.empty() || !spec.viommu.empty();
}

uint64_t PartsOf(const Claim& claim, const Uuid& host) {
  auto part = [](bool there, Part bit) { return there ? bit : uint64_t{0}; };
  return part(claim.phase == ClaimPhase::kReleasing, kReleasing) | part(claim.host != host, kOtherHost) |
         part(!claim.cells.empty(), kCells) | part(!claim.devices.empty(), kDevices) |
         part(HasFiles(claim.spec), kFiles) | part(claim.status != InstanceStatus{}, kStatus) |
         part(claim.external, kExternal) | part(claim.group.has_value(), kGroup) |
         part(!claim.reserved_for.is_nil(), kReservation) | part(claim.swapped, kSwapped) |
         part(claim.spec.disk_bytes != 0, kDisk) | part(claim.stays_stopped, kStaysStopped);
}

}  // namespace

void PackClaim(const Claim& claim, const Uuid& host, std::string& to) {
  Writer out(to);
  out.Text(claim.name);
  const uint64_t parts = PartsOf(claim, host);
  out.Number(parts);
  out.Text(claim.spec.flavor);
  out.Number(claim.spec.vcpus);
  out.Bytes(claim.spec.memory_bytes);
  out.Number(claim.created_at_ms);
  if ((parts & kOtherHost) != 0) out.Id(claim.host);
  if ((parts & kCells) != 0) {
    out.Number(claim.cells.size());
    for (const CellBinding& cell : claim.cells) WriteCell(cell, out);
  }
  if ((parts & kDevices) != 0) {
    out.Number(claim.devices.size());
    for (const DeviceBinding& device : claim.devices) WriteDevice(device, out);
  }
  if ((parts & kFiles) != 0) {
    for (const std::string* text : {&claim.spec.kernel, &claim.spec.initramfs, &claim.spec.cmdline})
      out.Text(*text);
    out.Texts(claim.spec.disks);
    out.Texts(claim.spec.nets);
    out.Text(claim.spec.viommu);
  }
  if ((parts & kDisk) != 0) out.Bytes(claim.spec.disk_bytes);
  if ((parts & kStatus) != 0) {
    out.Number(static_cast<uint64_t>(claim.status.state));
    out.Text(claim.status.detail);
    out.Number(claim.status.observed_at_ms);
  }
  if ((parts & kGroup) != 0) {
    out.Text(claim.group->name);
    out.Number(static_cast<uint64_t>(claim.group->policy));
    out.Number(claim.group->max_per_host);
  }
  if ((parts & kReservation) != 0) out.Id(claim.reserved_for);
}

Claim UnpackClaim(std::string_view packed, const Uuid& consumer, const Uuid& host) {
  Reader in(packed);
  Claim claim;
  claim.consumer = consumer;
  claim.name = in.Text();
  const uint64_t parts = in.Number();
  claim.phase = (parts & kReleasing) != 0 ? ClaimPhase::kReleasing : ClaimPhase::kActive;
  claim.external = (parts & kExternal) != 0;
  claim.swapped = (parts & kSwapped) != 0;
  claim.stays_stopped = (parts & kStaysStopped) != 0;
  claim.spec.flavor = in.Text();
  claim.spec.vcpus = in.Short();
  claim.spec.memory_bytes = in.Bytes();
  claim.created_at_ms = in.Number();
  claim.host = (parts & kOtherHost) != 0 ? in.Id() : host;
  if ((parts & kCells) != 0) {
    claim.cells.resize(in.Count());
    for (CellBinding& cell : claim.cells) cell = ReadCell(in);
  }
  if ((parts & kDevices) != 0) {
    claim.devices.resize(in.Count());
    for (DeviceBinding& device : claim.devices) device = ReadDevice(in);
  }
  if ((parts & kFiles) != 0) {
    for (std::string* text : {&claim.spec.kernel, &claim.spec.initramfs, &claim.spec.cmdline})
      *text = in.Text();
    claim.spec.disks = in.Texts();
    claim.spec.nets = in.Texts();
    claim.spec.viommu = in.Text();
  }
  if ((parts & kDisk) != 0) claim.spec.disk_bytes = in.Bytes();
  if ((parts & kStatus) != 0) {
    claim.status.state = static_cast<InstanceState>(in.Number());
    claim.status.detail = in.Text();
    claim.status.observed_at_ms = in.Number();
  }
  if ((parts & kGroup) != 0) {
    claim.group.emplace();
    claim.group->name = in.Text();
    claim.group->policy = static_cast<ServerGroupPolicy>(in.Number());
    claim.group->max_per_host = in.Short();
  }
  if ((parts & kReservation) != 0) claim.reserved_for = in.Id();
  return claim;
}

std::string_view NameOfPacked(std::string_view packed) {
  return Reader(packed).Text();
}

}  // namespace berth::placement
