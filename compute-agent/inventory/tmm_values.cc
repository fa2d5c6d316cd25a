#include <map>

#include "compute-agent/inventory/sysfs_values.h"

namespace berth::agent {
namespace {

constexpr uint64_t kMaxMib = uint64_t{1} << 40;

Status BadLine(std::string_view line) {
  return InvalidArgument("\"" + Excerpt(line) + "\" is no line of secure memory");
}

// "numa node 0 cvm used:      12Mi" -> node, "cvm used", 12 MiB.
Status ReadLine(std::string_view line, std::map<uint32_t, TmmNode>& nodes, std::map<uint32_t, bool>& sized) {
  constexpr std::string_view kPrefix = "numa node ";
  size_t colon = line.find(':');
  if (!line.starts_with(kPrefix) || colon == std::string_view::npos) return BadLine(line);
  std::string_view name = line.substr(kPrefix.size(), colon - kPrefix.size());
  size_t blank = name.find(' ');
  if (blank == std::string_view::npos) return BadLine(line);
  Result<uint64_t> id = ParseUnsigned(name.substr(0, blank), 4095);
  std::string_view value = line.substr(colon + 1);
  if (!id.has_value() || !value.ends_with("Mi")) return BadLine(line);
  Result<uint64_t> mib = ParseUnsigned(value.substr(0, value.size() - 2), kMaxMib);
  if (!mib.has_value()) return BadLine(line);
  auto number = static_cast<uint32_t>(*id);
  TmmNode& node = nodes[number];
  node.id = number;
  std::string_view what = name.substr(blank + 1);
  uint64_t bytes = *mib << 20;
  if (what == "size") {
    node.total_bytes = bytes;
    sized[number] = true;
  } else if (what == "free") {
    node.free_bytes = bytes;
  } else if (what == "cvm used") {
    node.guests_bytes = bytes;
  } else if (what == "meta_data used") {
    node.metadata_bytes = bytes;
  }  // else a figure of a later driver
  return OkStatus();
}

}  // namespace

Result<std::vector<TmmNode>> ParseTmmMemoryInfo(std::string_view text) {
  std::map<uint32_t, TmmNode> nodes;
  std::map<uint32_t, bool> sized;
  while (!text.empty()) {
    size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.empty() || line.starts_with("available:")) continue;
    TRY(ReadLine(line, nodes, sized));
  }
  std::vector<TmmNode> list;
  for (const auto& [id, node] : nodes) {
    if (!sized[id]) return InvalidArgument("node " + std::to_string(id) + " has no line of its size");
    if (node.free_bytes > node.total_bytes || node.metadata_bytes > node.total_bytes ||
        node.guests_bytes > node.total_bytes) {
      return InvalidArgument("node " + std::to_string(id) + " has parts larger than its size");
    }
    list.push_back(node);
  }
  return list;
}

}  // namespace berth::agent
