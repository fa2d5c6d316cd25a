// Verbs of `instance` for instances that exist: power, disks, devices, moves.
#include <array>
#include <chrono>
#include <memory>
#include <thread>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/instance_picture.h"
#include "cli/tree.h"
#include "cli/wish_options.h"

namespace berth::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kPollInterval = std::chrono::milliseconds(200);
constexpr double kMaxWaitSeconds = 7 * 24 * 3600;

// How long a verb waits, if it does.
struct Waiting {
  bool wait = false;
  double timeout_s = 120;

  Clock::time_point Deadline() const {
    return Clock::now() + std::chrono::milliseconds(static_cast<int64_t>(timeout_s * 1000));
  }
  void AddTo(CLI::App& verb, const std::string& until) {
    verb.add_flag("--wait", wait, "Wait until " + until);
    verb.add_option("--wait-timeout", timeout_s, "Seconds to wait")
        ->check(Seconds(0, kMaxWaitSeconds))
        ->capture_default_str();
  }
};

Result<v1::GetInstanceResponse> GetInstance(Client& client, const std::string& name) {
  v1::GetInstanceRequest request;
  request.set_instance(name);
  return client.Call(client.scheduler(), &v1::Scheduler::Stub::GetInstance, request);
}

Status StillThere(const std::string& what) {
  return Status(StatusCode::kDeadlineExceeded, what, {}, "it goes on; look with: berthctl instance show");
}

// One of the verbs that an agent carries out.
struct Power {
  const char* verb;
  const char* help;
  v1::InstanceAction action;
  v1::InstanceState until;  // UNSPECIFIED: nothing to wait for
  const char* until_text;
};
constexpr Power kPower[] = {
    {"start", "Start a stopped or failed instance", v1::INSTANCE_ACTION_START, v1::INSTANCE_STATE_RUNNING,
     "it runs"},
    {"stop", "Shut an instance down; its CPUs, memory and devices stay its own", v1::INSTANCE_ACTION_STOP,
     v1::INSTANCE_STATE_STOPPED, "it has stopped"},
    {"reboot", "Shut an instance down and start it again", v1::INSTANCE_ACTION_REBOOT,
     v1::INSTANCE_STATE_UNSPECIFIED, ""},
    {"reset", "Reset an instance's machine at once", v1::INSTANCE_ACTION_RESET,
     v1::INSTANCE_STATE_UNSPECIFIED, ""},
    {"pause", "Let the vCPUs of an instance stand still", v1::INSTANCE_ACTION_PAUSE,
     v1::INSTANCE_STATE_PAUSED, "they do"},
    {"resume", "Let them run again", v1::INSTANCE_ACTION_RESUME, v1::INSTANCE_STATE_RUNNING, "they do"}};

Status RunPower(Context& context, const Power& power, const std::string& name, const Waiting& waiting,
                bool dry_run) {
  Client client(context);
  v1::ActOnInstanceRequest request;
  request.set_instance(name);
  request.set_action(power.action);
  request.set_dry_run(dry_run);
  const Clock::time_point deadline = waiting.Deadline();
  const bool waits = waiting.wait && !dry_run && power.until != v1::INSTANCE_STATE_UNSPECIFIED;
  v1::InstanceStatus before;
  if (waits) {
    TRY_ASSIGN(const v1::GetInstanceResponse instance, GetInstance(client, name));
    before = instance.claim().status();
  }
  TRY(client.Call(client.scheduler(), &v1::Scheduler::Stub::ActOnInstance, request));
  if (dry_run) {
    context.terminal.out << name << ": " << power.verb << " would be accepted\n";
    return OkStatus();
  }
  while (waits) {
    TRY_ASSIGN(v1::GetInstanceResponse instance, GetInstance(client, name));
    const v1::InstanceStatus& status = instance.claim().status();
    if (status.state() == power.until) break;
    // What it had failed of before is not what comes of this.
    const bool old = before.state() == status.state() && before.observed_at_ms() == status.observed_at_ms();
    if (status.state() == v1::INSTANCE_STATE_FAILED && !old) {
      return FailedPrecondition("the instance has failed: " + status.detail());
    }
    if (Clock::now() >= deadline)
      return StillThere("the instance is still " + InstanceStateText(status.state()));
    std::this_thread::sleep_for(kPollInterval);
  }
  context.terminal.out << name << ": " << power.verb << (waiting.wait ? " done\n" : " asked for\n");
  return OkStatus();
}

Status AttachDisk(Context& context, const v1::AttachDiskRequest& request) {
  Client client(context);
  TRY(client.Call(client.scheduler(), &v1::Scheduler::Stub::AttachDisk, request));
  context.terminal.out << request.instance() << ": disk " << request.disk().id()
                       << (request.dry_run() ? " would be attached\n" : " asked for\n");
  return OkStatus();
}

