#pragma once

#include <string>

#include "compute-agent/inventory/discover.h"
#include "compute-agent/preflight/preflight.h"
#include "tests/fakes/fake_sysfs.h"

// Made-up hosts with all that their kernels show of confidential computing. Each passes every check.
namespace berth::agent {

inline std::string TmmNodeLines(uint32_t node, uint64_t size_mib, uint64_t used_mib, uint64_t metadata_mib) {
  std::string text;
  for (auto [what, mib] :
       {std::pair("size:", size_mib), std::pair("free:", size_mib - used_mib - metadata_mib),
        std::pair("cvm used:", used_mib), std::pair("meta_data used:", metadata_mib)}) {
    std::string name = "numa node " + std::to_string(node) + " " + what;
    name.resize(35, ' ');
    text += name + std::to_string(mib) + "Mi\n";
  }
  return text;
}

// SMBIOS type 17: 0x28 bytes, then the locator.
inline std::string RawDimm(const std::string& locator, bool filled) {
  std::string raw(0x28, '\0');
  raw[0] = 17;
  raw[1] = 0x28;
  raw[0x0c] = filled ? '\1' : '\0';
  raw[0x10] = 1;
  return raw + locator + '\0' + '\0';
}

inline void AddNics(fakes::FakeSysfs& host, uint32_t nodes) {
  for (uint32_t node = 0; node < nodes; ++node) {
    host.Device("0000:" + std::to_string(10 + node) + ":00.0").Id("19e5", "0222").OnNode(node).Driver("hns3");
  }
  host.Iommu().OvercommitMemory(1);
  host.File("sys/bus/pci/drivers/vfio-pci/bind", "");
  host.File("sys/devices/system/cpu/smt/active", "0\n");
  host.File("sys/devices/system/cpu/smt/control", "off\n");
  host.File("sys/module/vfio_iommu_type1/parameters/dma_entry_limit", "1048576\n");
  host.File("proc/self/limits",
            "Limit                     Soft Limit           Hard Limit           Units     \n"
            "Max locked memory         unlimited            unlimited            bytes     \n");
}

// Four nodes, two sockets, 64 GiB each, of which 48 GiB are secure.
inline void MakeKunpeng(fakes::FakeSysfs& host) {
  std::string memory = "available: 4 numa nodes (0 1 2 3)\n";
  for (uint32_t node = 0; node < 4; ++node) {
    std::string cpus = std::to_string(node * 32) + "-" + std::to_string(node * 32 + 31);
    host.Node(node).Socket(node / 2).Cpus(cpus).Memory(GiB(16)).HugePages(MiB(2), 64, 64);
    memory += TmmNodeLines(node, 48 << 10, 0, 8);
  }
  AddNics(host, 4);
  host.File("sys/kernel/tmm/virtcca_enabled", "1\n").File("sys/kernel/tmm/memory_info", memory);
  host.File("etc/os-release",
            "NAME=\"openEuler\"\nVERSION=\"24.03 (LTS-SP2)\"\nID=\"openEuler\"\nVERSION_ID=\"24.03\"\n"
            "PRETTY_NAME=\"openEuler 24.03 (LTS-SP2)\"\n");
  host.KernelCommandLine("virtcca_cvm_host=1 arm_smmu_v3.disable_ecmdq=1 vfio_pci.disable_idle_d3=1");
  int number = 0;
  for (char socket : {'0', '1'}) {
    for (char channel : {'0', '1', '2', '3'}) {
      std::string name = std::string("DIMM") + socket + channel + "0 J" + std::to_string(number);
      host.File("sys/firmware/dmi/entries/17-" + std::to_string(number++) + "/raw", RawDimm(name, true));
    }
  }
}

inline void MakeTdxHost(fakes::FakeSysfs& host) {
  for (uint32_t node = 0; node < 2; ++node) {
    std::string cpus = std::to_string(node * 16) + "-" + std::to_string(node * 16 + 15);
    host.Node(node).Socket(node).Cpus(cpus).Memory(GiB(64)).HugePages(MiB(2), 64, 64);
  }
  AddNics(host, 2);
  host.File("sys/module/kvm_intel/parameters/tdx", "Y\n").File("sys/fs/cgroup/misc.capacity", "tdx 31\n");
}

inline void MakeSnpHost(fakes::FakeSysfs& host) {
  for (uint32_t node = 0; node < 2; ++node) {
    std::string cpus = std::to_string(node * 16) + "-" + std::to_string(node * 16 + 15);
    host.Node(node).Socket(node).Cpus(cpus).Memory(GiB(64)).HugePages(MiB(2), 64, 64);
  }
  AddNics(host, 2);
  host.File("sys/module/kvm_amd/parameters/sev_snp", "Y\n").File("dev/sev", "");
  host.File("sys/fs/cgroup/misc.capacity", "sev 410\nsev_es 99\n");
}

}  // namespace berth::agent
