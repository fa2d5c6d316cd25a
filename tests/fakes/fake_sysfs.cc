#include "tests/fakes/fake_sysfs.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "common/status.h"

namespace berth::fakes {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kPageBytes = 4096;

std::string Hex(uint32_t value, int digits) {
  std::array<char, 16> text;
  std::snprintf(text.data(), text.size(), "%0*x", digits, value);
  return text.data();
}

// "0000000f,00ff00ff", as long as the highest CPU of the machine needs.
std::string Mask(const CpuSet& set, uint32_t highest) {
  std::string text;
  for (uint32_t word = highest / 32 + 1; word-- > 0;) {
    uint32_t bits = 0;
    for (uint32_t bit = 0; bit < 32; ++bit) {
      if (set.Contains(word * 32 + bit)) bits |= uint32_t{1} << bit;
    }
    if (!text.empty()) text += ',';
    text += Hex(bits, 8);
  }
  return text + "\n";
}

std::string List(const CpuSet& set) {
  return set.ToString() + "\n";
}

std::string Number(uint64_t value) {
  return std::to_string(value) + "\n";
}

}  // namespace

FakeNode& FakeNode::Cpus(std::string_view list) {
  Result<CpuSet> cpus = CpuSet::Parse(list);
  CHECK(cpus.has_value());
  cpus_ = *std::move(cpus);
  return *this;
}

std::vector<CpuSet> FakeNode::Cores() const {
  std::vector<uint32_t> cpus = cpus_.ToVector();
  size_t count = (cpus.size() + threads_per_core_ - 1) / threads_per_core_;
  std::vector<CpuSet> cores(count);
  for (size_t i = 0; i < cpus.size(); ++i) cores[i % count].Add(cpus[i]);
  return cores;
}

FakePciDevice& FakePciDevice::Vfs(uint32_t count, std::string_view product, std::string_view driver,
                                  uint32_t offset, uint32_t stride) {
  vf_count_ = count;
  vf_product_ = product;
  vf_driver_ = driver;
  vf_offset_ = offset;
  vf_stride_ = stride;
  total_vfs_ = std::max(total_vfs_.value_or(0), count);
  return *this;
}

PciAddress FakePciDevice::VfAddress(uint32_t index) const {
  uint32_t rid = (address_.ToKey() & 0xffff) + vf_offset_ + index * vf_stride_;
  CHECK(rid <= 0xffff);
  return {address_.domain, static_cast<uint8_t>(rid >> 8), static_cast<uint8_t>(rid >> 3 & 0x1f),
          static_cast<uint8_t>(rid & 7)};
}

FakeNode& FakeSysfs::Node(uint32_t id) {
  auto found = std::find_if(nodes_.begin(), nodes_.end(), [&](const FakeNode& n) { return n.id_ == id; });
  return found != nodes_.end() ? *found : nodes_.emplace_back(id);
}

FakePciDevice& FakeSysfs::Device(std::string_view address) {
  Result<PciAddress> parsed = PciAddress::Parse(address);
  CHECK(parsed.has_value());
  auto found = std::find_if(devices_.begin(), devices_.end(),
                            [&](const FakePciDevice& d) { return d.address_ == *parsed; });
  return found != devices_.end() ? *found : devices_.emplace_back(*parsed);
}

void FakeSysfs::RemoveDevice(std::string_view address) {
  std::erase_if(devices_, [&](const FakePciDevice& d) { return d.address_.ToString() == address; });
}

FakeSysfs& FakeSysfs::OfflineCpus(std::string_view list) {
  Result<CpuSet> cpus = CpuSet::Parse(list);
  CHECK(cpus.has_value());
  offline_ = *std::move(cpus);
  return *this;
}

FakeSysfs& FakeSysfs::File(std::string_view path, std::string_view content) {
  files_.emplace_back(path, content);
  return *this;
}

FakeSysfs& FakeSysfs::Link(std::string_view path, std::string_view target) {
  links_.emplace_back(path, target);
  return *this;
}

FakeSysfs& FakeSysfs::WithoutFile(std::string_view path) {
  removed_.emplace_back(path);
  return *this;
}

void FakeSysfs::Put(const fs::path& path, std::string_view content) {
  fs::path full = folder_.path() / path;
  fs::create_directories(full.parent_path());
  std::FILE* file = std::fopen(full.c_str(), "w");
  CHECK(file != nullptr);
  CHECK(std::fwrite(content.data(), 1, content.size(), file) == content.size());
  std::fclose(file);
}

// `target` is relative to the root; the link itself is relative, as in /sys.
void FakeSysfs::PutLink(const fs::path& path, const fs::path& target) {
  fs::path full = folder_.path() / path;
  fs::create_directories(full.parent_path());
  fs::create_symlink(target.lexically_relative(path.parent_path()), full);
}