Status DetachDisk(Context& context, const v1::DetachDiskRequest& request) {
  Client client(context);
  TRY(client.Call(client.scheduler(), &v1::Scheduler::Stub::DetachDisk, request));
  context.terminal.out << request.instance() << ": disk " << request.disk()
                       << (request.dry_run() ? " would be asked back\n" : " asked back\n");
  return OkStatus();
}

Status AttachDevice(Context& context, const v1::AttachDeviceRequest& request) {
  Client client(context);
  TRY_ASSIGN(v1::AttachDeviceResponse response,
             client.Call(client.scheduler(), &v1::Scheduler::Stub::AttachDevice, request));
  context.terminal.out << request.instance() << ": device " << response.device().address()
                       << (request.dry_run() ? " would be claimed\n" : " claimed\n");
  return OkStatus();
}

Status DetachDevice(Context& context, const v1::DetachDeviceRequest& request) {
  Client client(context);
  TRY(client.Call(client.scheduler(), &v1::Scheduler::Stub::DetachDevice, request));
  context.terminal.out << request.instance() << ": device " << request.address()
                       << (request.dry_run() ? " would be asked back\n" : " asked back\n");
  return OkStatus();
}

std::string PhaseText(v1::MovePhase phase) {
  switch (phase) {
    case v1::MOVE_PHASE_NONE:
      return "no move";
    case v1::MOVE_PHASE_STOPPING:
      return "stopping";
    case v1::MOVE_PHASE_STARTING:
      return "starting at its new place";
    case v1::MOVE_PHASE_DECIDE:
      return "at its new place: confirm or revert";
    case v1::MOVE_PHASE_ENDING:
      return "ending";
    default:
      return "unknown";
  }
}

struct MoveOptions {
  std::string name, flavor, host;
  WishOptions wish;
  std::string availability_zone, project;
  bool evacuate = false;
  bool dry_run = false;
};

// What the first call would begin.
Status PreviewMove(Context& context, const v1::MoveInstanceRequest& request) {
  Client client(context);
  TRY_ASSIGN(v1::MoveInstanceResponse response,
             client.Call(client.scheduler(), &v1::Scheduler::Stub::MoveInstance, request));
  if (response.phase() != v1::MOVE_PHASE_NONE) {
    context.terminal.out << request.instance() << ": moves already, " << PhaseText(response.phase()) << " on "
                         << response.host_name() << "\n";
    return OkStatus();
  }
  context.terminal.out << request.instance() << " would be on " << response.host_name() << ":\n"
                       << DrawTree(InstancePicture(response.claim(), response.host_name()),
                                   context.terminal.columns, context.terminal.colors);
  return OkStatus();
}

// Each call does what can be done then, so that the move goes on as long as somebody asks.
Status Move(Context& context, const MoveOptions& options, double timeout_s) {
  Client client(context);
  v1::MoveInstanceRequest request;
  request.set_instance(options.name);
  TRY_ASSIGN(*request.mutable_wish(), options.wish.Parse(options.flavor));
  request.mutable_wish()->set_availability_zone(options.availability_zone);
  request.mutable_wish()->set_project(options.project);
  request.set_host(options.host);
  request.set_evacuate(options.evacuate);
  request.set_dry_run(options.dry_run);
  if (options.dry_run) return PreviewMove(context, request);
  const Clock::time_point deadline = Waiting{true, timeout_s}.Deadline();
  v1::MovePhase last = v1::MOVE_PHASE_UNSPECIFIED;
  while (true) {
    TRY_ASSIGN(v1::MoveInstanceResponse response,
               client.Call(client.scheduler(), &v1::Scheduler::Stub::MoveInstance, request));
    if (response.phase() != last) {
      context.terminal.err << options.name << ": " << PhaseText(response.phase()) << "\n" << std::flush;
      last = response.phase();
    }
    const bool over = response.phase() == v1::MOVE_PHASE_DECIDE ||
                      (options.evacuate && response.phase() == v1::MOVE_PHASE_ENDING);
    if (over) {
      context.terminal.out << options.name << ": " << InstanceStateText(response.claim().status().state())
                           << " on " << response.host_name() << "\n";
      return OkStatus();
    }
    if (Clock::now() >= deadline) {
      return Status(StatusCode::kDeadlineExceeded, "the move is still " + PhaseText(response.phase()), {},
                    "repeat the command to go on, or revert");
    }
    std::this_thread::sleep_for(kPollInterval);
  }
}

