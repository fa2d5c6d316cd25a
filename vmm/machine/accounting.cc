#include "vmm/machine/accounting.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>

#include "common/words.h"
#include "vmm/config/resolved_machine.h"

namespace berth::vmm {
namespace {

using Json = nlohmann::ordered_json;

std::optional<uint64_t> Number(std::string_view text, int base = 10) {
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// One line: "7f0000000000 bind:1 anon=2 dirty=2 N0=1 N1=1 kernelpagesize_kB=4"
struct Mapping {
  uint64_t address = 0;
  uint64_t page_size = 4096;
  std::map<uint32_t, uint64_t> pages;
};

std::optional<Mapping> ReadLine(std::string_view line) {
  const auto first = NextWord(line);
  if (!first) return std::nullopt;
  const auto address = Number(*first, 16);
  if (!address) return std::nullopt;
  Mapping mapping;
  mapping.address = *address;
  constexpr std::string_view kPageSize = "kernelpagesize_kB=";
  while (const auto word = NextWord(line)) {
    const size_t equals = word->find('=');
    if (equals == std::string_view::npos) continue;
    const auto value = Number(word->substr(equals + 1));
    if (!value) continue;
    if (word->starts_with(kPageSize)) mapping.page_size = *value << 10;
    if (word->front() != 'N') continue;
    if (const auto node = Number(word->substr(1, equals - 1))) {
      mapping.pages[static_cast<uint32_t>(*node)] += *value;
    }
  }
  return mapping;
}

}  // namespace

MemoryAccount CountMemory(std::string_view numa_maps, const std::vector<MemoryRegionFacts>& regions) {
  MemoryAccount account;
  while (const auto line = NextLine(numa_maps)) {
    const std::optional<Mapping> mapping = ReadLine(*line);
    if (!mapping) continue;
    auto region = std::find_if(regions.begin(), regions.end(), [&](const MemoryRegionFacts& candidate) {
      return mapping->address >= candidate.host_address &&
             mapping->address - candidate.host_address < candidate.size;
    });
    for (const auto& [node, pages] : mapping->pages) {
      const uint64_t bytes = pages * mapping->page_size;
      NodeBytes& sum = account.nodes[node];
      if (region == regions.end()) {
        sum.vmm += bytes;
        continue;
      }
      constexpr uint64_t kBasePage = 4096;
      sum.guest_ram += bytes;
      if (mapping->page_size > kBasePage) sum.guest_huge += bytes;
      account.zones[region->zone][node] += bytes;
    }
  }
  return account;
}

namespace {

Json NodesJson(const std::map<uint32_t, uint64_t>& nodes) {
  Json list = Json::array();
  for (const auto& [node, bytes] : nodes) list.push_back({{"node", node}, {"bytes", bytes}});
  return list;
}

Json ConfidentialJson(const PrivateAccount& account, const ConfidentialFacts& facts) {
  Json json = {{"private", facts.private_bytes}, {"shared", facts.shared_bytes}};
  if (account.unknown.empty()) {
    json["private_nodes"] = NodesJson(account.nodes);
  } else {
    json["private_nodes_unknown"] = account.unknown;
  }
  json["swiotlb"] = {{"bytes", facts.bounce_bytes},
                     {"node", facts.bounce_node ? Json(*facts.bounce_node) : Json()}};
  return json;
}

// The proof for private memory; adds to `mismatches`.
Json PrivateJson(const PrivateAccount& account, const ConfidentialFacts& facts,
                 std::vector<std::string>& mismatches) {
  if (!account.unknown.empty()) return {{"known", false}, {"reason", account.unknown}};
  uint64_t anywhere = facts.private_bytes;
  for (const auto& [node, bytes] : facts.private_by_node) anywhere -= std::min(anywhere, bytes);
  for (const auto& [node, bytes] : account.nodes) {
    const auto bound = facts.private_by_node.find(node);
    const uint64_t wanted = bound == facts.private_by_node.end() ? 0 : bound->second;
    if (bytes <= wanted + anywhere + account.slack) continue;
    mismatches.push_back("host node " + std::to_string(node) + " has " + std::to_string(bytes) +
                         " bytes of private memory, its zones have " + std::to_string(wanted));
  }
  return {{"known", true},
          {"nodes", NodesJson(account.nodes)},
          {"wanted", NodesJson(facts.private_by_node)},
          {"anywhere", anywhere}};
}

}  // namespace

std::string AccountJson(const MemoryAccount& account, const VmFacts& facts) {
  Json json = {{"nodes", Json::array()}};
  NodeBytes total;
  for (const auto& [node, bytes] : account.nodes) {
    json["nodes"].push_back({{"node", node},
                             {"guest_ram", bytes.guest_ram},
                             {"guest_huge", bytes.guest_huge},
                             {"vmm", bytes.vmm}});
    total.guest_ram += bytes.guest_ram;
    total.guest_huge += bytes.guest_huge;
    total.vmm += bytes.vmm;
  }
  json["total"] = {{"guest_ram", total.guest_ram}, {"guest_huge", total.guest_huge}, {"vmm", total.vmm}};
  if (account.confidential && facts.confidential) {
    json["confidential"] = ConfidentialJson(*account.confidential, *facts.confidential);
  }
  return json.dump();
}

std::string PlacementJson(const VmConfig& config, const VmFacts& facts, const MemoryAccount& account,
                          const std::function<CpuSet(pid_t)>& allowed,
                          const std::function<CpuSet(uint32_t)>& near) {
  Json json = {{"placed", true}, {"zones", Json::array()}, {"vcpus", Json::array()}};
  std::vector<std::string> mismatches;
  std::map<std::string, std::optional<uint32_t>> wanted;
  for (const MemoryRegionFacts& region : facts.memory_regions) wanted[region.zone] = region.host_numa_node;
  for (const auto& [zone, node] : wanted) {
    Json pages = Json::array();
    auto found = account.zones.find(zone);
    if (found != account.zones.end()) {
      for (const auto& [actual, bytes] : found->second) {
        pages.push_back({{"node", actual}, {"bytes", bytes}});
        if (node && actual != *node) {
          mismatches.push_back("zone " + zone + " has " + std::to_string(bytes) + " bytes on host node " +
                               std::to_string(actual) + ", not on " + std::to_string(*node));
        }
      }
    }
    json["zones"].push_back(
        {{"id", zone}, {"host_numa_node", node ? Json(*node) : Json()}, {"pages", pages}});
  }
  for (const VcpuFacts& vcpu : facts.vcpus) {
    if (vcpu.tid == 0) continue;
    const CpuSet cpus = allowed(vcpu.tid);
    Json entry = {{"id", vcpu.id}, {"tid", vcpu.tid}, {"allowed_cpus", cpus.ToString()}};
    for (const NumaConfig& node : config.numa) {
      if (!CpusOfNode(config, node).Contains(vcpu.id)) continue;
      entry["guest_numa_id"] = node.guest_numa_id;
      for (const std::string& zone : node.memory_zones) {
        const auto host = wanted[zone];
        if (!host) continue;
        const CpuSet close = near(*host);
        if (close.empty() || close.Contains(cpus)) continue;
        mismatches.push_back("vCPU " + std::to_string(vcpu.id) + " may run on host CPUs " +
                             (cpus - close).ToString() + ", outside of host node " + std::to_string(*host) +
                             " where its memory lies");
        break;
      }
    }
    json["vcpus"].push_back(std::move(entry));
  }
  if (account.confidential && facts.confidential) {
    json["private"] = PrivateJson(*account.confidential, *facts.confidential, mismatches);
  }
  // Nothing of a VM that has not booted is anywhere.
  const bool booted = !facts.memory_regions.empty() || facts.confidential.has_value();
  json["placed"] = booted ? Json(mismatches.empty()) : Json();
  json["mismatches"] = mismatches;
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace berth::vmm
