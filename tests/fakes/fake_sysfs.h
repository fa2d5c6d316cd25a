#pragma once

#include <cstdint>
#include <filesystem>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/byte_size.h"
#include "common/cpu_set.h"
#include "common/pci_address.h"
#include "compute-agent/inventory/root.h"
#include "tests/fakes/temp_folder.h"

namespace berth::fakes {

// One NUMA node of a FakeSysfs. CPUs are cut into cores of `threads_per_core` in the order of the list, so
// that Cpus("0-3,8-11") with 2 threads has the cores 0+8, 1+9, 2+10, 3+11 (the first half are the first
// threads).
class FakeNode {
 public:
  explicit FakeNode(uint32_t id) : id_(id) {}

  FakeNode& Socket(uint32_t socket) { return socket_ = socket, *this; }
  FakeNode& Cpus(std::string_view list);  // aborts on a bad list
  FakeNode& ThreadsPerCore(uint32_t threads) { return threads_per_core_ = threads, *this; }
  FakeNode& Memory(ByteSize total) { return memory_ = total, *this; }
  FakeNode& HugePages(ByteSize size, uint64_t total, uint64_t free) {
    return pools_.push_back({size, total, free}), *this;
  }
  // One column a node, as the kernel writes it; without it 10 for itself and 20 for every other.
  FakeNode& Distances(std::vector<uint32_t> distances) { return distances_ = std::move(distances), *this; }

 private:
  friend class FakeSysfs;
  struct Pool {
    ByteSize size;
    uint64_t total;
    uint64_t free;
  };
  std::vector<CpuSet> Cores() const;

  uint32_t id_;
  uint32_t socket_ = 0;
  CpuSet cpus_;
  uint32_t threads_per_core_ = 1;
  ByteSize memory_;
  std::vector<Pool> pools_;
  std::vector<uint32_t> distances_;
};

// One PCI function of a FakeSysfs, with its VFs if it is a PF.
class FakePciDevice {
 public:
  explicit FakePciDevice(PciAddress address) : address_(address) {}

  FakePciDevice& Id(std::string_view vendor, std::string_view product) {
    return vendor_ = vendor, product_ = product, *this;
  }
  FakePciDevice& Class(uint32_t code) { return class_code_ = code, *this; }
  FakePciDevice& OnNode(uint32_t node) { return numa_node_ = static_cast<int64_t>(node), *this; }
  FakePciDevice& Driver(std::string_view driver) { return driver_ = driver, *this; }
  FakePciDevice& IommuGroup(uint32_t group) { return iommu_group_ = group, *this; }
  FakePciDevice& Netdev(std::string_view name) { return netdevs_.emplace_back(name), *this; }
  // Makes it a PF that can have `total` VFs (sriov_totalvfs).
  FakePciDevice& TotalVfs(uint32_t total) { return total_vfs_ = total, *this; }
  // Enables `count` VFs at the routing ids PF + offset + i * stride. They are on the PF's node, each in a
  // group of its own if the PF is in one. TotalVfs becomes at least `count`.
  FakePciDevice& Vfs(uint32_t count, std::string_view product, std::string_view driver = "",
                     uint32_t offset = 16, uint32_t stride = 1);

  const PciAddress& address() const { return address_; }
  PciAddress VfAddress(uint32_t index) const;

 private:
  friend class FakeSysfs;
  PciAddress address_;
  std::string vendor_ = "8086";
  std::string product_ = "1234";
  uint32_t class_code_ = 0x020000;
  int64_t numa_node_ = -1;
  std::string driver_;
  std::optional<uint32_t> iommu_group_;
  std::vector<std::string> netdevs_;
  std::optional<uint32_t> total_vfs_;
  uint32_t vf_count_ = 0;
  uint32_t vf_offset_ = 16;
  uint32_t vf_stride_ = 1;
  std::string vf_product_;
  std::string vf_driver_;
  std::optional<PciAddress> physfn_;  // of a VF
};

// Writes a /sys, /proc, /etc and /dev tree of a machine into a temporary folder, which it removes at the end:
//
//   FakeSysfs host;
//   host.Node(0).Socket(0).Cpus("0-3").Memory(GiB(16)).HugePages(MiB(2), 512, 512);
//   host.Device("0000:41:00.0").Id("8086", "1572").OnNode(0).Driver("i40e").Vfs(4, "154c", "iavf");
//   HostInventory inventory = Discover(host.Open());
//
// Symbolic links, files and their forms are those of Linux 6.1. Not thread-safe.
class FakeSysfs {
 public:
  FakeSysfs() = default;

  // The node or device with this number or address, made at the first call. The reference stays valid until
  // it is removed.
  FakeNode& Node(uint32_t id);
  FakePciDevice& Device(std::string_view address);  // aborts on a bad address
  void RemoveDevice(std::string_view address);

  FakeSysfs& Hostname(std::string_view name) { return hostname_ = name, *this; }
  FakeSysfs& KernelRelease(std::string_view release) { return kernel_release_ = release, *this; }
  FakeSysfs& KernelCommandLine(std::string_view line) { return command_line_ = line, *this; }
  FakeSysfs& OfflineCpus(std::string_view list);  // of those that the nodes have
  FakeSysfs& OvercommitMemory(uint32_t value) { return overcommit_memory_ = value, *this; }
  FakeSysfs& Kvm(bool present) { return kvm_ = present, *this; }
  // The machine has an IOMMU: every device without a group gets one of its own; /dev/vfio/vfio exists.
  FakeSysfs& Iommu() { return iommu_ = true, *this; }

  // Anything else; `path` is relative to the root. Also overwrites what the builder writes.
  FakeSysfs& File(std::string_view path, std::string_view content);
  FakeSysfs& Link(std::string_view path, std::string_view target);
  FakeSysfs& WithoutFile(std::string_view path);  // removed after all else was written

  // Writes the whole tree anew as it is described now. Open() calls it.
  void Write();
  agent::Root Open();
  const std::filesystem::path& path() const { return folder_.path(); }

 private:
  void WriteCpus();
  void WriteNodes();
  void WriteProcAndEtc();
  void WriteDevice(const FakePciDevice& device, std::optional<uint32_t> group);
  void WriteVfs(const FakePciDevice& pf, const std::filesystem::path& pf_folder, uint32_t& next_group);
  void Put(const std::filesystem::path& path, std::string_view content);
  void PutLink(const std::filesystem::path& path, const std::filesystem::path& target);

  TempFolder folder_{"fake_sysfs"};
  std::list<FakeNode> nodes_;
  std::list<FakePciDevice> devices_;
  CpuSet offline_;
  std::string hostname_ = "fake-host";
  std::string kernel_release_ = "6.1.0-18-amd64";
  std::string command_line_ = "BOOT_IMAGE=/vmlinuz root=/dev/sda1 ro quiet";
  uint32_t overcommit_memory_ = 0;
  bool kvm_ = true;
  bool iommu_ = false;
  std::vector<std::pair<std::string, std::string>> files_;
  std::vector<std::pair<std::string, std::string>> links_;
  std::vector<std::string> removed_;
};

}  // namespace berth::fakes