template <class Request, class Response>
Status EndMove(Context& context, const std::string& name, bool dry_run, double timeout_s,
               grpc::Status (v1::Scheduler::Stub::*method)(grpc::ClientContext*, const Request&, Response*)) {
  Client client(context);
  Request request;
  request.set_instance(name);
  request.set_dry_run(dry_run);
  if (dry_run) {
    TRY_ASSIGN(Response response, client.Call(client.scheduler(), method, request));
    context.terminal.out << name << ": "
                         << (response.phase() == v1::MOVE_PHASE_NONE ? "does not move" : "the move would end")
                         << "\n";
    return OkStatus();
  }
  const Clock::time_point deadline = Waiting{true, timeout_s}.Deadline();
  while (true) {
    TRY_ASSIGN(Response response, client.Call(client.scheduler(), method, request));
    if (response.phase() == v1::MOVE_PHASE_NONE) break;
    if (Clock::now() >= deadline) {
      return Status(StatusCode::kDeadlineExceeded, "the move is not over yet", {},
                    "repeat the command to go on");
    }
    std::this_thread::sleep_for(kPollInterval);
  }
  context.terminal.out << name << ": the move is over\n";
  return OkStatus();
}

void AddPower(CLI::App& instance, Verbs& verbs) {
  for (const Power& power : kPower) {
    CLI::App* verb =
        AddVerb(instance, power.verb, power.help, std::string("berthctl instance ") + power.verb + " vm1");
    auto name = std::make_shared<std::string>();
    auto waiting = std::make_shared<Waiting>();
    verb->add_option("INSTANCE", *name, "Name or UUID")->required();
    if (power.until != v1::INSTANCE_STATE_UNSPECIFIED) waiting->AddTo(*verb, power.until_text);
    auto dry_run = std::make_shared<bool>(false);
    verb->add_flag("--dry-run", *dry_run, "Only say whether it would be accepted");
    verbs.Add(verb, [&power, name, waiting, dry_run](Context& c) {
      return RunPower(c, power, *name, *waiting, *dry_run);
    });
  }
}

void AddDisks(CLI::App& instance, Verbs& verbs) {
  CLI::App* attach = AddVerb(instance, "attach-disk", "Give an instance a disk while it exists",
                             "berthctl instance attach-disk vm1 data /srv/vm1-data.raw --readonly");
  auto request = std::make_shared<v1::AttachDiskRequest>();
  auto text = std::make_shared<std::array<std::string, 4>>();
  auto flags = std::make_shared<std::array<bool, 3>>();
  attach->add_option("INSTANCE", (*text)[0], "Name or UUID")->required();
  attach->add_option("ID", (*text)[1], "Name of the disk, unique in the instance")->required();
  attach->add_option("PATH", (*text)[2], "Raw image or block device on the host")->required();
  attach->add_option("--serial", (*text)[3], "Serial number that the guest reads");
  attach->add_flag("--readonly", (*flags)[0], "The guest cannot write");
  attach->add_flag("--direct", (*flags)[1], "Past the host's page cache");
  attach->add_flag("--dry-run", (*flags)[2], "Only say whether it could be attached");
  verbs.Add(attach, [request, text, flags](Context& c) {
    request->set_instance((*text)[0]);
    request->mutable_disk()->set_id((*text)[1]);
    request->mutable_disk()->set_path((*text)[2]);
    request->mutable_disk()->set_serial((*text)[3]);
    request->mutable_disk()->set_readonly((*flags)[0]);
    request->mutable_disk()->set_direct((*flags)[1]);
    request->set_dry_run((*flags)[2]);
    return AttachDisk(c, *request);
  });

  CLI::App* detach = AddVerb(instance, "detach-disk", "Ask a disk back that was attached",
                             "berthctl instance detach-disk vm1 data");
  auto names = std::make_shared<std::array<std::string, 2>>();
  detach->add_option("INSTANCE", (*names)[0], "Name or UUID")->required();
  detach->add_option("ID", (*names)[1], "Name of the disk")->required();
  auto dry_run = std::make_shared<bool>(false);
  detach->add_flag("--dry-run", *dry_run, "Only say whether it could be asked back");
  verbs.Add(detach, [names, dry_run](Context& c) {
    v1::DetachDiskRequest asked;
    asked.set_instance((*names)[0]);
    asked.set_disk((*names)[1]);
    asked.set_dry_run(*dry_run);
    return DetachDisk(c, asked);
  });
}

