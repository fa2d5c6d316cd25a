#include "compute-agent/instances/reconciler.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <utility>

#include "common/log.h"
#include "compute-agent/instances/vmm_options.h"

namespace berth::agent {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kReportingPause{1'000};
constexpr milliseconds kAdjustInterval{10'000};
constexpr milliseconds kMaxWait{10'000};
constexpr milliseconds kHealPause{30'000};
constexpr int kLockAttempts = 20;
constexpr milliseconds kLockPause{50};

}  // namespace

Reconciler::Reconciler(const ReconcilerOptions& options, ClaimReporter& reporter, ConsoleHub& consoles)
    : reporter_(reporter), wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  environment_.folder = options.state_dir + "/instances";
  environment_.vmm_path = options.vmm_path;
  environment_.binder = DeviceBinder(options.root);
  if (options.vf_links != nullptr)
    environment_.vf_ports = &vf_ports_.emplace(options.root, *options.vf_links);
  environment_.used_devices = UsedDevices(options.state_dir + "/used-devices");
  environment_.consoles = &consoles;
  environment_.start_timeout = options.start_timeout;
  environment_.shutdown_timeout = options.shutdown_timeout;
  environment_.terminate_timeout = options.terminate_timeout;
  environment_.root = options.root;
  environment_.policy = options.policy;
  environment_.encode_claim = [this](const placement::Claim& claim) { return reporter_.EncodeClaim(claim); };
  environment_.confidential_vmm = options.confidential_vmm;
  environment_.between_steps = options.between_steps;
  unclaimed_ = options.unclaimed;
  unclaimed_grace_ = options.unclaimed_grace;
}

Result<std::unique_ptr<Reconciler>> Reconciler::Open(const ReconcilerOptions& options,
                                                     ClaimReporter& reporter, ConsoleHub& consoles) {
  std::unique_ptr<Reconciler> reconciler(new Reconciler(options, reporter, consoles));
  const std::string& folder = reconciler->environment_.folder;
  if (!folder.starts_with('/'))
    return InvalidArgument("\"" + options.state_dir + "\" is not absolute", "state_dir");
  if (folder.size() > kMaxInstancesFolder) {
    return InvalidArgument("\"" + options.state_dir + "\" has " + std::to_string(options.state_dir.size()) +
                               " characters, at most " +
                               std::to_string(kMaxInstancesFolder - std::string("/instances").size()) +
                               " are allowed: UNIX sockets live below it",
                           "state_dir");
  }
  if (folder.find_first_of(",[]\"") != std::string::npos) {
    return InvalidArgument("\"" + options.state_dir + "\" has one of the characters ,[]\"", "state_dir");
  }
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return ErrnoStatus("make " + folder, error.value());
  std::string lock = options.state_dir + "/agent.lock";
  reconciler->lock_.reset(::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!reconciler->lock_.valid()) return ErrnoStatus(lock, errno);
  // An agent that was just killed may have a child that has not let go of the lock yet.
  for (int attempt = 0; ::flock(reconciler->lock_.get(), LOCK_EX | LOCK_NB) != 0; ++attempt) {
    if (attempt == kLockAttempts) {
      return Status{StatusCode::kFailedPrecondition, "another agent uses " + options.state_dir, "state_dir"};
    }
    std::this_thread::sleep_for(kLockPause);
  }
  TRY(reconciler->LoadInstances());
  return reconciler;
}

Reconciler::~Reconciler() {
  stop_ = true;
  Wake();
  if (thread_.joinable()) thread_.join();
}

Status Reconciler::LoadInstances() {
  std::error_code error;
  std::filesystem::directory_iterator entries(environment_.folder, error);
  if (error) return ErrnoStatus(environment_.folder, error.value());
  for (const auto& entry : entries) {
    Result<Uuid> consumer = Uuid::Parse(entry.path().filename().string());
    if (!consumer.has_value()) {
      LOG(kWarning, "foreign_entry_ignored", {{"path", entry.path().string()}});
      continue;
    }
    instances_[*consumer] = Instance::Load(environment_, *consumer);
  }
  Publish();
  return OkStatus();
}

PageCounts Reconciler::OwnHugePages() const {
  PageCounts pages;
  for (const auto& [consumer, instance] : instances_) {
    if (!instance->has_process()) continue;
    for (const auto& [key, count] : instance->record().huge_pages) pages[key] += count;
  }
  return pages;
}

void Reconciler::Start() {
  thread_ = std::thread([this] { Run(); });
}

void Reconciler::Wake() const {
  uint64_t one = 1;
  [[maybe_unused]] ssize_t written = ::write(wake_.get(), &one, sizeof one);
}

std::map<PciAddress, Uuid> Reconciler::HeldDevices() const {
  std::map<PciAddress, Uuid> held;
  for (const auto& [consumer, instance] : instances_) {
    for (const BoundDevice& device : instance->record().devices) held[device.address] = consumer;
  }
  return held;
}

void Reconciler::SetHost(placement::HostReport host, std::set<PciAddress> unmanaged,
                         std::set<PciAddress> one_time_use) {
  std::lock_guard lock(mutex_);
  inbox_.host = Host{std::move(host), std::move(unmanaged), std::move(one_time_use)};
  Wake();
}

void Reconciler::ReplaceClaims(std::vector<placement::Claim> claims) {
  std::lock_guard lock(mutex_);
  inbox_.all = std::move(claims);
  inbox_.changes.clear();
  Wake();
}

void Reconciler::PutClaim(placement::Claim claim) {
  std::lock_guard lock(mutex_);
  Uuid consumer = claim.consumer;
  inbox_.changes.emplace_back(consumer, std::move(claim));
  Wake();
}

void Reconciler::RemoveClaim(const Uuid& consumer) {
  std::lock_guard lock(mutex_);
  inbox_.changes.emplace_back(consumer, std::nullopt);
  Wake();
}

void Reconciler::TakeInbox() {
  Inbox inbox;
  {
    std::lock_guard lock(mutex_);
    std::swap(inbox, inbox_);
  }
  if (inbox.host.has_value()) {
    host_ = std::move(inbox.host->report);
    unmanaged_ = std::move(inbox.host->unmanaged);
    one_time_use_ = std::move(inbox.host->one_time_use);
    have_host_ = true;
  }
  if (inbox.all.has_value()) {
    claims_.clear();
    reported_.clear();
    gone_.clear();
    synced_ = true;
    for (placement::Claim& claim : *inbox.all) claims_[claim.consumer] = std::move(claim);
  }
  for (auto& [consumer, claim] : inbox.changes) {
    if (claim.has_value()) {
      claims_[consumer] = *std::move(claim);
    } else {
      claims_.erase(consumer);
      reported_.erase(consumer);
      gone_.erase(consumer);
    }
  }
  if (!inbox.host.has_value() && !inbox.all.has_value() && inbox.changes.empty()) return;
  std::vector<placement::Claim> claims;
  for (const auto& [consumer, claim] : claims_) claims.push_back(claim);
  exclusive_ = ExclusiveCpus(claims);
  adjust_ = true;
}

void Reconciler::Run() {
  while (!stop_) {
    TakeInbox();
    Pass();
    WaitForWork();
  }
}

void Reconciler::Pass() {
  if (synced_) {
    for (const auto& [consumer, claim] : claims_) StepClaim(consumer, claim);
    StepUnclaimed();
  } else {
    for (const auto& [consumer, instance] : instances_) instance->Observe();
  }
  AdjustFloatingVcpus();
  // First what Runtime answers, then the news: who is told of a state and looks finds that state.
  Publish();
  ReportStatuses();
}

void Reconciler::StepClaim(const Uuid& consumer, const placement::Claim& claim) {
  if (claim.external) return;  // somebody else's hypervisor runs it
  auto found = instances_.find(consumer);
  if (claim.phase == placement::ClaimPhase::kReleasing) {
    if (found == instances_.end()) {
      gone_.try_emplace(consumer);
    } else if (found->second->StepTowardsGone()) {
      LOG(kInfo, "instance_removed", {{"instance", consumer.ToString()}, {"name", claim.name}});
      instances_.erase(found);
      gone_.try_emplace(consumer);
    }
    return;
  }
  if (!have_host_) return;
  if (found == instances_.end()) {
    found =
        instances_.emplace(consumer, std::make_unique<Instance>(environment_, consumer, claim.name)).first;
  }
  found->second->StepTowardsRunning({claim, host_, exclusive_, unmanaged_, one_time_use_});
}

// Instances that no claim explains. A running VM is only ended for that by policy and after a while, since
// the claim may have been lost elsewhere; what does not run is cleaned up.
void Reconciler::StepUnclaimed() {
  for (auto entry = instances_.begin(); entry != instances_.end();) {
    auto& [consumer, instance] = *entry;
    if (claims_.contains(consumer)) {
      unclaimed_since_.erase(consumer);
      heal_at_.erase(consumer);
      ++entry;
      continue;
    }
    instance->Observe();
    auto [since, is_new] = unclaimed_since_.try_emplace(consumer, Clock::now());
    bool stop = unclaimed_ == Unclaimed::kStop && Clock::now() - since->second >= unclaimed_grace_;
    if ((instance->has_process() && !stop) || instance->broken()) {
      if (is_new) {
        LOG(kWarning, "instance_without_claim_found",
            {{"instance", consumer.ToString()}, {"pid", instance->record().process.pid}});
      }
      Heal(consumer, *instance);
      ++entry;
    } else if (instance->StepTowardsGone()) {
      LOG(kInfo, "instance_without_claim_removed", {{"instance", consumer.ToString()}});
      unclaimed_since_.erase(consumer);
      entry = instances_.erase(entry);
    } else {
      ++entry;
    }
  }
}

// Seed 002: "makes sure that existing instances ... will have a corresponding PCI allocation in placement".
// What runs is the truth; the claim comes back by the watch of claims.
void Reconciler::Heal(const Uuid& consumer, const Instance& instance) {
  if (unclaimed_ != Unclaimed::kHeal || !instance.has_process() || instance.record().claim.empty()) return;
  if (ReportingPaused() || Clock::now() < heal_at_[consumer]) return;
  heal_at_[consumer] = Clock::now() + kHealPause;
  Status restored = reporter_.RestoreClaim(instance.record().claim);
  if (restored.ok() || restored.code() == StatusCode::kAlreadyExists) {
    LOG(kWarning, "claim_restored", {{"instance", consumer.ToString()}});
    return;
  }
  LOG(kWarning, "claim_not_restored", {{"instance", consumer.ToString()}, {"error", restored}});
  Unreachable(restored);
}

// Placement as a whole, not this one report.
bool Reconciler::Unreachable(const Status& sent) {
  bool unreachable = sent.code() == StatusCode::kUnavailable || sent.code() == StatusCode::kDeadlineExceeded;
  if (unreachable) PauseReporting();
  retry_later_ = true;
  return unreachable;
}

void Reconciler::PauseReporting() {
  reporting_paused_until_ = Clock::now() + kReportingPause;
}

void Reconciler::ReportStatuses() {
  retry_later_ = false;
  for (const auto& [consumer, instance] : instances_) {
    if (ReportingPaused()) return;
    auto claim = claims_.find(consumer);
    if (claim == claims_.end()) continue;
    const placement::InstanceStatus& status = instance->status();
    auto [reported, is_new] = reported_.try_emplace(consumer);
    if (is_new) reported->second = {claim->second.status.state, claim->second.status.detail, {}};
    if (reported->second.state == status.state && reported->second.detail == status.detail) continue;
    if (Clock::now() < reported->second.retry_at) {
      retry_later_ = true;
      continue;
    }
    if (environment_.between_steps) environment_.between_steps();
    Status sent = reporter_.ReportStatus(consumer, status);
    if (environment_.between_steps) environment_.between_steps();
    if (sent.ok() || sent.code() == StatusCode::kNotFound) {
      reported->second = {status.state, status.detail, {}};
      continue;
    }
    LOG(kWarning, "status_not_reported", {{"instance", consumer.ToString()}, {"error", sent}});
    if (!Unreachable(sent)) reported->second.retry_at = Clock::now() + kReportingPause;
  }
  for (auto gone = gone_.begin(); gone != gone_.end() && !ReportingPaused();) {
    if (Clock::now() < gone->second) {
      ++gone;
      continue;
    }
    if (environment_.between_steps) environment_.between_steps();
    Status sent = reporter_.FinalizeClaim(gone->first);
    if (environment_.between_steps) environment_.between_steps();
    if (sent.ok() || sent.code() == StatusCode::kNotFound) {
      claims_.erase(gone->first);
      reported_.erase(gone->first);
      gone = gone_.erase(gone);
      continue;
    }
    LOG(kWarning, "claim_not_finalized", {{"instance", gone->first.ToString()}, {"error", sent}});
    if (!Unreachable(sent)) gone->second = Clock::now() + kReportingPause;
    ++gone;
  }
}

void Reconciler::AdjustFloatingVcpus() {
  if (!have_host_ || (!adjust_ && Clock::now() < next_adjust_)) return;
  adjust_ = false;
  next_adjust_ = Clock::now() + kAdjustInterval;
  for (const auto& [consumer, instance] : instances_) {
    auto claim = claims_.find(consumer);
    if (claim == claims_.end()) continue;
    instance->AdjustAffinity(claim->second, VcpuAffinity(claim->second, host_, exclusive_));
  }
}

void Reconciler::Publish() {
  std::map<Uuid, View> views;
  for (const auto& [consumer, instance] : instances_) {
    View& view = views[consumer];
    if (instance->has_process()) view.process = instance->record().process;
    view.api_socket = instance->api_socket();
    view.console_log = instance->console_log();
    auto claim = claims_.find(consumer);
    if (claim == claims_.end()) continue;
    view.claim = claim->second;
    view.affinity = VcpuAffinity(claim->second, host_, exclusive_);
  }
  std::lock_guard lock(mutex_);
  views_ = std::move(views);
}

void Reconciler::WaitForWork() {
  milliseconds wait = kMaxWait;
  std::vector<pollfd> polled = {{wake_.get(), POLLIN, 0}};
  if (unclaimed_ == Unclaimed::kStop && !unclaimed_since_.empty()) wait = std::min(wait, kReportingPause);
  for (const auto& [consumer, instance] : instances_) {
    wait = std::min(wait, instance->NextStep());
    // A process that has ended stays readable: until its exit status is there, NextStep decides alone.
    if (int fd = instance->pidfd(); fd >= 0 && instance->NextStep() == kMaxWait)
      polled.push_back({fd, POLLIN, 0});
  }
  if (!gone_.empty() || retry_later_ || ReportingPaused()) wait = std::min(wait, kReportingPause);
  ::poll(polled.data(), polled.size(), static_cast<int>(wait.count()));
  uint64_t count = 0;
  [[maybe_unused]] ssize_t got = ::read(wake_.get(), &count, sizeof count);
}

Result<InstanceRuntime> Reconciler::Runtime(const Uuid& consumer) const {
  View view;
  {
    std::lock_guard lock(mutex_);
    auto found = views_.find(consumer);
    if (found == views_.end()) return NotFound("instance " + consumer.ToString() + " is not on this host");
    view = found->second;
  }
  InstanceRuntime runtime;
  runtime.api_socket = view.api_socket;
  runtime.console_log = view.console_log;
  if (!view.process.has_value()) return runtime;
  Result<Process> adopted = Process::Adopt(*view.process);
  if (!adopted.has_value() && adopted.error().code() == StatusCode::kNotFound) return runtime;  // it ended
  if (!adopted.has_value()) return adopted.error();
  const Process& process = *adopted;
  Result<ProcessPlacement> placement = ReadProcessPlacement(process.id().pid);
  if (process.Ended()) return runtime;
  if (!placement.has_value()) return placement.error();
  runtime.pid = process.id().pid;
  runtime.placement = *std::move(placement);
  if (view.claim.has_value()) {
    runtime.violations = ComparePlacement(*view.claim, view.affinity, runtime.placement);
  } else {
    runtime.violations = {"no claim for this instance is known"};
  }
  return runtime;
}

}  // namespace berth::agent
