#include "tests/scheduler/whatif/random_scenario.h"

#include <algorithm>
#include <random>
#include <vector>

#include <nlohmann/json.hpp>

namespace berth::scheduler::whatif {
namespace {

using Json = nlohmann::json;

class Maker {
 public:
  explicit Maker(uint64_t seed) : random_(seed) {}

  std::string Line(uint64_t seed) {
    encrypted_ = Chance(12);
    in_placement_ = Chance(20);
    Json json;
    json["schema"] = "whatif/1";
    json["id"] = "r-" + std::to_string(seed);
    json["config"] = Config();
    json["flavor"] = FlavorOf();
    if (Chance(10)) json["image_properties"] = Image();
    if (Chance(35)) json["ports"] = Ports();
    json["hosts"] = Json::array();
    uint32_t hosts = 1 + (Chance(15) ? 1 : 0);
    for (uint32_t i = 0; i < hosts; ++i) json["hosts"].push_back(Host("h" + std::to_string(i)));
    return json.dump();
  }

 private:
  uint32_t Below(uint32_t limit) { return static_cast<uint32_t>(random_() % limit); }
  bool Chance(uint32_t percent) { return Below(100) < percent; }
  template <class T>
  T Pick(std::initializer_list<T> values) {
    return *(values.begin() + Below(static_cast<uint32_t>(values.size())));
  }
  Json Number(uint64_t value) { return Chance(4) ? Json(std::to_string(value)) : Json(value); }

  // ---- config and request ----

  Json Config() {
    Json config = Json::object();
    if (in_placement_) config["pci_in_placement"] = true;
    if (Chance(85)) config["refuse_pf_and_vf"] = false;
    if (Chance(20)) config["packing_host_numa_cells_allocation_strategy"] = Chance(50);
    config["aliases"] = Json::array();
    for (const char* name : {"gpu", "vf", "pf", "any"}) {
      std::string policy = Pick({"", "required", "preferred", "legacy", "socket"});
      uint32_t alternatives = std::string(name) == "any" ? 2 : 1;
      for (uint32_t i = 0; i < alternatives; ++i) {
        Json alias = {{"name", name}, {"vendor_id", "8086"}};
        alias["product_id"] = std::string(name) == "gpu"  ? "0c00"
                              : std::string(name) == "pf" ? "00F0"
                              : std::string(name) == "vf" ? "00a0"
                              : i == 0                    ? "00A0"
                                                          : "00b0";
        if (std::string(name) == "pf") alias["device_type"] = "type-PF";
        if (std::string(name) == "vf" && Chance(50)) alias["device_type"] = "type-VF";
        if (!policy.empty()) alias["numa_policy"] = policy;
        if (in_placement_ && Chance(20)) alias["resource_class"] = "custom_thing";
        if (in_placement_ && Chance(20)) alias["traits"] = "fast";
        config["aliases"].push_back(alias);
      }
    }
    return config;
  }

