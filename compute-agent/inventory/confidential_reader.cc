#include "compute-agent/inventory/confidential_reader.h"

#include <sstream>

#include "compute-agent/inventory/sysfs_values.h"

namespace berth::agent {
namespace {

// Y/N or 1/0; empty without the file or with other text.
std::optional<bool> ReadFlag(const Root& root, const std::string& path, Warnings& warnings) {
  Result<std::string> text = root.Read(path);
  if (!text.has_value()) {
    warnings.AddUnlessMissing(text.error());
    return std::nullopt;
  }
  std::string value = CleanText(*text);
  if (value == "Y" || value == "1") return true;
  if (value == "N" || value == "0") return false;
  warnings.Add("/" + path + ": \"" + Excerpt(value) + "\" is neither Y nor N");
  return std::nullopt;
}

void ReadSecureNodes(const Root& root, ConfidentialState& state, Warnings& warnings) {
  constexpr const char* kPath = "sys/kernel/tmm/memory_info";
  Result<std::string> text = root.Read(kPath);
  if (!text.has_value()) return warnings.AddUnlessMissing(text.error());
  Result<std::vector<TmmNode>> nodes = ParseTmmMemoryInfo(*text);
  if (!nodes.has_value()) return warnings.AddBadContent(std::string("/") + kPath, nodes.error());
  for (const TmmNode& node : *nodes) {
    state.secure_nodes.push_back(
        {node.id, node.total_bytes, node.free_bytes, node.guests_bytes, node.metadata_bytes});
  }
}

// "tdx 31" a line.
void ReadCapacity(const Root& root, ConfidentialState& state, Warnings& warnings) {
  Result<std::string> text = root.Read("sys/fs/cgroup/misc.capacity");
  if (!text.has_value()) return warnings.AddUnlessMissing(text.error());
  std::istringstream lines(*text);
  std::string name;
  std::string number;
  while (lines >> name >> number && state.guests.size() < 64) {
    Result<uint64_t> count = ParseUnsigned(number);
    if (count.has_value()) state.guests[CleanText(name)] = *count;
  }
}

}  // namespace

ConfidentialState ReadConfidential(const Root& root, Warnings& warnings) {
  ConfidentialState state;
  state.virtcca = ReadFlag(root, "sys/kernel/tmm/virtcca_enabled", warnings);
  ReadSecureNodes(root, state, warnings);
  state.tdx = ReadFlag(root, "sys/module/kvm_intel/parameters/tdx", warnings);
  state.sev_snp = ReadFlag(root, "sys/module/kvm_amd/parameters/sev_snp", warnings);
  state.sev_device = root.Has("dev/sev");
  ReadCapacity(root, state, warnings);
  return state;
}

}  // namespace berth::agent
