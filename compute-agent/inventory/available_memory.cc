#include "compute-agent/inventory/available_memory.h"

#include <algorithm>

#include "compute-agent/inventory/sysfs_values.h"

namespace berth::agent {
namespace {

void Add(const Result<std::string>& text, placement::NumaNode node,
         std::map<placement::NumaNode, uint64_t>& available) {
  if (!text.has_value()) return;
  Result<Meminfo> info = ParseMeminfo(*text);
  if (info.has_value() && info->total_bytes.value_or(0) > 0) available[node] = AvailableBytes(*info);
}

}  // namespace

std::map<placement::NumaNode, uint64_t> ReadAvailableMemory(const Root& root) {
  std::map<placement::NumaNode, uint64_t> available;
  Result<Folder> nodes = root.OpenFolder("sys/devices/system/node");
  Result<std::vector<std::string>> names = nodes.has_value() ? nodes->List() : nodes.error();
  if (names.has_value()) {
    for (const std::string& name : *names) {
      std::optional<uint32_t> id = NumberAfter(name, "node");
      Result<Folder> node = id.has_value() ? nodes->Open(name) : NotFound(name);
      if (node.has_value()) Add(node->Read("meminfo"), *id, available);
    }
  }
  if (available.empty()) Add(root.Read("proc/meminfo"), 0, available);
  return available;
}

}  // namespace berth::agent
