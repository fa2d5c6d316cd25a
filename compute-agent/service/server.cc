#include "compute-agent/service/server.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <utility>

#include "common/file.h"
#include "common/log.h"
#include "compute-agent/inventory/available_memory.h"
#include "compute-agent/service/agent_check.h"
#include "compute-agent/service/endpoint.h"
#include "placement/model/held_families.h"

namespace berth::agent {
namespace {

constexpr std::chrono::milliseconds kReportRetry{1'000};
constexpr std::chrono::milliseconds kMemoryInterval{10'000};  // between two looks at the free memory
constexpr int kLooksPerFullReport = 10;  // an unchanged report is sent again after so many looks

// What the records of instances hold, with the PFs of VFs that are still there.
std::vector<placement::HeldDevice> HeldDevices(const HostInventory& inventory, const Reconciler& reconciler) {
  std::vector<placement::HeldDevice> held;
  for (const auto& [address, consumer] : reconciler.HeldDevices()) {
    placement::HeldDevice device{address, std::nullopt, "instance " + consumer.ToString()};
    for (const PciDeviceInfo& info : inventory.pci_devices) {
      if (info.address == address) device.parent = info.parent;
    }
    held.push_back(std::move(device));
  }
  return held;
}

// Of the used devices those that nobody gets by this report; others than one-time-use devices do not matter.
std::set<PciAddress> ReportedAsUsed(const BuiltReport& built, const std::set<PciAddress>& used) {
  std::set<PciAddress> withheld = used;
  for (const placement::Device& device : built.report.devices) {
    if (device.assignable && built.one_time_use.contains(device.address)) withheld.erase(device.address);
  }
  return withheld;
}

}  // namespace

// The reconciler is there before the client of placement is.
class AgentServer::Reporter : public ClaimReporter {
 public:
  explicit Reporter(AgentServer& server) : server_(server) {}
  void SetClient(PlacementClient* client) { client_ = client; }
  Status ReportStatus(const Uuid& consumer, const placement::InstanceStatus& status) override {
    PlacementClient* client = client_;
    return client == nullptr ? NotYet() : client->ReportStatus(consumer, status);
  }
  Status FinalizeClaim(const Uuid& consumer) override {
    PlacementClient* client = client_;
    if (client == nullptr) return NotYet();
    TRY(server_.AwaitUsedDevicesReported());
    return client->FinalizeClaim(consumer);
  }

  std::string EncodeClaim(const placement::Claim& claim) const override {
    return PlacementClient::ClaimText(claim);
  }
  Status RestoreClaim(const std::string& encoded) override {
    PlacementClient* client = client_;
    return client == nullptr ? NotYet() : client->RestoreClaim(encoded);
  }
  Status DropDevice(const Uuid& consumer, const PciAddress& device) override {
    PlacementClient* client = client_;
    if (client == nullptr) return NotYet();
    TRY(server_.AwaitUsedDevicesReported());
    return client->DropDevice(consumer, device);
  }

 private:
  static Status NotYet() { return {StatusCode::kUnavailable, "placement is not connected yet"}; }

  AgentServer& server_;
  std::atomic<PlacementClient*> client_ = nullptr;
};

class AgentServer::Sink : public ClaimSink {
 public:
  explicit Sink(AgentServer& server) : server_(server) {}
  void OnSnapshot(std::vector<placement::Claim> claims) override {
    LOG(kInfo, "claims_synced", {{"claims", claims.size()}});
    server_.reconciler_->ReplaceClaims(std::move(claims));
    // A further snapshot: placement lost its past and may not know this host. The first report is under way
    // anyhow.
    if (std::exchange(first_, false)) return;
    ReportNow();
  }
  void OnClaim(placement::Claim claim) override { server_.reconciler_->PutClaim(std::move(claim)); }
  void OnClaimDeleted(const Uuid& consumer) override { server_.reconciler_->RemoveClaim(consumer); }
  void OnHostDeleted() override {
    LOG(kInfo, "host_missing_in_placement");
    ReportNow();
  }

 private:
  void ReportNow() {
    std::lock_guard lock(server_.mutex_);
    server_.report_now_ = true;
    server_.changed_.notify_all();
  }

  AgentServer& server_;
  bool first_ = true;
};

Result<Uuid> HostUuid(const std::string& state_dir) {
  std::error_code error;
  std::filesystem::create_directories(state_dir, error);
  if (error) return ErrnoStatus("make the state folder " + state_dir, error.value());
  std::string path = state_dir + "/host-uuid";
  Result<std::string> text = ReadFile(path);
  if (text.has_value()) {
    while (text->ends_with('\n')) text->pop_back();
    Result<Uuid> uuid = Uuid::Parse(*text);
    if (!uuid.has_value() || uuid->is_nil())
      return DataLoss(path + " does not hold a UUID: \"" + *text + "\"");
    return uuid;
  }
  if (text.error().code() != StatusCode::kNotFound) return text.error();
  Uuid uuid = Uuid::Random();
  TRY(WriteFileAtomically(path, uuid.ToString() + "\n"));
  return uuid;
}

AgentServer::AgentServer(const Options& options, Root root)
    : options_(options),
      root_(std::move(root)),
      memory_watch_(options.config.host.confidential.nonsecure_headroom_bytes),
      reporter_(std::make_unique<Reporter>(*this)) {}

Result<std::unique_ptr<AgentServer>> AgentServer::Create(const Options& options) {
  TRY_ASSIGN(Root root, Root::Open(options.root));
  std::unique_ptr<AgentServer> server(new AgentServer(options, std::move(root)));
  const AgentConfig& config = server->options_.config;
  TRY(CheckStateDir(config.state_dir));  // before anything is made there
  TRY_ASSIGN(server->identity_.uuid, HostUuid(config.state_dir));

  ReconcilerOptions reconciler;
  reconciler.state_dir = config.state_dir;
  reconciler.vmm_path = config.vmm.empty() ? DefaultVmmPath() : config.vmm;
  reconciler.root = options.root;
  reconciler.vf_links = &server->vf_links_;
  reconciler.taps = &server->tap_links_;
  reconciler.start_timeout = config.start_timeout;
  reconciler.shutdown_timeout = config.shutdown_timeout;
  reconciler.policy = config.policy;
  reconciler.unclaimed = config.unclaimed;
  reconciler.between_steps = options.between_steps;
  // TDX and SEV-SNP guests start in firmware, which no image names yet; virtCCA needs a VMM for AArch64.
  if (config.host.confidential.kind == ConfidentialKind::kSwProtected) {
    reconciler.confidential = ConfidentialKindName(ConfidentialKind::kSwProtected);
  }
  TRY_ASSIGN(server->reconciler_, Reconciler::Open(reconciler, *server->reporter_, server->consoles_));

  HostInventory inventory = server->ReadHost();
  std::string sysfs_root = options.root == "/" ? "" : options.root;
  TRY_ASSIGN(CreatedVfs vfs, CreateVfs(inventory, config.host.sriov, sysfs_root));
  server->vf_warnings_ = std::move(vfs.warnings);
  if (vfs.changed) inventory = server->ReadHost();
  server->identity_.name = config.name.empty() ? inventory.facts.hostname : config.name;
  if (server->identity_.name.empty()) {
    return InvalidArgument("is needed: the hostname cannot be read", "name");
  }
  server->settings_ = ReadHostSettings(server->root_);
  server->foreign_ = ForeignHugePages(inventory, server->reconciler_->OwnHugePages());
  server->used_devices_ = UsedDevices(config.state_dir + "/used-devices");
  server->secure_cards_ = SecureCards(config.state_dir + "/secure-cards", ReadBootId().value_or(""));
  TRY_ASSIGN(server->built_, server->BuildNow(inventory));
  if (server->LookAtMemory()) {
    TRY_ASSIGN(server->built_, server->BuildNow(inventory));
  }
  TRY(CheckHeldFamilies(server->built_.report, HeldDevices(inventory, *server->reconciler_)));
  for (const std::string& warning : server->built_.report.warnings) {
    LOG(kWarning, "host_warning", {{"text", warning}});
  }
  server->reconciler_->SetHost(server->built_.report, server->built_.unmanaged, server->built_.one_time_use,
                               server->built_.cards);
  server->metrics_ = std::make_unique<AgentMetrics>(server->reconciler_->events());
  server->Publish();
  server->service_ = std::make_unique<GrpcService>(*server->reconciler_, server->consoles_,
                                                   [raw = server.get()] { return raw->CheckNow(); });
  return server;
}

AgentServer::~AgentServer() {
  Stop();
  reconciler_.reset();  // before the client that its thread reports to
}

Status AgentServer::Listen(const std::string& address) {
  grpc::ServerBuilder builder;
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);  // two servers on one port would share the calls
  builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port_);
  builder.RegisterService(service_.get());
  server_ = builder.BuildAndStart();
  if (server_ != nullptr && port_ != 0) return OkStatus();
  server_.reset();
  return {StatusCode::kUnavailable, "cannot listen on \"" + address + "\"", "grpc-listen",
          "is the port in use?"};
}

Status AgentServer::ServeMetrics() {
  if (options_.config.metrics_listen.empty()) return OkStatus();
  TRY_ASSIGN(metrics_front_,
             MetricsFront::Start(options_.config.metrics_listen, [this] { return MetricsText(); }));
  return OkStatus();
}

std::string AgentServer::MetricsText() {
  AgentSnapshot snapshot;
  snapshot.instances = reconciler_->Summary();
  {
    std::lock_guard lock(mutex_);
    snapshot.devices = CountDevices(shown_devices_, snapshot.instances.held);
    snapshot.available_memory = shown_memory_;
    snapshot.low_memory = shown_low_;
    snapshot.warnings = shown_warnings_;
    snapshot.reported = shown_reported_;
  }
  return metrics_->Text(snapshot);
}

void AgentServer::Publish() {
  std::lock_guard lock(mutex_);
  shown_devices_ = built_.report.devices;
  shown_warnings_ = built_.report.warnings.size();
  shown_reported_ = accepted_ && !unsent_;
}

bool AgentServer::LookAtMemory() {
  std::map<placement::NumaNode, uint64_t> available;
  for (const auto& [node, bytes] : ReadAvailableMemory(root_)) {
    const bool offered = std::any_of(built_.report.cells.begin(), built_.report.cells.end(),
                                     [node = node](const placement::Cell& cell) { return cell.id == node; });
    if (offered) available[node] = bytes;
  }
  const std::vector<MemoryWatch::Event> events = memory_watch_.Look(available);
  for (const MemoryWatch::Event& event : events) {
    if (event.low) {
      LOG(kWarning, "node_memory_low",
          {{"node", event.node},
           {"available_bytes", event.available_bytes},
           {"recommended_more_bytes", event.recommended_bytes}});
    } else {
      LOG(kInfo, "node_memory_well_again",
          {{"node", event.node}, {"available_bytes", event.available_bytes}});
    }
  }
  std::lock_guard lock(mutex_);
  shown_memory_ = std::move(available);
  shown_low_.clear();
  for (const auto& [node, low] : memory_watch_.low()) shown_low_.insert(node);
  return !events.empty();
}

void AgentServer::Begin(std::shared_ptr<grpc::Channel> placement, const std::string& endpoint) {
  identity_.agent_endpoint = ReachableEndpoint(endpoint, identity_.name);
  built_.report.agent_endpoint = identity_.agent_endpoint;
  client_ = std::make_unique<PlacementClient>(std::move(placement), identity_.uuid);
  sink_ = std::make_unique<Sink>(*this);
  reporter_->SetClient(client_.get());
  reconciler_->Start();
  reporting_ = std::thread([this] { ReportLoop(); });
  client_->StartWatch(*sink_);
}

void AgentServer::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  if (client_ != nullptr) client_->StopWatch();
  if (reporting_.joinable()) reporting_.join();
  metrics_front_.reset();
  if (service_ != nullptr) service_->Stop();
  if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(1));
  server_.reset();
}