  Json FlavorOf() {
    Json specs = Json::object();
    uint32_t nodes = Chance(70) ? 1 + Below(3) : 0;
    std::string policy = Pick({"", "shared", "dedicated", "dedicated", "mixed"});
    uint64_t memory = encrypted_ ? 1024 + 2 * Below(512) : 2 * (1 + Below(6));
    uint32_t vcpus = 1 + Below(4);
    if (policy == "mixed") vcpus = std::max(vcpus, 2u);
    if (nodes > 0) {
      specs["hw:numa_nodes"] = std::to_string(nodes);
      if (Chance(60)) {
        vcpus = std::max(vcpus, nodes);
        uint64_t total = 0;
        uint32_t next = 0;
        for (uint32_t n = 0; n < nodes; ++n) {
          uint32_t last = n + 1 == nodes ? vcpus - 1 : next;
          specs["hw:numa_cpus." + std::to_string(n)] =
              next == last ? std::to_string(next) : std::to_string(next) + "-" + std::to_string(last);
          next = last + 1;
          uint64_t mine = encrypted_ ? 2 * (256 + Below(400)) : 1 + Below(6);
          total += mine;
          specs["hw:numa_mem." + std::to_string(n)] = std::to_string(mine);
        }
        memory = total;
      } else if (Chance(90)) {
        vcpus = (vcpus + nodes - 1) / nodes * nodes;
        memory *= nodes;
      }
    }
    if (!policy.empty()) specs["hw:cpu_policy"] = policy;
    if (policy == "mixed") specs["hw:cpu_dedicated_mask"] = Chance(50) ? "0" : "^0";
    if ((policy == "dedicated" || policy == "mixed") && Chance(40)) {
      specs["hw:cpu_thread_policy"] = Pick({"prefer", "require", "isolate"});
    }
    if ((policy == "dedicated" || policy == "mixed") && Chance(25)) {
      specs["hw:emulator_threads_policy"] = Pick({"share", "isolate"});
    }
    if (Chance(40)) specs["hw:mem_page_size"] = Pick({"small", "large", "any", "4", "2048", "2MB", "4096"});
    if (Chance(50))
      specs["hw:pci_numa_affinity_policy"] = Pick({"required", "preferred", "legacy", "socket"});
    if (Chance(5)) specs["trait:HW_CPU_HYPERTHREADING"] = Pick({"required", "forbidden"});
    if (Chance(60)) specs["pci_passthrough:alias"] = Aliases();
    if (Chance(25)) specs["group_policy"] = Pick({"isolate", "none"});
    if (encrypted_) {
      specs["hw:mem_encryption"] = Pick({"true", "True", "1"});
      if (Chance(50)) specs["hw:mem_encryption_model"] = Pick({"amd-sev-snp", "intel-tdx", "arm-cca"});
    }
    if (specs.contains("pci_passthrough:alias") && Chance(15)) {
      std::string names = specs["pci_passthrough:alias"];
      std::string first = names.substr(0, names.find(':'));
      size_t comma = names.find(',');
      std::string domain = "switch:" + first;
      if (comma != std::string::npos && Chance(60)) {
        std::string second = names.substr(comma + 1);
        domain += "+" + second.substr(0, second.find(':'));
      }
      specs["berth:same_domain"] = domain;
    }
    return {{"name", "f"}, {"vcpus", Number(vcpus)}, {"memory_mb", Number(memory)}, {"extra_specs", specs}};
  }

  std::string Aliases() {
    std::string out;
    uint32_t items = Chance(60) ? 1 : 2;
    for (uint32_t i = 0; i < items; ++i) {
      out += (i > 0 ? "," : "") + std::string(Pick({"gpu", "vf", "pf", "any", "vf"})) + ":" +
             std::to_string(Chance(65) ? 1 : 2);
    }
    return Chance(1) ? "nothing:1" : out;
  }

  Json Image() {
    Json image = Json::object();
    if (Chance(50)) image["hw_pci_numa_affinity_policy"] = Pick({"required", "preferred", "legacy"});
    if (Chance(30)) image["hw_cpu_policy"] = Pick({"shared", "dedicated"});
    if (Chance(20)) image["hw_mem_page_size"] = "2048";
    if (Chance(20)) image["os_distro"] = "debian";
    return image;
  }

  Json Ports() {
    Json ports = Json::array();
    uint32_t count = 1 + Below(2);
    for (uint32_t i = 0; i < count; ++i) {
      Json port = {{"id", "p" + std::to_string(i)}};
      port["vnic_type"] = Pick({"normal", "normal", "direct", "direct", "direct", "macvtap",
                                "direct-physical", "vdpa", "remote-managed"});
      port["physical_network"] = Chance(70) ? Json(Pick({"red", "blue"})) : Json(nullptr);
      port["tunneled"] = port["physical_network"].is_null() && Chance(70);
      if (Chance(25)) port["trusted"] = Chance(70);
      if (Chance(30)) port["numa_policy"] = Pick({"required", "preferred", "legacy", "socket"});
      ports.push_back(port);
    }
    return ports;
  }

  // ---- hosts ----

  Json Cpus(const std::vector<uint32_t>& cpus) {
    if (Chance(50)) {
      Json list = Json::array();
      for (uint32_t cpu : cpus) list.push_back(Number(cpu));
      return list;
    }
    std::string text;
    for (size_t i = 0; i < cpus.size(); ++i) {
      size_t last = i;
      while (last + 1 < cpus.size() && cpus[last + 1] == cpus[last] + 1) ++last;
      text += (text.empty() ? "" : ",") + std::to_string(cpus[i]);
      if (last > i) text += "-" + std::to_string(cpus[last]);
      i = last;
    }
    return text;
  }

