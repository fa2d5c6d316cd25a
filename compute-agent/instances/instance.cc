#include "compute-agent/instances/instance.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <utility>
#include <vector>

#include "common/file.h"
#include "common/log.h"
#include "compute-agent/instances/guest_cmdline.h"
#include "compute-agent/instances/oom_killer.h"
#include "compute-agent/instances/placement_proof.h"
#include "compute-agent/instances/vmm_client.h"
#include "compute-agent/instances/vmm_options.h"

namespace berth::agent {
namespace {

using placement::InstanceState;
using std::chrono::milliseconds;

constexpr uint32_t kMaxAttempts = 3;
constexpr milliseconds kSoon{20};
constexpr milliseconds kIdle{10'000};
constexpr milliseconds kCopyPause{200};
constexpr milliseconds kDevicePause{1'000};
constexpr milliseconds kExitStatusWait{1'000};
constexpr size_t kMaxDetail = 3800;  // a status carries at most 4096 bytes
constexpr size_t kLastLines = 5;
constexpr size_t kLastBytes = 3000;
constexpr milliseconds kFirstPatience{20};
constexpr milliseconds kMaxPatience{1'000};
constexpr int kPauseFactor = 10;  // pings wait for an answer during at most a tenth of the time
constexpr uint64_t kOomAdviceMib = 256;
constexpr const char* kOnRequest = "stopped on request";
#if defined(__x86_64__)
constexpr bool kX86 = true;
#else
constexpr bool kX86 = false;
#endif
constexpr int kNeverExecuted = 125;  // see process.cc: the child found its parent gone

uint64_t NowMs() {
  auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<uint64_t>(std::chrono::duration_cast<milliseconds>(now).count());
}

PageCounts HugePages(const StartRequest& request) {
  PageCounts pages;
  for (const placement::CellBinding& cell : request.claim.cells) {
    if (cell.page_size_bytes > 4096) {
      pages[{cell.host_cell, cell.page_size_bytes}] += cell.memory_bytes / cell.page_size_bytes;
    }
  }
  return pages;
}

// Short, and ASCII without control bytes except line ends: it holds what a VMM printed.
std::string Printable(std::string text) {
  if (text.size() > kMaxDetail) text.resize(kMaxDetail);
  for (char& c : text) {
    auto byte = static_cast<unsigned char>(c);
    if ((byte < ' ' && c != '\n') || byte >= 0x7f) c = '?';
  }
  return text;
}

// The last `bytes` of a file, which may be of any size; empty if it cannot be read.
std::string ReadTail(const std::string& path, size_t bytes) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return {};
  off_t size = ::lseek(fd.get(), 0, SEEK_END);
  off_t from = std::max<off_t>(0, size - static_cast<off_t>(bytes));
  std::string tail(bytes, '\0');
  ssize_t got = ::pread(fd.get(), tail.data(), tail.size(), from);
  tail.resize(got > 0 ? static_cast<size_t>(got) : 0);
  return tail;
}

bool SetAffinity(pid_t tid, const CpuSet& cpus) {
  size_t size = CPU_ALLOC_SIZE(CpuSet::kMaxCpu + 1);
  std::vector<unsigned long> mask(size / sizeof(unsigned long));
  for (uint32_t cpu : cpus.ToVector()) mask[cpu / 64] |= 1UL << (cpu % 64);
  return ::sched_setaffinity(tid, size, reinterpret_cast<const cpu_set_t*>(mask.data())) == 0;
}

}  // namespace

Instance::Instance(const InstanceEnvironment& environment, const Uuid& consumer, std::string name)
    : environment_(environment) {
  record_.consumer = consumer;
  record_.name = std::move(name);
  SetStatus(InstanceState::kBuilding);
}

std::unique_ptr<Instance> Instance::Load(const InstanceEnvironment& environment, const Uuid& consumer) {
  auto instance = std::make_unique<Instance>(environment, consumer, "");
  Result<InstanceRecord> record = environment.records->Load(consumer);
  if (!record.has_value() && record.error().code() == StatusCode::kNotFound) {
    instance->RecoverWithoutRecord();
    return instance;
  }
  if (!record.has_value() || record->consumer != consumer) {
    instance->broken_ = true;
    instance->SetStatus(
        InstanceState::kFailed,
        "the agent's record of the instance cannot be used: check by hand whether its VMM runs, then "
        "remove " +
            instance->folder() + ": " + record.status().message());
    LOG(kError, "instance_record_refused", {{"instance", consumer.ToString()}, {"error", record.status()}});
    return instance;
  }
  instance->record_ = *std::move(record);
  instance->recorded_ = true;
  instance->Recover();
  return instance;
}

// The folder was made and nothing was started; or the agent's records were lost under a VM that runs. What
// that one has of the host stands nowhere, so it is neither adopted nor started a second time.
void Instance::RecoverWithoutRecord() {
  Result<pid_t> vmm = FindByArgument("--api-socket=" + api_socket());
  if (!vmm.has_value() && vmm.error().code() == StatusCode::kNotFound) return;
  broken_ = true;
  SetStatus(InstanceState::kFailed,
            vmm.has_value() ? "its VMM runs as process " + std::to_string(*vmm) +
                                  ", but the agent has no record of it and leaves it alone: shut the guest "
                                  "down, then start the agent again"
                            : "the agent has no record of it, and it cannot be told whether its VMM runs: " +
                                  vmm.error().message());
  LOG(kError, "instance_without_record_runs",
      {{"instance", record_.consumer.ToString()}, {"detail", status_.detail}});
}

void Instance::Recover() {
  if (record_.phase == Phase::kExited) {
    Outcome outcome = record_.outcome.value_or(Outcome{});
    SetStatus(outcome.state, outcome.detail);
    environment_.consoles->Attach(record_.consumer, serial_socket(), console_log());
    environment_.consoles->Detach(record_.consumer);
    return;
  }
  if (record_.phase == Phase::kPreparing) return;
  Result<Process> process = Process::Adopt(record_.process);
  if (process.has_value()) {
    process_ = *std::move(process);
    adopted_ = true;
    deadline_ = Clock::now() + environment_.start_timeout;
    environment_.consoles->Attach(record_.consumer, serial_socket(), console_log());
    running_since_ = Clock::now();
    if (record_.phase == Phase::kRunning) ShowRunning();
    Count(&InstanceEvents::adopted);
    LOG(kInfo, "instance_adopted", {{"instance", record_.consumer.ToString()}, {"pid", record_.process.pid}});
    return;
  }
  if (process.error().code() != StatusCode::kNotFound) {
    // To take a VM that runs for an ended one would give its devices to others.
    broken_ = true;
    SetStatus(InstanceState::kFailed, "it cannot be told whether its VMM runs: " + process.error().message() +
                                          "; the next start of the agent looks again");
    LOG(kError, "instance_not_adopted",
        {{"instance", record_.consumer.ToString()}, {"error", process.error()}});
    return;
  }
  Result<std::string> boot_id = ReadBootId();
  bool rebooted = boot_id.has_value() && *boot_id != record_.process.boot_id;
  if (rebooted || record_.reboot) record_.attempts = 0;
  if (record_.goal == Goal::kStopped) {
    Finish(InstanceState::kStopped, kOnRequest);
    return;
  }
  if (rebooted && !environment_.policy.start_after_reboot) {
    Finish(InstanceState::kStopped, "the host was rebooted; by policy it is not started again");
    return;
  }
  if (rebooted || record_.reboot || record_.phase == Phase::kStarting) {
    record_.reboot = false;
    record_.reset = false;
    record_.phase = Phase::kPreparing;  // the start is repeated; saved with its next step
    return;
  }
  Finish(InstanceState::kStopped,
         "ended while no agent watched it, its exit status is unknown" + LastOutput());
}

void Instance::SetStatus(InstanceState state, std::string detail) {
  detail = Printable(std::move(detail));
  if (status_.state == state && status_.detail == detail) return;
  status_ = {state, std::move(detail), NowMs()};
}

bool Instance::Save() {
  BetweenSteps();
  Status saved = environment_.records->Save(record_);
  BetweenSteps();
  recorded_ = recorded_ || saved.ok();
  if (saved.ok()) return true;
  LOG(kError, "instance_record_not_saved", {{"instance", record_.consumer.ToString()}, {"error", saved}});
  return false;
}

milliseconds Instance::NextStep() const {
  if (broken_) return kIdle;
  if (restart_at_.has_value()) {
    auto left = std::chrono::duration_cast<milliseconds>(*restart_at_ - Clock::now());
    return std::clamp(left, milliseconds(1), kIdle);
  }
  if (record_.phase == Phase::kPreparing && copying_) return kCopyPause;
  if (record_.phase == Phase::kPreparing && waiting_) return kDevicePause;
  bool repeat = record_.phase == Phase::kPreparing && (adopted_ || record_.goal == Goal::kStopped);
  bool ends = process_.has_value() && (record_.goal == Goal::kStopped || record_.reboot);
  bool busy = repeat || ends || record_.phase == Phase::kStarting || stop_ != Stop::kNone ||
              exit_status_until_.has_value();
  bool asks = record_.phase == Phase::kRunning && process_.has_value() &&
              (plug_ || record_.reset || paused_ != (record_.goal == Goal::kPaused));
  if (!busy && asks) {
    auto left = std::chrono::duration_cast<milliseconds>(next_call_ - Clock::now());
    return std::clamp(left, kSoon, kIdle);
  }
  return busy ? kSoon : kIdle;
}

// Somebody looked by hand and removed the folder: nothing of the instance is left.
void Instance::ForgetBrokenRecord() {
  std::error_code error;
  if (!broken_ || std::filesystem::exists(folder(), error) || error) return;
  if (Status removed = environment_.records->Remove(record_.consumer); !removed.ok()) {
    LOG(kError, "instance_record_not_removed",
        {{"instance", record_.consumer.ToString()}, {"error", removed}});
    return;
  }
  broken_ = false;
  SetStatus(InstanceState::kBuilding);
}

void Instance::Step(const StartRequest& request) {
  ForgetBrokenRecord();
  if (broken_) return;
  if (!process_.has_value() && !TakeBackUnclaimed(&request.claim)) return;
  if ((record_.goal == Goal::kStopped || record_.reboot) && !StepTowardsStopped()) return;
  if (record_.phase != Phase::kPreparing) {
    Observe();
    Plug(request);
    return;
  }
  if (restart_at_.has_value() && Clock::now() < *restart_at_) return;
  restart_at_.reset();
  record_.name = request.claim.name;
  if (!copying_ && !waiting_) SetStatus(InstanceState::kBuilding);
  if (record_.attempts >= kMaxAttempts) {
    Finish(InstanceState::kFailed, "the VMM ended " + std::to_string(record_.attempts) +
                                       " times before it could be watched" + LastOutput());
    return;
  }
  Status prepared = Prepare(request);
  if (!prepared.ok()) Finish(InstanceState::kFailed, prepared.message());
}

std::optional<Uuid> Instance::OtherHolder(const PciAddress& device) const {
  if (!environment_.other_holder) return std::nullopt;
  return environment_.other_holder(device, record_.consumer);
}

// Why a device of the claim cannot be had yet; empty: all can. Placement may have given it away while an
// instance that it does not know any more still runs with it: not even a reset may reach it then.
std::string Instance::HeldElsewhere(const placement::Claim& claim) const {
  for (const placement::DeviceBinding& device : claim.devices) {
    if (device.leaving) continue;
    if (std::optional<Uuid> holder = OtherHolder(device.address))
      return "device " + device.address.ToString() + " is still held by instance " + holder->ToString();
  }
  return {};
}

// A device that another record has, too, is the other's to give back.
Status Instance::TakeBack(const BoundDevice& device) const {
  std::optional<Uuid> holder = OtherHolder(device.address);
  if (!holder.has_value()) {
    return DeviceHandover(environment_.binder, environment_.vf_ports).TakeBack(device);
  }
  LOG(kWarning, "device_left_to_its_other_holder",
      {{"device", device.address.ToString()},
       {"instance", record_.consumer.ToString()},
       {"holder", holder->ToString()}});
  return OkStatus();
}

Status Instance::Prepare(const StartRequest& request) {
  std::string held = HeldElsewhere(request.claim);
  waiting_ = !held.empty();
  if (waiting_) {
    SetStatus(InstanceState::kBuilding, "it waits: " + held);
    return OkStatus();
  }
  if (::mkdir(folder().c_str(), 0700) != 0 && errno != EEXIST) return ErrnoStatus("mkdir " + folder(), errno);
  BetweenSteps();
  TRY_ASSIGN(placement::Claim claim, Composed(request));
  TRY_ASSIGN(bool disks_ready, PrepareDisks(claim));
  copying_ = !disks_ready;
  if (copying_) {
    SetStatus(InstanceState::kBuilding, "a disk is being copied from its image");
    return OkStatus();
  }
  TRY(PrepareNets(claim));
  TRY_ASSIGN(record_.arguments,
             VmmArguments(claim, request.host, request.exclusive, {api_socket(), serial_socket()},
                          IsConfidential(claim) ? environment_.confidential : std::string()));
  record_.huge_pages = HugePages(request);
  record_.claim = environment_.encode_claim(request.claim);
  TRY(UseCards(request, request.claim.devices));
  TRY(MarkUsed(request));
  BetweenSteps();
  TRY(BindDevices(request, claim));
  BetweenSteps();
  return StartProcess();
}

// The claim as a VMM starts with it: without devices on their way out, with the disks that were attached. A
// guest that was placed as a confidential one never runs as an ordinary one.
Result<placement::Claim> Instance::Composed(const StartRequest& request) {
  const placement::Claim& claim = request.claim;
  record_.note.clear();
  placement::Claim composed = claim;
  std::erase_if(composed.devices, [](const placement::DeviceBinding& device) { return device.leaving; });
  ForgetLeftDisks();
  for (const DiskAttachment& disk : record_.disks) composed.spec.disks.push_back(DiskOption(disk));
  if (!IsConfidential(claim)) return composed;
  if (environment_.confidential.empty()) {
    return FailedPrecondition(
        "the instance must be confidential, this host's VMM makes no confidential guests: it was not "
        "started");
  }
  TRY_ASSIGN(GuestCmdline cmdline, ConfidentialCmdline(claim.spec, kX86));
  composed.spec.cmdline = std::move(cmdline.text);
  if (!cmdline.note.empty()) {
    LOG(kWarning, "swiotlb_noted", {{"instance", claim.consumer.ToString()}, {"text", cmdline.note}});
  }
  std::vector<uint32_t> class_codes;
  for (const placement::Device& device : request.host.devices) {
    const bool held = std::any_of(composed.devices.begin(), composed.devices.end(),
                                  [&](const auto& one) { return one.address == device.address; });
    if (held) class_codes.push_back(device.class_code);
  }
  swiotlb_told_.reset();
  record_.note = SwiotlbAdvice(cmdline.buffer_bytes, claim.spec.vcpus, class_codes);
  return composed;
}

// A card is marked before any of its functions is handed over, so that no fault makes it ordinary again.
Status Instance::UseCards(const StartRequest& request,
                          const std::vector<placement::DeviceBinding>& devices) const {
  if (request.cards.empty() || devices.empty()) return OkStatus();
  const bool confidential = IsConfidential(request.claim);
  TRY_ASSIGN(std::set<PciAddress> secure, environment_.secure_cards.Read());
  std::set<PciAddress> entering;
  for (const placement::DeviceBinding& device : devices) {
    auto card = request.cards.find(device.address);
    if (card == request.cards.end() || device.leaving) continue;
    const CardUse use{secure.contains(card->second), request.ordinary_cards.contains(card->second)};
    TRY(MayUseCard(device.address, card->second, use, confidential));
    if (confidential && !use.secure) entering.insert(card->second);
  }
  for (const PciAddress& card : entering) {
    BetweenSteps();
    TRY(environment_.secure_cards.Mark(card));
    LOG(kWarning, "card_given_to_secure_world",
        {{"card", card.ToString()}, {"instance", record_.consumer.ToString()}});
  }
  return OkStatus();
}

Status Instance::MarkUsed(const StartRequest& request) const {
  for (const placement::DeviceBinding& device : request.claim.devices) {
    if (request.one_time_use.contains(device.address)) TRY(environment_.used_devices.Mark(device.address));
  }
  return OkStatus();
}

Status Instance::BindDevices(const StartRequest& request, const placement::Claim& claim) {
  DeviceHandover handover(environment_.binder, environment_.vf_ports);
  TRY_ASSIGN(record_.devices, handover.Plan(claim, request.unmanaged, record_.devices));
  TRY(environment_.records->Save(record_));
  given_.clear();
  for (const placement::DeviceBinding& device : claim.devices) given_.push_back(device.address);
  return handover.HandOver(claim, record_.devices);
}

Status Instance::StartProcess() {
  std::error_code ignored;
  std::filesystem::remove(api_socket(), ignored);
  std::filesystem::remove(serial_socket(), ignored);
  auto record = [this](const ProcessId& id) {
    record_.process = id;
    record_.phase = Phase::kStarting;
    ++record_.attempts;
    BetweenSteps();  // the process is forked, but waits
    Status saved = environment_.records->Save(record_);
    BetweenSteps();
    return saved;
  };
  TRY_ASSIGN(process_, Process::Start({environment_.vmm_path, record_.arguments, vmm_log()}, record));
  adopted_ = false;
  compared_ = true;
  BetweenSteps();
  deadline_ = Clock::now() + environment_.start_timeout;
  environment_.consoles->Attach(record_.consumer, serial_socket(), console_log());
  Count(&InstanceEvents::started);
  LOG(kInfo, "instance_started",
      {{"instance", record_.consumer.ToString()}, {"name", record_.name}, {"pid", record_.process.pid}});
  return OkStatus();
}

void Instance::Observe() {
  ForgetBrokenRecord();
  if (broken_ || !process_.has_value()) return;
  if (process_->Ended()) {
    HandleEnd();
  } else if (record_.phase == Phase::kStarting) {
    CheckStarted();
  } else if (record_.phase == Phase::kRunning) {
    WatchConsole();
    FollowGoal();
  }
}

void Instance::WatchConsole() {
  std::optional<uint64_t> slabs = environment_.consoles->TakeSwiotlbFull(record_.consumer);
  if (!slabs.has_value()) return;
  Count(&InstanceEvents::swiotlb_full);
  // The guest says it, as often as it likes: what is told to placement is twice as much each time. It may
  // name no size, too (0).
  if (swiotlb_told_ && *slabs / 2 < std::max<uint64_t>(*swiotlb_told_, 1)) return;
  swiotlb_told_ = *slabs;
  std::string advice = LargerSwiotlb(*slabs);
  LOG(kWarning, "guest_swiotlb_full",
      {{"instance", record_.consumer.ToString()}, {"slabs", *slabs}, {"recommended", advice}});
  record_.note = "the guest's swiotlb buffer is full: use " + advice + " in its kernel command line";
  Save();
  ShowRunning();
}

void Instance::CheckStarted() {
  Status answer =
      Clock::now() < next_ping_ ? Unavailable("not asked") : VmmClient(api_socket(), ping_patience_).Ping();
  if (answer.code() == StatusCode::kDeadlineExceeded) {
    next_ping_ = Clock::now() + ping_patience_ * kPauseFactor;
    ping_patience_ = std::min(ping_patience_ * 2, kMaxPatience);
  }
  if (answer.ok()) {
    record_.phase = Phase::kRunning;
    if (!Save()) {
      record_.phase = Phase::kStarting;
      return;
    }
    running_since_ = Clock::now();
    if (!adopted_) paused_ = false;
    ShowRunning();
    return;
  }
  if (Clock::now() < deadline_ || kill_reason_.has_value()) return;
  kill_reason_ = "the VMM did not answer on its API socket within " +
                 std::to_string(environment_.start_timeout.count() / 1000) + " s";
  process_->Signal(SIGKILL);
}

void Instance::HandleEnd() {
  std::optional<ExitStatus> exit = process_->TakeExitStatus();
  if (!exit.has_value()) {
    if (!exit_status_until_.has_value()) exit_status_until_ = Clock::now() + kExitStatusWait;
    if (Clock::now() < *exit_status_until_) return;
    exit = ExitStatus{};
  }
  bool repeat = exit->code == kNeverExecuted || (!exit->code.has_value() && !exit->signal.has_value());
  if (adopted_ && record_.phase == Phase::kStarting && repeat) {
    process_.reset();
    exit_status_until_.reset();
    record_.phase = Phase::kPreparing;
    return;
  }
  if (exit->code == 0) {
    End(InstanceState::kStopped, "the guest powered off");
  } else if (!exit->code.has_value() && !exit->signal.has_value()) {
    End(InstanceState::kStopped, "ended, its exit status is unknown" + LastOutput());
  } else {
    End(InstanceState::kFailed, ExitText(*exit));
  }
}

bool Instance::MayRestart(InstanceState state) const {
  switch (environment_.policy.restart) {
    case Restart::kNever:
      return false;
    case Restart::kOnFailure:
      if (state != InstanceState::kFailed) return false;
      break;
    case Restart::kAlways:
      break;
  }
  return stop_ == Stop::kNone && record_.restarts < environment_.policy.restart_limit;
}

// The end of a process: the end of the instance, or by policy the beginning of the next process.
void Instance::End(InstanceState state, const std::string& detail) {
  if (record_.goal == Goal::kStopped) {
    Finish(InstanceState::kStopped, kOnRequest);
    return;
  }
  if (record_.reboot) {
    Relaunch();
    return;
  }
  if (record_.phase == Phase::kRunning && Clock::now() - running_since_ >= environment_.policy.restart_settle)
    record_.restarts = 0;
  if (!MayRestart(state)) {
    Finish(state, detail);
    return;
  }
  milliseconds pause = environment_.policy.restart_pause * (uint64_t{1} << std::min(record_.restarts, 16U));
  restart_at_ = Clock::now() + pause;
  ++record_.restarts;
  record_.attempts = 0;
  record_.phase = Phase::kPreparing;
  Save();
  ForgetProcess();
  SetStatus(InstanceState::kBuilding, "restart " + std::to_string(record_.restarts) + " of " +
                                          std::to_string(environment_.policy.restart_limit) +
                                          " after: " + detail);
  Count(&InstanceEvents::restarted);
  LOG(kWarning, "instance_restarting",
      {{"instance", record_.consumer.ToString()}, {"restart", record_.restarts}, {"detail", detail}});
}

// What was known of a process that has ended.
void Instance::ForgetProcess() {
  environment_.consoles->Detach(record_.consumer);
  process_.reset();
  adopted_ = false;
  stop_ = Stop::kNone;
  exit_status_until_.reset();
  kill_reason_.reset();
  ping_patience_ = kFirstPatience;
  next_ping_ = {};
  paused_.reset();
  plugged_.reset();
  plug_ = false;
  compared_ = false;
  asked_back_.clear();
}

std::string Instance::ExitText(const ExitStatus& exit) const {
  std::string text;
  if (kill_reason_.has_value()) {
    text = *kill_reason_;
  } else if (exit.code.has_value()) {
    text = "the VMM exited with status " + std::to_string(*exit.code);
  } else {
    text = "the VMM was ended by signal " + std::to_string(*exit.signal) + " (" + ::strsignal(*exit.signal) +
           ")";
    if (*exit.signal == SIGKILL && KilledForMemory(environment_.root, record_.process.pid)) {
      Count(&InstanceEvents::out_of_memory);
      text += ": the host was out of memory; keep at least " + std::to_string(kOomAdviceMib) +
              " MiB more of its ordinary memory free (reserved_memory, confidential.nonsecure_headroom)";
    }
  }
  return text + LastOutput();
}

std::string Instance::LastOutput() const {
  std::string tail = ReadTail(vmm_log(), kLastBytes);
  while (tail.ends_with('\n')) tail.pop_back();
  if (tail.empty()) return {};
  size_t begin = tail.size();
  for (size_t lines = 0; lines < kLastLines && begin != std::string::npos && begin > 0; ++lines) {
    begin = tail.rfind('\n', begin - 1);
  }
  return ": " + (begin == std::string::npos || begin == 0 ? tail : tail.substr(begin + 1));
}

void Instance::Finish(InstanceState state, std::string detail) {
  detail = Printable(std::move(detail));
  record_.phase = Phase::kExited;
  record_.outcome = Outcome{state, detail};
  // Not saved (full disk): the outcome is found again from the process when the agent restarts.
  if (std::filesystem::exists(folder())) Save();
  ForgetProcess();
  SetStatus(state, detail);
  if (state == InstanceState::kFailed) Count(&InstanceEvents::failed);
  LOG(kInfo, "instance_ended",
      {{"instance", record_.consumer.ToString()},
       {"state", placement::InstanceStateName(state)},
       {"detail", detail}});
}

void Instance::AdjustAffinity(const placement::Claim& claim, const std::map<uint32_t, CpuSet>& affinity) {
  if (record_.phase != Phase::kRunning || !process_.has_value() || process_->Ended()) return;
  std::set<uint32_t> pinned;
  for (const placement::CellBinding& cell : claim.cells) {
    for (const auto& [guest, host] : cell.pinning) pinned.insert(guest);
  }
  if (pinned.size() == claim.spec.vcpus) return;
  Result<std::vector<VcpuThread>> threads = ReadVcpuThreads(record_.process.pid);
  if (!threads.has_value()) return;
  for (const VcpuThread& thread : *threads) {
    auto wanted = affinity.find(thread.vcpu);
    if (wanted == affinity.end() || pinned.contains(thread.vcpu) || wanted->second == thread.cpus_allowed)
      continue;
    bool done = SetAffinity(thread.tid, wanted->second);
    LOG(kInfo, "floating_vcpu_moved",
        {{"instance", record_.consumer.ToString()},
         {"vcpu", thread.vcpu},
         {"cpus", wanted->second.ToString()},
         {"done", done}});
  }
}

}  // namespace berth::agent
