#include "compute-agent/service/agent_check.h"

#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <utility>

#include "compute-agent/devices/card_trust.h"
#include "compute-agent/instances/reconciler.h"
#include "compute-agent/instances/record_store.h"
#include "compute-agent/instances/used_devices.h"
#include "compute-agent/inventory/discover.h"
#include "compute-agent/preflight/host_settings.h"
#include "compute-agent/sriov/vf_creator.h"

namespace berth::agent {
namespace {

// Huge pages that the instances on record take.
Result<PageCounts> RecordedHugePages(const std::string& state_dir) {
  PageCounts pages;
  const std::string path = state_dir + "/agent.db";
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return pages;
  TRY_ASSIGN(auto records, RecordStore::Open(path));
  TRY_ASSIGN(const std::vector<Uuid> consumers, records->All());
  for (const Uuid& consumer : consumers) {
    Result<InstanceRecord> record = records->Load(consumer);
    if (!record.has_value() || record->process.pid == 0) continue;
    for (const auto& [key, count] : record->huge_pages) pages[key] += count;
  }
  return pages;
}

// The VFs that the agent would make.
Result<std::vector<std::string>> ForeseenVfs(const HostInventory& inventory, const HostConfig& config) {
  std::vector<std::string> would;
  TRY_ASSIGN(CreatedVfs vfs,
             CreateVfs(inventory, config.sriov, "", [&would](const std::string& path, std::string_view text) {
               would.push_back("sriov: the agent would write " + std::string(text) + " to " + path);
               return OkStatus();
             }));
  would.insert(would.end(), vfs.warnings.begin(), vfs.warnings.end());
  return would;
}

}  // namespace

HostInventory ReadInventory(const Root& root) {
  HostInventory inventory = Discover(root);
  if (!root.is_live()) inventory.facts.kvm.usable = inventory.facts.kvm.present;
  return inventory;
}

void JudgeVmm(const std::string& vmm, placement::HostReport& report) {
  if (::access(vmm.c_str(), X_OK) == 0) return;
  report.can_run_guests = false;
  report.warnings.insert(
      report.warnings.begin(),
      ErrnoStatus("vmm: no guest can run: " + vmm + " cannot be executed", errno).message());
}

Result<BuiltReport> CheckAgent(const AgentConfig& config, const std::string& root_path) {
  TRY(CheckStateDir(config.state_dir));
  TRY_ASSIGN(const Root root, Root::Open(root_path));
  const HostInventory inventory = ReadInventory(root);
  HostIdentity identity;
  identity.name = config.name.empty() ? inventory.facts.hostname : config.name;
  if (identity.name.empty()) return InvalidArgument("is needed: the hostname cannot be read", "name");
  TRY_ASSIGN(std::vector<std::string> vfs, ForeseenVfs(inventory, config.host));
  TRY_ASSIGN(const PageCounts own, RecordedHugePages(config.state_dir));
  HostState state;
  state.foreign = ForeignHugePages(inventory, own);
  state.settings = ReadHostSettings(root);
  TRY_ASSIGN(state.used, UsedDevices(config.state_dir + "/used-devices").Read());
  TRY_ASSIGN(state.secure_cards,
             SecureCards(config.state_dir + "/secure-cards", ReadBootId().value_or("")).Read());
  TRY_ASSIGN(BuiltReport built, BuildReport(inventory, config.host, identity, state));
  built.report.warnings.insert(built.report.warnings.begin(), vfs.begin(), vfs.end());
  JudgeVmm(config.vmm.empty() ? DefaultVmmPath() : config.vmm, built.report);
  return built;
}

}  // namespace berth::agent