  Json Cell(uint32_t id, Json socket, uint32_t& cpu) {
    Json cell = {{"id", Number(id)}, {"socket", std::move(socket)}};
    std::vector<uint32_t> shared;
    std::vector<uint32_t> dedicated;
    std::vector<uint32_t> all;
    uint32_t count = 2 + Below(8);
    bool single = Chance(20);
    uint32_t split = Below(count + 1);
    for (uint32_t i = 0; i < count; ++i) {
      all.push_back(cpu + i);
      if (single || i < split) shared.push_back(cpu + i);
      if (single || i >= split) dedicated.push_back(cpu + i);
    }
    cpu += count + Below(3);
    cell["cpuset"] = Cpus(shared);
    cell["pcpuset"] = Cpus(dedicated);
    std::vector<uint32_t> pinned;
    for (uint32_t one : dedicated) {
      if (Chance(20)) pinned.push_back(one);
    }
    if (!pinned.empty() || Chance(50)) cell["pinned_cpus"] = Cpus(pinned);
    if (Chance(90)) {
      bool smt = Chance(50);
      cell["siblings"] = Json::array();
      for (size_t i = 0; i < all.size(); ++i) {
        Json core = {all[i]};
        if (smt && i + 1 < all.size() && Chance(85)) core.push_back(all[++i]);
        cell["siblings"].push_back(core);
      }
    }
    if (Chance(60)) cell["cpu_usage"] = Number(Below(4));
    cell["memory_mb"] = Number(4 + Below(20));
    if (Chance(70)) cell["memory_used_mb"] = Number(Below(6));
    if (Chance(93)) {
      cell["mempages"] = Json::array();
      if (Chance(97)) cell["mempages"].push_back(Pages(4, 512 * (2 + Below(8)), 512));
      if (Chance(60)) cell["mempages"].push_back(Pages(2048, 1 + Below(4), 2));
      if (Chance(30)) cell["mempages"].push_back(Pages(4096, 1 + Below(3), 2));
      std::shuffle(cell["mempages"].begin(), cell["mempages"].end(), random_);
    }
    if (encrypted_ && Chance(85)) {
      cell["secure_memory_mb"] = Number(1024 + Below(2500));
      if (Chance(50)) cell["secure_memory_used_mb"] = Number(Below(700));
      if (Chance(80)) cell["nonsecure_memory_mb"] = Number(64 * (1 + Below(8)));
      if (Chance(40)) cell["nonsecure_memory_used_mb"] = Number(32 * Below(5));
    }
    if (Chance(12)) {
      cell["network"] = {{"physnets", Json::array()}, {"tunneled", Chance(30)}};
      if (Chance(70)) cell["network"]["physnets"].push_back(Pick({"red", "blue"}));
    }
    return cell;
  }

  Json Pages(uint64_t size_kb, uint64_t total, uint64_t unit) {
    Json pages = {{"size_kb", Number(size_kb)}, {"total", Number(total)}};
    pages["used"] = Number(std::min<uint64_t>(total, Below(3) * unit / 2));
    pages["reserved"] = Chance(20) ? 1 : 0;
    return pages;
  }

  Json Node(const std::vector<uint32_t>& nodes) {
    if (Chance(12)) return Chance(80) ? Json(nullptr) : Json(-1);
    return Chance(96) ? nodes[Below(static_cast<uint32_t>(nodes.size()))] : 99;
  }

  Json Device(const std::string& address, const char* product, const char* type, const Json& node) {
    Json device = {{"address", address}, {"vendor_id", "8086"}, {"product_id", product},
                   {"dev_type", type},   {"numa_node", node},   {"status", "available"}};
    if (Chance(12)) device["status"] = Chance(70) ? "allocated" : "claimed";
    if (Chance(60)) {
      device["domains"] = {"switch:" + std::to_string(Below(2))};
      if (Chance(20)) device["domains"].push_back("clique:" + std::to_string(Below(2)));
      if (Chance(10)) device["domains"].push_back("switch:" + std::to_string(Below(3)));
    }
    if (Chance(40)) device["card_serial_number"] = "SN1";
    return device;
  }