void FakeSysfs::WriteCpus() {
  CpuSet all;
  for (const FakeNode& node : nodes_) all |= node.cpus_;
  CpuSet online = all - offline_;
  uint32_t highest = all.empty() ? 0 : all.ToVector().back();
  fs::path cpus = "sys/devices/system/cpu";
  Put(cpus / "online", List(online));
  Put(cpus / "offline", List(all - online));
  Put(cpus / "present", List(all));
  Put(cpus / "possible", List(all));
  bool smt = false;
  for (const FakeNode& node : nodes_) {
    CpuSet package;
    for (const FakeNode& other : nodes_) {
      if (other.socket_ == node.socket_) package |= other.cpus_ & online;
    }
    for (const CpuSet& whole : node.Cores()) {
      CpuSet core = whole & online;
      smt = smt || core.Count() > 1;
      for (uint32_t cpu : whole.ToVector()) {
        fs::path one = cpus / ("cpu" + std::to_string(cpu));
        if (cpu != 0) Put(one / "online", Number(online.Contains(cpu) ? 1 : 0));
        PutLink(one / ("node" + std::to_string(node.id_)),
                "sys/devices/system/node/node" + std::to_string(node.id_));
        if (!online.Contains(cpu)) continue;
        fs::path topology = one / "topology";
        Put(topology / "physical_package_id", Number(node.socket_));
        Put(topology / "core_id", Number(whole.First()));
        for (const char* name : {"thread_siblings", "core_cpus"}) Put(topology / name, Mask(core, highest));
        Put(topology / "thread_siblings_list", List(core));
        Put(topology / "core_cpus_list", List(core));
        for (const char* name : {"core_siblings", "package_cpus"})
          Put(topology / name, Mask(package, highest));
      }
    }
  }
  Put(cpus / "smt/active", smt ? "1\n" : "0\n");
  Put(cpus / "smt/control", smt ? "on\n" : "notsupported\n");
}

void FakeSysfs::WriteNodes() {
  std::vector<const FakeNode*> nodes;
  CpuSet ids;
  uint32_t highest = 0;
  for (const FakeNode& node : nodes_) {
    nodes.push_back(&node);
    ids.Add(node.id_);
    if (!node.cpus_.empty()) highest = std::max(highest, node.cpus_.ToVector().back());
  }
  std::sort(nodes.begin(), nodes.end(), [](auto* a, auto* b) { return a->id_ < b->id_; });
  Put("sys/devices/system/node/online", List(ids));
  for (const FakeNode* node : nodes) {
    fs::path folder = "sys/devices/system/node/node" + std::to_string(node->id_);
    CpuSet online = node->cpus_ - offline_;
    Put(folder / "cpulist", List(online));
    Put(folder / "cpumap", Mask(online, highest));
    std::string distances;
    for (size_t i = 0; i < nodes.size(); ++i) {
      uint32_t distance = nodes[i] == node ? 10 : 20;
      if (i < node->distances_.size()) distance = node->distances_[i];
      distances += (i == 0 ? "" : " ") + std::to_string(distance);
    }
    Put(folder / "distance", distances + "\n");
    std::string prefix = "Node " + std::to_string(node->id_) + " ";
    std::string kib = std::to_string(node->memory_.bytes() >> 10);
    Put(folder / "meminfo", prefix + "MemTotal:       " + kib + " kB\n" + prefix + "MemFree:        " + kib +
                                " kB\n" + prefix + "MemUsed:              0 kB\n");
    for (const FakeNode::Pool& pool : node->pools_) {
      fs::path pages = folder / "hugepages" / ("hugepages-" + std::to_string(pool.size.bytes() >> 10) + "kB");
      Put(pages / "nr_hugepages", Number(pool.total));
      Put(pages / "free_hugepages", Number(pool.free));
      Put(pages / "surplus_hugepages", Number(0));
    }
  }
}

