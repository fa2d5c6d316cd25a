#include "common/status.h"
#include "google/protobuf/text_format.h"
#include "tests/cli/fake_services.h"

namespace berth::cli {
namespace {

constexpr const char* kHost = R"pb(
  host {
    uuid: "11111111-1111-4111-8111-111111111111"
    name: "node-1"
    agent_endpoint: "10.0.0.1:8778"
    kernel_release: "6.1.0-18-amd64"
    os_name: "Debian GNU/Linux 12 (bookworm)"
    can_run_guests: true
    cpu_allocation_ratio: 4
    ram_allocation_ratio: 1
    generation: 7
    floating_vcpus: 2
    floating_memory_bytes: 2147483648
    warnings: "/sys/bus/pci/devices/10000:00:00.0: device ignored"
    cells {
      id: 0
      socket: 0
      shared_cpus: "0-1,8-9"
      dedicated_cpus: "2-3,10-11"
      siblings: "0,8"
      siblings: "1,9"
      siblings: "2,10"
      siblings: "3,11"
      memory_bytes: 34359738368
      pages { size_bytes: 4096 total: 4194304 }
      pages { size_bytes: 2097152 total: 8192 reserved: 192 used: 1024 }
      distances: 10
      distances: 21
      usage { pinned_cpus: "2-3" memory_bytes: 2147483648 }
    }
    cells {
      id: 1
      socket: 1
      shared_cpus: "4-5,12-13"
      dedicated_cpus: "6-7,14-15"
      siblings: "4,12"
      siblings: "5,13"
      siblings: "6,14"
      siblings: "7,15"
      memory_bytes: 34359738368
      pages { size_bytes: 4096 total: 4194304 }
      pages { size_bytes: 2097152 total: 8192 used: 1024 }
      distances: 21
      distances: 10
      usage { pinned_cpus: "6,14" memory_bytes: 2147483648 }
    }
    devices {
      address: "0000:41:00.0"
      vendor_id: "8086"
      product_id: "1572"
      class_code: 0x020000
      type: DEVICE_TYPE_PF
      numa_node: 1
      iommu_group: 30
      driver: "i40e"
      resource_class: "CUSTOM_PCI_8086_1572"
      blocked: true
    }
    devices {
      address: "0000:41:02.0"
      vendor_id: "8086"
      product_id: "154c"
      class_code: 0x020000
      type: DEVICE_TYPE_VF
      parent: "0000:41:00.0"
      numa_node: 1
      iommu_group: 31
      driver: "vfio-pci"
      assignable: true
      physical_network: "net1"
      trusted: true
      resource_class: "CUSTOM_PCI_8086_154C"
      traits: "CUSTOM_FAST"
      traits: "HW_NIC_SRIOV"
      consumer: "22222222-2222-4222-8222-222222222222"
    }
    devices {
      address: "0000:41:02.1"
      vendor_id: "8086"
      product_id: "154c"
      class_code: 0x020000
      type: DEVICE_TYPE_VF
      parent: "0000:41:00.0"
      numa_node: 1
      assignable: true
      resource_class: "CUSTOM_PCI_8086_154C"
    }
    devices {
      address: "0000:41:02.2"
      vendor_id: "8086"
      product_id: "154c"
      class_code: 0x020000
      type: DEVICE_TYPE_VF
      parent: "0000:41:00.0"
      numa_node: 1
      assignable: true
      resource_class: "CUSTOM_PCI_8086_154C"
    }
    devices {
      address: "0000:81:00.0"
      vendor_id: "10de"
      product_id: "2235"
      class_code: 0x030200
      type: DEVICE_TYPE_PCI
      assignable: true
      resource_class: "CUSTOM_GPU"
    }
  }
  claims {
    consumer: "22222222-2222-4222-8222-222222222222"
    name: "vm1"
    host: "11111111-1111-4111-8111-111111111111"
    phase: CLAIM_PHASE_ACTIVE
    cells {
      guest_cell: 0
      host_cell: 0
      vcpus: "0-1"
      pinning { guest: 0 host: 2 }
      pinning { guest: 1 host: 3 }
      memory_bytes: 2147483648
      page_size_bytes: 2097152
    }
    cells {
      guest_cell: 1
      host_cell: 1
      vcpus: "2"
      pinning { guest: 2 host: 6 }
      reserved: "14"
      memory_bytes: 2147483648
      page_size_bytes: 2097152
    }
    devices { request: 0 address: "0000:41:02.0" alias: "nic" numa_node: 1 }
    spec { flavor: "numa2" vcpus: 3 memory_bytes: 4294967296 }
    status { state: INSTANCE_STATE_RUNNING observed_at_ms: 1700000000000 }
  }
  claims {
    consumer: "33333333-3333-4333-8333-333333333333"
    name: "vm2"
    host: "11111111-1111-4111-8111-111111111111"
    phase: CLAIM_PHASE_ACTIVE
    spec { flavor: "small" vcpus: 2 memory_bytes: 2147483648 }
    status { state: INSTANCE_STATE_FAILED detail: "kernel /boot/x not found" }
  }
)pb";

constexpr const char* kFlavors = R"pb(
  flavors { name: "small" vcpus: 2 memory_mib: 2048 }
  flavors {
    name: "numa2"
    vcpus: 3
    memory_mib: 4096
    extra_specs { key: "hw:numa_nodes" value: "2" }
    extra_specs { key: "hw:cpu_policy" value: "dedicated" }
    extra_specs { key: "pci_passthrough:alias" value: "nic:1" }
  }
)pb";