void AddDevices(CLI::App& instance, Verbs& verbs) {
  CLI::App* attach =
      AddVerb(instance, "attach-device", "Claim a PCI device for an instance and give it to its guest",
              "berthctl instance attach-device vm1 gpu");
  auto text = std::make_shared<std::array<std::string, 3>>();
  attach->add_option("INSTANCE", (*text)[0], "Name or UUID")->required();
  attach->add_option("ALIAS", (*text)[1], "Alias, see: berthctl alias list")->required();
  attach->add_option("--address", (*text)[2], "Only this device")->type_name("ADDRESS");
  auto dry_run = std::make_shared<bool>(false);
  attach->add_flag("--dry-run", *dry_run, "Say which device it would be, and claim nothing");
  verbs.Add(attach, [text, dry_run](Context& c) {
    v1::AttachDeviceRequest request;
    request.set_dry_run(*dry_run);
    request.set_instance((*text)[0]);
    request.set_alias((*text)[1]);
    request.set_address((*text)[2]);
    return AttachDevice(c, request);
  });

  CLI::App* detach =
      AddVerb(instance, "detach-device", "Ask a PCI device back; it is free when the guest let go",
              "berthctl instance detach-device vm1 0000:41:00.1");
  auto names = std::make_shared<std::array<std::string, 2>>();
  detach->add_option("INSTANCE", (*names)[0], "Name or UUID")->required();
  detach->add_option("ADDRESS", (*names)[1], "PCI address")->required();
  detach->add_flag("--dry-run", *dry_run, "Only say whether it could be asked back");
  verbs.Add(detach, [names, dry_run](Context& c) {
    v1::DetachDeviceRequest request;
    request.set_instance((*names)[0]);
    request.set_address((*names)[1]);
    request.set_dry_run(*dry_run);
    return DetachDevice(c, request);
  });
}

void AddMoves(CLI::App& instance, Verbs& verbs) {
  auto options = std::make_shared<MoveOptions>();
  auto timeout = std::make_shared<double>(300);
  auto add_timeout = [timeout](CLI::App* verb) {
    verb->add_option("--wait-timeout", *timeout, "Seconds to wait")
        ->check(Seconds(0, kMaxWaitSeconds))
        ->capture_default_str();
  };
  // Neither is kept with the instance: those of its creation are named again.
  auto add_place = [options](CLI::App* verb) {
    verb->add_option("--host", options->host, "Only to this host (name or UUID)")->type_name("HOST");
    verb->add_option("--availability-zone", options->availability_zone, "Only in this zone")
        ->type_name("ZONE");
    verb->add_option("--project", options->project, "Of this tenant")->type_name("PROJECT");
  };
  CLI::App* move = AddVerb(instance, "move", "Resize an instance, or move it to another host",
                           "berthctl instance move vm1 --flavor large\n"
                           "  berthctl instance move vm1 --host node7");
  move->add_option("INSTANCE", options->name, "Name or UUID")->required();
  move->add_option("--flavor", options->flavor, "Its new flavor [as now]");
  add_place(move);
  options->wish.AddTo(*move);
  move->add_flag("--dry-run", options->dry_run, "Say where it would go, and do nothing");
  add_timeout(move);
  verbs.Add(move, [options, timeout](Context& c) { return Move(c, *options, *timeout); });

  CLI::App* evacuate =
      AddVerb(instance, "evacuate", "Start an instance elsewhere whose host is down for good",
              "berthctl instance evacuate vm1");
  evacuate->add_option("INSTANCE", options->name, "Name or UUID")->required();
  add_place(evacuate);
  evacuate->add_flag("--dry-run", options->dry_run, "Say where it would go, and do nothing");
  add_timeout(evacuate);
  verbs.Add(evacuate, [options, timeout](Context& c) {
    options->evacuate = true;
    return Move(c, *options, *timeout);
  });

  CLI::App* confirm = AddVerb(instance, "confirm-move", "Give up what an instance had before its move",
                              "berthctl instance confirm-move vm1");
  confirm->add_option("INSTANCE", options->name, "Name or UUID")->required();
  confirm->add_flag("--dry-run", options->dry_run, "Only say whether it could be confirmed");
  add_timeout(confirm);
  verbs.Add(confirm, [options, timeout](Context& c) {
    return EndMove(c, options->name, options->dry_run, *timeout, &v1::Scheduler::Stub::ConfirmMove);
  });

  CLI::App* revert = AddVerb(instance, "revert-move", "Put an instance back to where it was",
                             "berthctl instance revert-move vm1");
  revert->add_option("INSTANCE", options->name, "Name or UUID")->required();
  revert->add_flag("--dry-run", options->dry_run, "Only say whether it could be put back");
  add_timeout(revert);
  verbs.Add(revert, [options, timeout](Context& c) {
    return EndMove(c, options->name, options->dry_run, *timeout, &v1::Scheduler::Stub::RevertMove);
  });
}

}  // namespace

void AddLiveInstance(CLI::App& instance, Context& /*context*/, Verbs& verbs) {
  AddPower(instance, verbs);
  AddDisks(instance, verbs);
  AddDevices(instance, verbs);
  AddMoves(instance, verbs);
}

}  // namespace berth::cli
