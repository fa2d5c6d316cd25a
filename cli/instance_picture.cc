#include "cli/instance_picture.h"

#include "cli/table.h"
#include "cli/text.h"

namespace berth::cli {
namespace {

using Tone = TreeItem::Tone;
enum Kind { kFact, kCell, kThread, kMemory };

std::string PinsText(const v1::CellBinding& cell) {
  std::vector<std::string> pins;
  for (const v1::Pin& pin : cell.pinning()) {
    pins.push_back(std::to_string(pin.guest()) + "→" + std::to_string(pin.host()));
  }
  return Join(pins, " ");
}

TreeItem CellItem(const v1::CellBinding& cell) {
  std::string pages =
      cell.page_size_bytes() == 0 ? "base pages" : PageSizeText(cell.page_size_bytes()) + " pages";
  TreeItem item(
      {"guest cell " + std::to_string(cell.guest_cell()) + " → host node " + std::to_string(cell.host_cell()),
       BytesText(cell.memory_bytes()) + " in " + pages + (cell.secure() ? ", secure" : "")},
      Tone::kPlain, kCell);
  if (cell.pinning_size() > 0) {
    item.Add(TreeItem({"vCPU → CPU", PinsText(cell)}, Tone::kPlain, kFact));
  }
  if (cell.pinning_size() == 0 && !cell.vcpus().empty()) {
    item.Add(
        TreeItem({"vCPUs", cell.vcpus() + " float over the shared CPUs of the node"}, Tone::kPlain, kFact));
  }
  if (!cell.reserved().empty()) {
    item.Add(TreeItem({"kept free", "CPU " + cell.reserved()}, Tone::kQuiet, kFact));
  }
  return item;
}

}  // namespace

std::string InstanceStateText(v1::InstanceState state) {
  std::string name = v1::InstanceState_Name(state);
  constexpr std::string_view kPrefix = "INSTANCE_STATE_";
  if (!name.starts_with(kPrefix) || state == v1::INSTANCE_STATE_UNSPECIFIED) return "UNKNOWN";
  return name.substr(kPrefix.size());
}

TreeItem InstancePicture(const v1::Claim& claim, const std::string& host_name) {
  std::string state = InstanceStateText(claim.status().state());
  if (claim.phase() == v1::CLAIM_PHASE_RELEASING) state += ", being deleted";
  TreeItem root({Join({claim.name(), state + " on " + host_name, claim.consumer()}, " · ")}, Tone::kTitle);
  if (!claim.status().detail().empty())
    root.Add(TreeItem({OneLine(claim.status().detail())}, Tone::kWarning));
  const v1::InstanceSpec& spec = claim.spec();
  root.Add(TreeItem(
      {"flavor " + spec.flavor(), Count(spec.vcpus(), "vCPU") + " · " + BytesText(spec.memory_bytes())},
      Tone::kPlain, kCell));
  for (const v1::CellBinding& cell : claim.cells()) root.Add(CellItem(cell));
  if (claim.cells_size() == 0) {
    root.Add(
        TreeItem({"no guest NUMA topology", "vCPUs and memory float over the host"}, Tone::kPlain, kCell));
  }
  for (const v1::DeviceBinding& device : claim.devices()) {
    root.Add(TreeItem({"device " + device.address(),
                       "alias " + device.alias() + " · " +
                           (device.has_numa_node() ? "node " + std::to_string(device.numa_node())
                                                   : std::string("node unknown")) +
                           (device.leaving() ? " · on its way out" : "")},
                      Tone::kPlain, kCell));
  }
  return root;
}

TreeItem RuntimePicture(const Result<v1::GetInstanceRuntimeResponse>& runtime) {
  if (!runtime.has_value()) {
    return TreeItem({"placement not proven: the agent did not answer: " + runtime.error().message()},
                    Tone::kWarning, kFact);
  }
  TreeItem item;
  if (runtime->pid() == 0) {
    item = TreeItem({"not running on the host"}, Tone::kQuiet, kFact);
  } else if (runtime->violations().empty()) {
    item = TreeItem({"placement proven · process " + std::to_string(runtime->pid())}, Tone::kBusy, kFact);
  } else {
    item = TreeItem({"placement differs from the claim · process " + std::to_string(runtime->pid())},
                    Tone::kWarning, kFact);
  }
  for (const std::string& violation : runtime->violations()) {
    item.Add(TreeItem({violation}, Tone::kWarning, kFact));
  }
  for (const v1::AttachedDisk& disk : runtime->disks()) {
    item.Add(TreeItem({"disk " + disk.id(), disk.path() + (disk.leaving() ? " · on its way out" : "")},
                      disk.leaving() ? Tone::kWarning : Tone::kPlain, kFact));
  }
  for (const v1::VcpuRuntime& vcpu : runtime->vcpus()) {
    item.Add(TreeItem({"vCPU " + std::to_string(vcpu.vcpu()), "thread " + std::to_string(vcpu.tid()),
                       "may run on CPU " + vcpu.cpus_allowed()},
                      Tone::kPlain, kThread));
  }
  for (const v1::MemoryOnNode& memory : runtime->memory()) {
    item.Add(TreeItem({"node " + std::to_string(memory.node()), BytesText(memory.bytes()), "resident"},
                      Tone::kPlain, kMemory));
  }
  return item;
}

std::string VerdictsTable(const google::protobuf::RepeatedPtrField<v1::HostVerdict>& hosts) {
  Table table({{"HOST"}, {"FITS"}, {"WHERE"}, {"HAVE"}, {"NEED"}, {"REASON"}});
  for (const v1::HostVerdict& host : hosts) {
    if (host.reasons_size() == 0) table.AddRow({host.host(), host.fits() ? "yes" : "no", "", "", "", ""});
    for (const v1::Reason& reason : host.reasons()) {
      std::string text = reason.code();
      if (!reason.text().empty()) text += ": " + reason.text();
      table.AddRow(
          {host.host(), host.fits() ? "yes" : "no", reason.where(), reason.have(), reason.need(), text});
    }
  }
  return table.ToString();
}

}  // namespace berth::cli
