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
#include "compute-agent/instances/guest_cmdline.h"
#include "compute-agent/instances/vmm_options.h"

namespace berth::agent {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kReportingPause{1'000};
constexpr milliseconds kAdjustInterval{10'000};
constexpr milliseconds kMaxWait{10'000};
constexpr milliseconds kHealPause{30'000};
constexpr milliseconds kWishWait{20'000};
constexpr int kLockAttempts = 20;
constexpr milliseconds kLockPause{50};

}  // namespace

Reconciler::Reconciler(const ReconcilerOptions& options, ClaimReporter& reporter, ConsoleHub& consoles)
    : images_(options.state_dir + "/images"),
      reporter_(reporter),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  environment_.folder = options.state_dir + "/instances";
  environment_.vmm_path = options.vmm_path;
  environment_.binder = DeviceBinder(options.root);
  if (options.vf_links != nullptr)
    environment_.vf_ports = &vf_ports_.emplace(options.root, *options.vf_links);
  environment_.images = &images_;
  environment_.taps = options.taps;
  environment_.used_devices = UsedDevices(options.state_dir + "/used-devices");
  environment_.secure_cards = SecureCards(options.state_dir + "/secure-cards", ReadBootId().value_or(""));
  environment_.consoles = &consoles;
  environment_.events = &events_;
  environment_.start_timeout = options.start_timeout;
  environment_.shutdown_timeout = options.shutdown_timeout;
  environment_.terminate_timeout = options.terminate_timeout;
  environment_.restore_timeout = options.restore_timeout;
  environment_.root = options.root;
  environment_.policy = options.policy;
  environment_.encode_claim = [this](const placement::Claim& claim) { return reporter_.EncodeClaim(claim); };
  environment_.other_holder = [this](const PciAddress& device, const Uuid& but) {
    return OtherHolder(device, but);
  };
  environment_.confidential = options.confidential;
  environment_.between_steps = options.between_steps;
  proof_interval_ = options.proof_interval;
  unclaimed_ = options.unclaimed;
  unclaimed_grace_ = options.unclaimed_grace;
}

Status CheckStateDir(const std::string& state_dir) {
  if (!state_dir.starts_with('/'))
    return InvalidArgument("\"" + state_dir + "\" is not absolute", "state_dir");
  constexpr size_t kLongest = kMaxInstancesFolder - std::string_view("/instances").size();
  if (state_dir.size() > kLongest) {
    return InvalidArgument("\"" + state_dir + "\" has " + std::to_string(state_dir.size()) +
                               " characters, at most " + std::to_string(kLongest) +
                               " are allowed: UNIX sockets live below it",
                           "state_dir");
  }
  if (state_dir.find_first_of(",[]\"") != std::string::npos) {
    return InvalidArgument("\"" + state_dir + "\" has one of the characters ,[]\"", "state_dir");
  }
  return OkStatus();
}

Result<std::unique_ptr<Reconciler>> Reconciler::Open(const ReconcilerOptions& options,
                                                     ClaimReporter& reporter, ConsoleHub& consoles) {
  TRY(CheckStateDir(options.state_dir));
  std::unique_ptr<Reconciler> reconciler(new Reconciler(options, reporter, consoles));
  const std::string& folder = reconciler->environment_.folder;
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
  TRY_ASSIGN(reconciler->records_, RecordStore::Open(options.state_dir + "/agent.db"));
  reconciler->environment_.records = reconciler->records_.get();
  TRY(reconciler->LoadInstances());
  return reconciler;
}

Reconciler::~Reconciler() {
  stop_ = true;
  Wake();
  if (thread_.joinable()) thread_.join();
  proofs_queue_.Stop();
  std::lock_guard lock(mutex_);
  for (const Wish& wish : inbox_.wishes) wish.answer->set_value(Unavailable("the agent is ending"));
}

Status Reconciler::LoadInstances() {
  std::error_code error;
  std::filesystem::directory_iterator entries(environment_.folder, error);
  if (error) return ErrnoStatus(environment_.folder, error.value());
  // Of a deleted one the record goes last, of a new one it comes second.
  TRY_ASSIGN(const std::vector<Uuid> recorded, records_->All());
  std::set<Uuid> consumers(recorded.begin(), recorded.end());
  for (const auto& entry : entries) {
    Result<Uuid> consumer = Uuid::Parse(entry.path().filename().string());
    if (!consumer.has_value()) {
      LOG(kWarning, "foreign_entry_ignored", {{"path", entry.path().string()}});
      continue;
    }
    consumers.insert(*consumer);
  }
  for (const Uuid& consumer : consumers) instances_[consumer] = Instance::Load(environment_, consumer);
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

std::optional<Uuid> Reconciler::OtherHolder(const PciAddress& device, const Uuid& but) const {
  for (const auto& [consumer, instance] : instances_) {
    const std::vector<BoundDevice>& devices = instance->record().devices;
    auto same = [&](const BoundDevice& bound) { return bound.address == device; };
    if (consumer != but && std::any_of(devices.begin(), devices.end(), same)) return consumer;
  }
  return std::nullopt;
}

void Reconciler::SetHost(placement::HostReport host, std::set<PciAddress> unmanaged,
                         std::set<PciAddress> one_time_use, std::map<PciAddress, PciAddress> cards) {
  std::lock_guard lock(mutex_);
  inbox_.host = Host{std::move(host), std::move(unmanaged), std::move(one_time_use), std::move(cards)};
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

Status Reconciler::Ask(const Uuid& consumer, bool dry_run, std::function<Status(Instance&)> change) {
  auto answer = std::make_shared<std::promise<Status>>();
  std::future<Status> granted = answer->get_future();
  {
    std::lock_guard lock(mutex_);
    inbox_.wishes.push_back({consumer, dry_run, std::move(change), std::move(answer)});
  }
  Wake();
  if (granted.wait_for(kWishWait) == std::future_status::ready) return granted.get();
  return {StatusCode::kDeadlineExceeded, "the agent is busy; it may still do it"};
}

Status Reconciler::Act(const Uuid& consumer, Action action, bool dry_run) {
  return Ask(consumer, dry_run, [=](Instance& instance) { return instance.Act(action, dry_run); });
}

Status Reconciler::AttachDisk(const Uuid& consumer, const DiskAttachment& disk, bool dry_run) {
  return Ask(consumer, dry_run, [=](Instance& instance) { return instance.AttachDisk(disk, dry_run); });
}

Status Reconciler::DetachDisk(const Uuid& consumer, const std::string& id, bool dry_run) {
  return Ask(consumer, dry_run, [=](Instance& instance) { return instance.DetachDisk(id, dry_run); });
}

Status Reconciler::Grant(const Wish& wish) {
  if (!synced_) return Unavailable("the claims of this host are not known yet");
  auto claim = claims_.find(wish.consumer);
  if (claim == claims_.end() || claim->second.external || !claim->second.reserved_for.is_nil()) {
    return NotFound("instance " + wish.consumer.ToString() + " is not on this host", "instance");
  }
  if (claim->second.phase == placement::ClaimPhase::kReleasing) {
    return FailedPrecondition("instance \"" + claim->second.name + "\" is being deleted", "instance");
  }
  if (instances_.contains(wish.consumer) || !wish.dry_run) return wish.change(InstanceOf(claim->second));
  Instance unknown(environment_, wish.consumer, claim->second.name);
  return wish.change(unknown);
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
    cards_ = std::move(inbox.host->cards);
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
      // What was reported may be gone from there: claims that are exchanged begin without a status.
      auto reported = reported_.find(consumer);
      if (reported != reported_.end() && !reported->second.Is(claim->status)) reported_.erase(reported);
      claims_[consumer] = *std::move(claim);
    } else {
      claims_.erase(consumer);
      reported_.erase(consumer);
      gone_.erase(consumer);
    }
  }
  for (const Wish& wish : inbox.wishes) wish.answer->set_value(Grant(wish));
  if (!inbox.host.has_value() && !inbox.all.has_value() && inbox.changes.empty()) return;
  moved_.clear();
  for (const auto& [consumer, claim] : claims_) {
    if (!claim.reserved_for.is_nil()) moved_[claim.reserved_for] = consumer;
  }
  std::vector<placement::Claim> claims;
  ordinary_cards_.clear();
  for (const auto& [consumer, claim] : claims_) {
    claims.push_back(claim);
    if (IsConfidential(claim)) continue;
    for (const placement::DeviceBinding& device : claim.devices) {
      if (auto card = cards_.find(device.address); card != cards_.end()) ordinary_cards_.insert(card->second);
    }
  }
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
  DropDevices();
  ProveWhenDue();
}

void Reconciler::StepClaim(const Uuid& consumer, const placement::Claim& claim) {
  if (claim.external) return;  // somebody else's hypervisor runs it
  if (!claim.reserved_for.is_nil()) {
    StepReservation(claim);
    return;
  }
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
  InstanceOf(claim).Step({claim, host_, exclusive_, unmanaged_, one_time_use_, cards_, ordinary_cards_});
}

Instance& Reconciler::InstanceOf(const placement::Claim& claim) {
  std::unique_ptr<Instance>& instance = instances_[claim.consumer];
  if (instance == nullptr) instance = std::make_unique<Instance>(environment_, claim.consumer, claim.name);
  instance->BeginsAs(claim.stays_stopped ? Goal::kStopped : Goal::kRunning);
  return *instance;
}

// A claim that holds resources for the move of an instance. Nothing of it runs; while the instance's own
// claim is on another host, what is left of the instance here waits without a process until this claim is
// released.
void Reconciler::StepReservation(const placement::Claim& claim) {
  const auto own = claims_.find(claim.reserved_for);
  auto found = instances_.find(claim.reserved_for);
  const bool releasing = claim.phase == placement::ClaimPhase::kReleasing;
  if (own != claims_.end() || found == instances_.end()) {
    // Of an instance that stays here, what it does not hold any more is taken back by its own steps.
    bool done =
        found == instances_.end() ||
        std::none_of(claim.devices.begin(), claim.devices.end(), [&](const placement::DeviceBinding& device) {
          return found->second->Holds(device.address) &&
                 std::none_of(
                     own->second.devices.begin(), own->second.devices.end(),
                     [&](const placement::DeviceBinding& kept) { return kept.address == device.address; });
        });
    if (releasing && done) gone_.try_emplace(claim.consumer);
    return;
  }
  if (!releasing) {
    if (claim.swapped) found->second->StepTowardsNoProcess();
    return;
  }
  if (!found->second->StepTowardsGone()) return;
  LOG(kInfo, "moved_instance_removed", {{"instance", claim.reserved_for.ToString()}});
  instances_.erase(found);
  gone_.try_emplace(claim.consumer);
}

// Instances that no claim explains. A running VM is only ended for that by policy and after a while, since
// the claim may have been lost elsewhere; so is the record of one that has stopped, whose disks and claim its
// owner expects to find again. What never came so far as to have a claim on record is cleaned up.
void Reconciler::StepUnclaimed() {
  for (auto entry = instances_.begin(); entry != instances_.end();) {
    auto& [consumer, instance] = *entry;
    if (claims_.contains(consumer) || moved_.contains(consumer)) {
      unclaimed_since_.erase(consumer);
      heal_at_.erase(consumer);
      ++entry;
      continue;
    }
    instance->Observe();
    auto [since, is_new] = unclaimed_since_.try_emplace(consumer, Clock::now());
    bool stop = unclaimed_ == Unclaimed::kStop && Clock::now() - since->second >= unclaimed_grace_;
    bool keep = instance->has_process() || !instance->record().claim.empty();
    if (keep && !stop && is_new) {
      LOG(kWarning, "instance_without_claim_found",
          {{"instance", consumer.ToString()},
           {"pid", instance->has_process() ? instance->record().process.pid : 0}});
    }
    if (keep && !stop && !instance->broken()) keep = Heal(consumer, *instance);
    const bool stays = (keep && !stop) || instance->broken();
    if (!stays && instance->StepTowardsGone()) {
      ++events_.leftovers_removed;
      LOG(kInfo, "instance_without_claim_removed", {{"instance", consumer.ToString()}});
      unclaimed_since_.erase(consumer);
      heal_at_.erase(consumer);
      entry = instances_.erase(entry);
    } else {
      ++entry;
    }
  }
}

// Seed 002: "makes sure that existing instances ... will have a corresponding PCI allocation in placement".
// What is here is the truth; the claim comes back by the watch of claims.
bool Reconciler::Heal(const Uuid& consumer, const Instance& instance) {
  if (unclaimed_ != Unclaimed::kHeal || instance.record().claim.empty()) return true;
  if (ReportingPaused() || Clock::now() < heal_at_[consumer]) return true;
  heal_at_[consumer] = Clock::now() + kHealPause;
  Status restored = reporter_.RestoreClaim(instance.record().claim);
  if (restored.ok()) {
    ++events_.claims_restored;
    LOG(kWarning, "claim_restored", {{"instance", consumer.ToString()}});
    return true;
  }
  ++events_.claims_not_restored;
  LOG(kWarning, "claim_not_restored", {{"instance", consumer.ToString()}, {"error", restored}});
  // Its claim is there, but not here: it was moved while nobody could tell this agent. A VM that runs is left
  // to the operator, who alone can say which of the two is the right one.
  if (restored.code() == StatusCode::kAlreadyExists && restored.field() == "consumer")
    return instance.has_process() || Clock::now() - unclaimed_since_[consumer] < unclaimed_grace_;
  Unreachable(restored);
  return true;
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
    if (reported->second.Is(status)) continue;
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

// Devices that were asked back and that nothing of their instance has any more.
void Reconciler::DropDevices() {
  if (!synced_ || ReportingPaused() || Clock::now() < drop_at_) return;
  for (const auto& [consumer, claim] : claims_) {
    if (claim.phase != placement::ClaimPhase::kActive || claim.external) continue;
    for (const placement::DeviceBinding& device : claim.devices) {
      auto instance = instances_.find(consumer);
      if (!device.leaving || (instance != instances_.end() && instance->second->Holds(device.address)))
        continue;
      if (environment_.between_steps) environment_.between_steps();
      Status dropped = reporter_.DropDevice(consumer, device.address);
      if (environment_.between_steps) environment_.between_steps();
      // The claim without it comes by the watch; until then it is not said again.
      drop_at_ = Clock::now() + kReportingPause;
      if (dropped.ok() || dropped.code() == StatusCode::kNotFound) continue;
      LOG(kWarning, "device_not_dropped",
          {{"instance", consumer.ToString()}, {"device", device.address.ToString()}, {"error", dropped}});
      if (Unreachable(dropped)) return;
    }
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
    view.running = instance->record().phase == Phase::kRunning;
    view.state = instance->status().state;
    for (const BoundDevice& device : instance->record().devices) view.bound.insert(device.address);
    view.api_socket = instance->api_socket();
    view.console_log = instance->console_log();
    view.disks = instance->record().disks;
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
  for (const auto& [consumer, claim] : claims_) {
    // Looked at again until placement has dropped the device.
    if (std::any_of(claim.devices.begin(), claim.devices.end(),
                    [](const placement::DeviceBinding& device) { return device.leaving; }))
      wait = std::min(wait, kReportingPause);
  }
  for (const auto& [consumer, instance] : instances_) {
    wait = std::min(wait, instance->NextStep());
    // A process that has ended stays readable: until its exit status is there, NextStep decides alone.
    if (int fd = instance->pidfd(); fd >= 0 && instance->NextStep() == kMaxWait)
      polled.push_back({fd, POLLIN, 0});
  }
  if (synced_ && !instances_.empty()) {
    wait = std::min(wait, std::max(milliseconds(1),
                                   std::chrono::duration_cast<milliseconds>(next_proof_ - Clock::now())));
  }
  if (!gone_.empty() || retry_later_ || ReportingPaused()) wait = std::min(wait, kReportingPause);
  ::poll(polled.data(), polled.size(), static_cast<int>(wait.count()));
  uint64_t count = 0;
  [[maybe_unused]] ssize_t got = ::read(wake_.get(), &count, sizeof count);
}

void Reconciler::ProveWhenDue() {
  if (!synced_ || Clock::now() < next_proof_) return;
  next_proof_ = Clock::now() + proof_interval_;
  std::lock_guard lock(mutex_);
  if (proving_ || views_.empty()) return;
  proving_ = proofs_queue_.Push([this] { Prove(); });
}

// On a thread of its own. What differs is told when it begins to differ, and when it is right again.
void Reconciler::Prove() {
  std::map<Uuid, std::optional<ProcessId>> running;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [consumer, view] : views_) {
      if (view.running) running[consumer] = view.process;
    }
  }
  std::map<Uuid, Proof> proofs;
  for (const auto& [consumer, process] : running) {
    if (!process.has_value() || stop_) continue;
    Result<InstanceRuntime> runtime = Runtime(consumer);
    if (!runtime.has_value() || runtime->pid != process->pid) continue;
    auto now = std::chrono::system_clock::now().time_since_epoch();
    proofs[consumer] = {*process,
                        static_cast<uint64_t>(std::chrono::duration_cast<milliseconds>(now).count()),
                        runtime->violations};
  }
  std::lock_guard lock(mutex_);
  for (const auto& [consumer, proof] : proofs) {
    auto before = proofs_.find(consumer);
    const bool differed = before != proofs_.end() && !before->second.violations.empty();
    if (differed == !proof.violations.empty()) continue;
    if (differed) {
      LOG(kInfo, "placement_right_again", {{"instance", consumer.ToString()}});
    } else {
      LOG(kWarning, "placement_differs",
          {{"instance", consumer.ToString()},
           {"differences", proof.violations.size()},
           {"first", proof.violations.front()}});
    }
  }
  proofs_ = std::move(proofs);
  proving_ = false;
}

Reconciler::ProofCount Reconciler::LastProofs() const {
  std::lock_guard lock(mutex_);
  return CountProofs();
}

Reconciler::ProofCount Reconciler::CountProofs() const {
  ProofCount count{proofs_.size(), 0};
  for (const auto& [consumer, proof] : proofs_) count.different += proof.violations.empty() ? 0 : 1;
  return count;
}

InstanceSummary Reconciler::Summary() const {
  InstanceSummary summary;
  std::lock_guard lock(mutex_);
  for (const auto& [consumer, view] : views_) {
    ++summary.by_state[view.state];
    if (!view.claim.has_value()) ++summary.unclaimed;
    if (view.running && view.process.has_value() && !proofs_.contains(consumer)) ++summary.unproven;
    summary.held.insert(view.bound.begin(), view.bound.end());
    if (!view.claim.has_value()) continue;
    for (const placement::DeviceBinding& device : view.claim->devices) summary.held.insert(device.address);
  }
  const ProofCount proofs = CountProofs();
  summary.proven = proofs.instances - proofs.different;
  summary.different = proofs.different;
  return summary;
}

Result<InstanceRuntime> Reconciler::Runtime(const Uuid& consumer) const {
  View view;
  InstanceRuntime runtime;
  {
    std::lock_guard lock(mutex_);
    auto found = views_.find(consumer);
    if (found == views_.end()) return NotFound("instance " + consumer.ToString() + " is not on this host");
    view = found->second;
    auto proof = proofs_.find(consumer);
    if (proof != proofs_.end() && proof->second.process == view.process) {
      runtime.proven_at_ms = proof->second.at_ms;
      runtime.last_violations = proof->second.violations;
    }
  }
  runtime.api_socket = view.api_socket;
  runtime.console_log = view.console_log;
  runtime.disks = view.disks;
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
    if (view.running && !view.claim->cells.empty()) {
      Result<VmmInfo> info = VmmClient(view.api_socket).Info();
      std::vector<std::string> nodes =
          info.has_value()
              ? CompareGuestNodes(*view.claim, info->nodes)
              : std::vector<std::string>{"its guest's nodes cannot be told: " + info.error().message()};
      runtime.violations.insert(runtime.violations.end(), nodes.begin(), nodes.end());
    }
    if (!view.claim->devices.empty()) {
      Result<std::set<std::string>> nodes = OpenVfioNodes(process.id().pid);
      std::vector<std::string> devices =
          nodes.has_value()
              ? CompareDevices(*view.claim, environment_.root, *nodes)
              : std::vector<std::string>{"its devices cannot be told: " + nodes.error().message()};
      runtime.violations.insert(runtime.violations.end(), devices.begin(), devices.end());
    }
  } else {
    runtime.violations = {"no claim for this instance is known"};
  }
  return runtime;
}

}  // namespace berth::agent