constexpr const char* kAliases = R"pb(
  aliases { name: "nic" vendor_id: "8086" product_id: "154c" device_type: "type-VF" numa_policy: "required" }
  aliases { name: "gpu" resource_class: "CUSTOM_GPU" traits: "CUSTOM_A" traits: "CUSTOM_B" }
)pb";

constexpr const char* kRuntime = R"pb(
  pid: 4711
  vcpus { vcpu: 0 tid: 4720 cpus_allowed: "2" }
  vcpus { vcpu: 1 tid: 4721 cpus_allowed: "3" }
  vcpus { vcpu: 2 tid: 4722 cpus_allowed: "6" }
  memory { node: 0 bytes: 2147483648 }
  memory { node: 1 bytes: 2147483648 }
  api_socket: "/run/berth/vm1.sock"
  console_log: "/run/berth/vm1.log"
)pb";

constexpr const char* kNoFit = R"pb(
  hosts {
    host: "node-1"
    reasons {
      code: "cpus_dedicated"
      where: "guest cell 1"
      have: "2"
      need: "16"
      text: "too few free dedicated CPUs"
    }
  }
  hosts {
    host: "node-2"
    reasons { code: "no_kvm" text: "the host cannot run guests" }
  }
)pb";

constexpr const char* kExplanation = R"pb(
  hosts: 5
  reasons {
    code: "cpus_dedicated"
    hosts: 3
    nearest {
      code: "cpus_dedicated"
      have: "6"
      need: "8"
      where: "guest cell 0"
      text: "guest cell 0 fits on no host cell"
    }
    nearest_host: "node-2"
  }
  reasons {
    code: "no_kvm"
    hosts: 2
    nearest { code: "no_kvm" have: "0" need: "1" where: "host" text: "the host can not run guests" }
    nearest_host: "node-4"
  }
  verdicts {
    host: "node-1"
    reasons { code: "cpus_dedicated" have: "2" need: "8" where: "guest cell 0" text: "too few" }
  }
  changes {
    kind: CHANGE_KIND_SHRINK
    text: "with 6 instead of 8 vCPUs: it fits on node-2"
    subject: "vcpus"
    from: "8"
    to: "6"
    host: "node-2"
    hosts: 1
  }
  changes {
    kind: CHANGE_KIND_MOVE_INSTANCE
    text: "if vm1 moved from node-1 to node-2: it fits on node-1"
    subject: "vm1"
    from: "node-1"
    to: "node-2"
    host: "node-1"
    hosts: 1
  }
  hosts_not_tried: 1
  notes: "policy required of \"nic\" has no effect"
)pb";

constexpr const char* kCapacity = R"pb(
  instances: 7
  hosts { host: "node-1" instances: 4 }
  hosts { host: "node-2" instances: 3 undecided: true }
  hosts_total: 5
  undecided: 1
)pb";

template <class Message>
void Read(const char* text, Message& message) {
  CHECK(google::protobuf::TextFormat::ParseFromString(text, &message));
}

}  // namespace

FakeCloud SmallCloud() {
  FakeCloud cloud;
  Read(kHost, cloud.host);
  Read(kFlavors, cloud.flavors);
  Read(kAliases, cloud.aliases);
  Read(kRuntime, cloud.runtime);
  Read(kNoFit, cloud.no_fit);
  Read(kExplanation, cloud.explanation);
  Read(kCapacity, cloud.capacity);
  return cloud;
}

}  // namespace berth::cli