HostInventory AgentServer::ReadHost() const {
  return ReadInventory(root_);
}

PreflightReport AgentServer::CheckNow() const {
  return CheckHost(ReadHost(), options_.config.host, ReadHostSettings(root_));
}

Result<BuiltReport> AgentServer::BuildNow(const HostInventory& inventory) const {
  TRY_ASSIGN(std::set<PciAddress> used, used_devices_.Read());
  TRY_ASSIGN(std::set<PciAddress> secure, secure_cards_.Read());
  TRY_ASSIGN(BuiltReport built, BuildReport(inventory, options_.config.host, identity_,
                                            {.foreign = foreign_,
                                             .used = std::move(used),
                                             .settings = settings_,
                                             .secure_cards = std::move(secure)}));
  std::vector<std::string>& warnings = built.report.warnings;
  warnings.insert(warnings.begin(), vf_warnings_.begin(), vf_warnings_.end());
  const std::vector<std::string> low = memory_watch_.Warnings();
  warnings.insert(warnings.begin(), low.begin(), low.end());
  const std::string& vmm = options_.config.vmm;
  JudgeVmm(vmm.empty() ? DefaultVmmPath() : vmm, built.report);
  return built;
}

// A claim on a one-time-use device may only end after placement knows that the device is used: it would be
// free to others in between.
Status AgentServer::AwaitUsedDevicesReported() {
  TRY_ASSIGN(std::set<PciAddress> used, used_devices_.Read());
  std::lock_guard lock(mutex_);
  for (const PciAddress& address : used) {
    if (used_reported_.contains(address)) continue;
    look_now_ = true;
    changed_.notify_all();
    return Aborted("that device " + address.ToString() + " was used is not reported yet");
  }
  return OkStatus();
}