  Json Devices(const std::vector<uint32_t>& nodes) {
    Json devices = Json::array();
    uint32_t cards = Below(4) + (Chance(20) ? 0 : 1);
    cards = std::min(cards, 3u);
    for (uint32_t i = 0; i < cards; ++i) {
      std::string bus = "0000:1" + std::to_string(i) + ":";
      Json node = Node(nodes);
      devices.push_back(Device(bus + "00.0", "00f0", "type-PF", node));
      devices.back()["status"] = Chance(10) ? "allocated" : "available";
      uint32_t vfs = 1 + Below(3);
      for (uint32_t v = 0; v < vfs; ++v) {
        bool vdpa = Chance(8);
        devices.push_back(Device(bus + "02." + std::to_string(v), Chance(60) ? "00a0" : "00b0",
                                 vdpa ? "vdpa" : "type-VF", Chance(90) ? node : Node(nodes)));
        devices.back()["parent_addr"] = bus + "00.0";
      }
    }
    uint32_t singles = Below(4);
    for (uint32_t i = 0; i < singles; ++i) {
      devices.push_back(Device("0000:4" + std::to_string(i) + ":00.0", Chance(80) ? "0C00" : "00a0",
                               "type-PCI", Node(nodes)));
    }
    if (Chance(3)) devices.push_back(Device("10000:e1:00.0", "0c00", "type-PCI", Node(nodes)));
    std::shuffle(devices.begin(), devices.end(), random_);
    return devices;
  }

  void AddTags(Json& spec) {
    if (Chance(40))
      spec["physical_network"] = Chance(80) ? Json(Pick({"red", "blue", "RED"})) : Json(nullptr);
    if (Chance(30)) spec["trusted"] = Chance(80) ? Json(Pick({"true", "false", "True"})) : Json(Chance(50));
    if (Chance(15)) spec["remote_managed"] = Pick({"true", "false"});
    if (Chance(15)) spec["resource_class"] = Pick({"CUSTOM_THING", "thing"});
    if (Chance(20)) spec["traits"] = Pick({"fast", "CUSTOM_FAST, big", "big"});
  }

  Json DeviceSpec() {
    Json list = Json::array();
    uint32_t entries = 1 + Below(4);
    for (uint32_t i = 0; i < entries; ++i) {
      Json spec = Json::object();
      switch (Below(6)) {
        case 0:
          spec["address"] = Pick({"0000:10:00.0", "0000:11:00.0", "0000:10:02.1"});
          break;
        case 1:
          spec["address"] = Pick({"*:10:*.*", ":11:02.", "0000:41:00.0", "0000:40:00.*", "10:", "*"});
          break;
        case 2:
          spec["address"] = {{"bus", Pick({"1[01]", "1.", "4"})}};
          if (Chance(50)) spec["address"]["slot"] = Pick({"02", "0[0-1]", ".*"});
          if (Chance(50)) spec["address"]["function"] = "[0-1]";
          break;
        default:
          spec["product_id"] = Pick({"00f0", "00a0", "00b0", "0c00", "*", "0C00", "00A0"});
          if (Chance(90)) spec["vendor_id"] = Chance(90) ? "8086" : "*";
      }
      if (spec.contains("address") && Chance(40)) spec["product_id"] = Pick({"00f0", "00a0"});
      AddTags(spec);
      list.push_back(spec);
    }
    if (Chance(60)) list.push_back({{"vendor_id", "8086"}});
    return list;
  }

  Json Host(const std::string& name) {
    Json host = {{"name", name}};
    if (Chance(60)) host["cpu_allocation_ratio"] = Chance(50) ? Json(1.5) : Json(2);
    if (Chance(40)) host["ram_allocation_ratio"] = Chance(90) ? Json(1.5) : Json("1.25");
    uint32_t cells = 1 + Below(4) + (Chance(50) ? 1 : 0);
    cells = std::min(cells, 4u);
    std::vector<uint32_t> nodes;
    for (uint32_t i = 0; i < cells; ++i) nodes.push_back((nodes.empty() ? 0 : nodes.back() + 1) + Below(3));
    bool sockets = Chance(85);
    uint32_t cpu = Below(3);
    host["numa_cells"] = Json::array();
    for (uint32_t i = 0; i < cells; ++i) {
      Json socket = sockets ? Json(Chance(92) ? i / 2 : 7) : Json(nullptr);
      if (!sockets && Chance(50)) socket = i / 2;
      host["numa_cells"].push_back(Cell(nodes[i], socket, cpu));
    }
    std::shuffle(host["numa_cells"].begin(), host["numa_cells"].end(), random_);
    host["device_spec"] = DeviceSpec();
    host["pci_devices"] = Devices(nodes);
    return host;
  }

  std::mt19937_64 random_;
  bool encrypted_ = false;
  bool in_placement_ = false;
};

}  // namespace

std::string RandomScenario(uint64_t seed) {
  return Maker(seed).Line(seed);
}

}  // namespace berth::scheduler::whatif
