#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "common/status.h"
#include "common/unique_fd.h"
#include "compute-agent/devices/host_config.h"
#include "compute-agent/instances/console_hub.h"
#include "compute-agent/instances/instance.h"
#include "compute-agent/instances/placement_proof.h"
#include "placement/model/claim.h"
#include "placement/model/host.h"

namespace berth::agent {

// Where the reconciler tells what became of claims. Called from its thread; a call may block for a few
// seconds.
class ClaimReporter {
 public:
  virtual ~ClaimReporter() = default;
  virtual Status ReportStatus(const Uuid& consumer, const placement::InstanceStatus& status) = 0;
  // Nothing of the claim runs or is bound any more. NotFound is success.
  virtual Status FinalizeClaim(const Uuid& consumer) = 0;
  // Text from which RestoreClaim makes a claim that placement has lost; empty: not possible.
  virtual std::string EncodeClaim(const placement::Claim& claim) const {
    (void)claim;
    return {};
  }
  // AlreadyExists is success. Refused when others hold by now what the claim held.
  virtual Status RestoreClaim(const std::string& encoded) = 0;
};

struct ReconcilerOptions {
  std::string state_dir;
  std::string vmm_path;
  std::string root = "/";  // holds sys/
  std::chrono::milliseconds start_timeout{600'000};
  std::chrono::milliseconds shutdown_timeout{30'000};
  std::chrono::milliseconds terminate_timeout{5'000};
  InstancePolicy policy = {};
  Unclaimed unclaimed = Unclaimed::kHeal;
  std::chrono::milliseconds unclaimed_grace{60'000};  // before a VM without a claim is stopped
  VfLinks* vf_links = nullptr;               // outlives the reconciler; null: no VF is set up for a port
  bool confidential_vmm = false;             // the VMM can make confidential guests
  std::function<void()> between_steps = {};  // see InstanceEnvironment
};

// What runs of one instance now.
struct InstanceRuntime {
  pid_t pid = 0;  // 0: not running
  ProcessPlacement placement;
  std::string api_socket;
  std::string console_log;
  // Differences between claim and truth; empty while running: the placement is proven.
  std::vector<std::string> violations;
};

// Makes the VMM processes of this host what its claims ask for. Level-triggered: compares what should be (the
// claims) with what is (records and processes) and closes the difference, again and again. Claims may be
// repeated, lost and given anew. Ending the reconciler, or killing the agent, leaves the VMs running; the
// next one adopts them. One thread of its own; all calls are thread-safe.
class Reconciler {
 public:
  // Reads the records under state_dir/instances and adopts what runs. Errors: the folder cannot be made or
  // used, its path is too long for UNIX sockets, another agent holds it (kFailedPrecondition).
  // `reporter` and `consoles` must outlive the reconciler.
  static Result<std::unique_ptr<Reconciler>> Open(const ReconcilerOptions& options, ClaimReporter& reporter,
                                                  ConsoleHub& consoles);
  ~Reconciler();
  Reconciler(const Reconciler&) = delete;
  Reconciler& operator=(const Reconciler&) = delete;

  // Huge pages of the instances that run. Before Start only.
  PageCounts OwnHugePages() const;
  // Devices that instances of this host hold according to their records, with the instance. Before Start
  // only.
  std::map<PciAddress, Uuid> HeldDevices() const;
  void Start();

  // What the host is. No instance is started before.
  void SetHost(placement::HostReport host, std::set<PciAddress> unmanaged,
               std::set<PciAddress> one_time_use = {});
  // All claims of this host; no instance is started or ended before the first call.
  void ReplaceClaims(std::vector<placement::Claim> claims);
  void PutClaim(placement::Claim claim);
  void RemoveClaim(const Uuid& consumer);

  // Without a process (pid 0) when none runs. kNotFound: no such instance here. Reads /proc on the caller's
  // thread.
  Result<InstanceRuntime> Runtime(const Uuid& consumer) const;

 private:
  struct Host {
    placement::HostReport report;
    std::set<PciAddress> unmanaged;
    std::set<PciAddress> one_time_use;
  };
  struct Inbox {
    std::optional<Host> host;
    std::optional<std::vector<placement::Claim>> all;
    std::vector<std::pair<Uuid, std::optional<placement::Claim>>> changes;  // after `all`
  };
  // What Runtime needs of an instance.
  struct View {
    std::optional<ProcessId> process;
    std::string api_socket;
    std::string console_log;
    std::optional<placement::Claim> claim;
    std::map<uint32_t, CpuSet> affinity;
  };
  struct Reported {
    placement::InstanceState state = placement::InstanceState::kPending;
    std::string detail;
    std::chrono::steady_clock::time_point retry_at{};  // this one was refused, others may pass
  };
  using Clock = std::chrono::steady_clock;

  Reconciler(const ReconcilerOptions& options, ClaimReporter& reporter, ConsoleHub& consoles);
  Status LoadInstances();
  void Run();
  void TakeInbox();
  void Pass();
  void StepClaim(const Uuid& consumer, const placement::Claim& claim);
  void StepUnclaimed();
  void Heal(const Uuid& consumer, const Instance& instance);
  void ReportStatuses();
  bool ReportingPaused() const { return Clock::now() < reporting_paused_until_; }
  void PauseReporting();
  bool Unreachable(const Status& sent);
  void AdjustFloatingVcpus();
  void Publish();
  void WaitForWork();
  void Wake() const;

  std::optional<VfPorts> vf_ports_;
  InstanceEnvironment environment_;
  Unclaimed unclaimed_ = Unclaimed::kHeal;
  std::chrono::milliseconds unclaimed_grace_{};
  ClaimReporter& reporter_;
  UniqueFd lock_;  // held on the state folder: one agent at a time
  UniqueFd wake_;  // eventfd

  // Owned by the thread once it runs.
  std::map<Uuid, std::unique_ptr<Instance>> instances_;
  std::map<Uuid, placement::Claim> claims_;
  std::map<Uuid, Reported> reported_;
  // Releasing claims of which nothing is left, not yet finalized, and when to try again.
  std::map<Uuid, Clock::time_point> gone_;
  std::map<Uuid, Clock::time_point> unclaimed_since_;
  std::map<Uuid, Clock::time_point> heal_at_;  // not before
  bool retry_later_ = false;                   // a single report was refused
  bool synced_ = false;
  bool have_host_ = false;
  placement::HostReport host_;
  std::set<PciAddress> unmanaged_;
  std::set<PciAddress> one_time_use_;
  CpuSet exclusive_;
  bool adjust_ = false;
  Clock::time_point next_adjust_{};
  Clock::time_point reporting_paused_until_{};

  mutable std::mutex mutex_;
  Inbox inbox_;                 // guarded by mutex_
  std::map<Uuid, View> views_;  // guarded by mutex_
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace berth::agent