void FakeSysfs::WriteProcAndEtc() {
  uint64_t memory = 0;
  std::string cpuinfo;
  for (const FakeNode& node : nodes_) {
    memory += node.memory_.bytes();
    for (uint32_t cpu : (node.cpus_ - offline_).ToVector()) {
      cpuinfo += "processor\t: " + std::to_string(cpu) + "\n\n";
    }
  }
  Put("proc/cpuinfo", cpuinfo);
  Put("proc/meminfo", "MemTotal:       " + std::to_string(memory >> 10) + " kB\nMemFree:        " +
                          std::to_string(memory >> 10) + " kB\nHugepagesize:       2048 kB\n");
  Put("proc/cmdline", command_line_ + "\n");
  Put("proc/version", "Linux version " + kernel_release_ + " (build@fake) #1 SMP\n");
  Put("proc/sys/kernel/osrelease", kernel_release_ + "\n");
  Put("proc/sys/kernel/hostname", hostname_ + "\n");
  Put("proc/sys/vm/overcommit_memory", Number(overcommit_memory_));
  Put("etc/os-release", "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID=\"12\"\n");
  Put("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
  if (kvm_) Put("dev/kvm", "");
  if (!iommu_) return;
  Put("dev/vfio/vfio", "");
  Put("sys/class/iommu/dmar0/intel-iommu/version", "1:0\n");
  fs::create_directories(path() / "sys/bus/pci/drivers/vfio-pci");
}

void FakeSysfs::WriteDevice(const FakePciDevice& device, std::optional<uint32_t> group) {
  std::string address = device.address_.ToString();
  fs::path folder = fs::path("sys/devices") / ("pci" + address.substr(0, 7)) / address;
  PutLink(fs::path("sys/bus/pci/devices") / address, folder);
  Put(folder / "vendor", "0x" + device.vendor_ + "\n");
  Put(folder / "device", "0x" + device.product_ + "\n");
  Put(folder / "class", "0x" + Hex(device.class_code_, 6) + "\n");
  Put(folder / "numa_node", std::to_string(device.numa_node_) + "\n");
  if (!device.driver_.empty()) {
    fs::path driver = fs::path("sys/bus/pci/drivers") / device.driver_;
    fs::create_directories(path() / driver);
    PutLink(folder / "driver", driver);
    PutLink(driver / address, folder);
  }
  if (group.has_value()) {
    fs::path groups = fs::path("sys/kernel/iommu_groups") / std::to_string(*group);
    PutLink(folder / "iommu_group", groups);
    PutLink(groups / "devices" / address, folder);
  }
  for (const std::string& netdev : device.netdevs_) {
    Put(folder / "net" / netdev / "operstate", "up\n");
    PutLink(fs::path("sys/class/net") / netdev, folder / "net" / netdev);
  }
  if (device.total_vfs_.has_value()) {
    Put(folder / "sriov_totalvfs", Number(*device.total_vfs_));
    Put(folder / "sriov_numvfs", Number(device.vf_count_));
    Put(folder / "sriov_offset", Number(device.vf_offset_));
    Put(folder / "sriov_stride", Number(device.vf_stride_));
  }
  if (device.physfn_.has_value()) {
    std::string pf = device.physfn_->ToString();
    PutLink(folder / "physfn", fs::path("sys/devices") / ("pci" + pf.substr(0, 7)) / pf);
  }
}

void FakeSysfs::WriteVfs(const FakePciDevice& pf, const fs::path& pf_folder, uint32_t& next_group) {
  for (uint32_t i = 0; i < pf.vf_count_; ++i) {
    FakePciDevice vf(pf.VfAddress(i));
    vf.Id(pf.vendor_, pf.vf_product_).Class(pf.class_code_).Driver(pf.vf_driver_);
    vf.numa_node_ = pf.numa_node_;
    vf.physfn_ = pf.address_;
    bool grouped = iommu_ || pf.iommu_group_.has_value();
    WriteDevice(vf, grouped ? std::optional<uint32_t>(next_group++) : std::nullopt);
    std::string address = vf.address_.ToString();
    PutLink(pf_folder / ("virtfn" + std::to_string(i)),
            fs::path("sys/devices") / ("pci" + address.substr(0, 7)) / address);
  }
}

void FakeSysfs::Write() {
  for (const auto& entry : fs::directory_iterator(path())) fs::remove_all(entry.path());
  WriteCpus();
  WriteNodes();
  WriteProcAndEtc();
  uint32_t next_group = 0;
  for (const FakePciDevice& device : devices_) {
    next_group = std::max(next_group, device.iommu_group_.value_or(0) + 1);
  }
  for (const FakePciDevice& device : devices_) {
    std::optional<uint32_t> group = device.iommu_group_;
    if (!group.has_value() && iommu_) group = next_group++;
    WriteDevice(device, group);
    std::string address = device.address_.ToString();
    WriteVfs(device, fs::path("sys/devices") / ("pci" + address.substr(0, 7)) / address, next_group);
  }
  for (const auto& [path, content] : files_) Put(path, content);
  for (const auto& [path, target] : links_) {
    fs::create_directories((folder_.path() / path).parent_path());
    fs::remove(folder_.path() / path);
    fs::create_symlink(target, folder_.path() / path);
  }
  for (const std::string& path : removed_) fs::remove_all(folder_.path() / path);
}

agent::Root FakeSysfs::Open() {
  Write();
  Result<agent::Root> root = agent::Root::Open(path().string());
  CHECK(root.has_value());
  return *std::move(root);
}

}  // namespace berth::fakes