void AgentServer::HandleRefusal(const Status& refused) {
  if (refused.ToString() != refusal_) LOG(kWarning, "host_not_reported", {{"error", refused}});
  refusal_ = refused.ToString();
  if (accepted_ || refused.code() != StatusCode::kFailedPrecondition || !options_.on_refused) return;
  std::exchange(options_.on_refused, nullptr)(refused);
}

void AgentServer::Look() {
  Result<BuiltReport> built = BuildNow(ReadHost());
  // What the running machine has become may contradict the configuration (a VF of a configured PF appears):
  // the last good report stands.
  if (!built.has_value()) {
    LOG(kError, "inventory_refused", {{"error", built.error()}});
    return;
  }
  if (built->report == built_.report) return;
  built_ = *std::move(built);
  unsent_ = true;
  reconciler_->SetHost(built_.report, built_.unmanaged, built_.one_time_use, built_.cards);
}

Status AgentServer::Send() {
  // Read before: a device that is used meanwhile is not in this report.
  Result<std::set<PciAddress>> used = used_devices_.Read();
  TRY_ASSIGN(std::vector<std::string> warnings, client_->ReportHost(built_.report));
  accepted_ = true;
  unsent_ = false;
  refusal_.clear();
  if (used.has_value()) {
    std::lock_guard lock(mutex_);
    used_reported_ = ReportedAsUsed(built_, *used);
  }
  LOG(kInfo, "host_reported",
      {{"host", identity_.name},
       {"cells", built_.report.cells.size()},
       {"devices", built_.report.devices.size()}});
  for (const std::string& warning : warnings) LOG(kWarning, "placement_warning", {{"text", warning}});
  return OkStatus();
}

void AgentServer::ReportLoop() {
  using Clock = std::chrono::steady_clock;
  int looks = 0;
  Clock::time_point next_look = Clock::now() + options_.config.report_interval;
  while (true) {
    Status sent = unsent_ ? Send() : OkStatus();
    if (!sent.ok()) HandleRefusal(sent);
    Publish();
    std::unique_lock lock(mutex_);
    const Clock::time_point until =
        sent.ok() ? std::min(next_look, Clock::now() + kMemoryInterval) : Clock::now() + kReportRetry;
    changed_.wait_until(lock, until, [this] { return stopping_ || report_now_ || look_now_; });
    if (stopping_) return;
    const bool due = !sent.ok() || look_now_ || Clock::now() >= next_look;
    // Placement may have lost this host in ways of which no event tells (a database restored from a backup).
    unsent_ = unsent_ || report_now_ || (due && ++looks % kLooksPerFullReport == 0);
    report_now_ = look_now_ = false;
    lock.unlock();
    const bool memory_changed = LookAtMemory();
    if (!due && !memory_changed) continue;
    next_look = Clock::now() + options_.config.report_interval;
    Look();
  }
}

}  // namespace berth::agent
