#include <chrono>
#include <memory>
#include <thread>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/console.h"
#include "cli/instance_picture.h"
#include "cli/place_options.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/wire_json.h"
#include "cli/wish_options.h"

namespace berth::cli {
namespace {

using Align = Table::Align;
using Clock = std::chrono::steady_clock;

constexpr auto kPollInterval = std::chrono::milliseconds(200);
constexpr double kMaxWaitSeconds = 7 * 24 * 3600;

struct CreateOptions {
  std::string name, flavor, host, uuid, kernel, initramfs, cmdline;
  std::vector<std::string> disks, nets;
  WishOptions wish;
  PlaceOptions place;
  bool dry_run = false;
  bool wait = false;
  double wait_timeout_s = 120;
};

Result<v1::GetInstanceResponse> GetInstance(Client& client, const std::string& name) {
  v1::GetInstanceRequest request;
  request.set_instance(name);
  return client.Call(client.scheduler(), &v1::Scheduler::Stub::GetInstance, request);
}

// The agent of an instance's host; in the all-in-one program the same endpoint.
Client AgentOf(const v1::GetInstanceResponse& instance, const Context& context) {
  return Client(instance.agent_endpoint().empty() ? context.endpoint : instance.agent_endpoint(),
                context.timeout_s);
}

Status ListInstances(Context& context) {
  TRY_ASSIGN(Format format,
             context.ChooseFormat({Format::kTable, Format::kWide, Format::kJson, Format::kYaml}));
  Client client(context);
  TRY_ASSIGN(
      v1::ListInstancesResponse response,
      client.Call(client.scheduler(), &v1::Scheduler::Stub::ListInstances, v1::ListInstancesRequest()));
  if (format == Format::kJson || format == Format::kYaml) {
    context.terminal.out << ToText(Json{{"instances", ToJson(response.instances())}}, format);
    return OkStatus();
  }
  std::vector<Table::Column> columns = {
      {"NAME"},  {"STATE"},  {"HOST"}, {"FLAVOR"}, {"VCPUS", Align::kRight}, {"MEMORY", Align::kRight},
      {"CELLS"}, {"DEVICES"}};
  if (format == Format::kWide) {
    columns.push_back({"UUID"});
    columns.push_back({"DETAIL"});
  }
  Table table(std::move(columns));
  for (const auto& entry : response.instances()) {
    const v1::Claim& claim = entry.claim();
    std::vector<std::string> cells;
    for (const v1::CellBinding& cell : claim.cells()) cells.push_back(std::to_string(cell.host_cell()));
    std::vector<std::string> devices;
    for (const v1::DeviceBinding& device : claim.devices()) devices.push_back(device.address());
    std::vector<std::string> row = {claim.name(),
                                    InstanceStateText(claim.status().state()),
                                    entry.host_name(),
                                    claim.spec().flavor(),
                                    std::to_string(claim.spec().vcpus()),
                                    BytesText(claim.spec().memory_bytes()),
                                    Join(cells, ","),
                                    Join(devices, ",")};
    if (format == Format::kWide) {
      row.push_back(claim.consumer());
      row.push_back(OneLine(claim.status().detail()));
    }
    table.AddRow(std::move(row));
  }
  context.terminal.out << table.ToString();
  return OkStatus();
}

Status ShowInstance(Context& context, const std::string& name) {
  TRY_ASSIGN(Format format, context.ChooseFormat({Format::kTree, Format::kJson, Format::kYaml}));
  Client client(context);
  TRY_ASSIGN(v1::GetInstanceResponse instance, GetInstance(client, name));
  Client agent = AgentOf(instance, context);
  v1::GetInstanceRuntimeRequest request;
  request.set_instance(instance.claim().consumer());
  Result<v1::GetInstanceRuntimeResponse> runtime =
      agent.Call(agent.agent(), &v1::Agent::Stub::GetInstanceRuntime, request);
  if (format == Format::kTree) {
    TreeItem picture = InstancePicture(instance.claim(), instance.host_name());
    picture.Add(RuntimePicture(runtime));
    context.terminal.out << DrawTree(picture, context.terminal.columns, context.terminal.colors);
    return OkStatus();
  }
  Json report = ToJson(instance);
  report["runtime"] = runtime.has_value() ? ToJson(*runtime) : Json(nullptr);
  report["runtime_error"] = runtime.has_value() ? Json(nullptr) : Json(runtime.error().message());
  context.terminal.out << ToText(report, format);
  return OkStatus();
}

Result<v1::CreateInstanceRequest> CreateRequest(const CreateOptions& options) {
  v1::CreateInstanceRequest request;
  request.set_uuid(options.uuid);
  request.set_name(options.name);
  request.set_flavor(options.flavor);
  request.set_host(options.host);
  request.set_dry_run(options.dry_run);
  TRY_ASSIGN(v1::Wish wish, options.wish.Parse(options.flavor));
  *request.mutable_image_properties() = wish.image_properties();
  *request.mutable_ports() = wish.ports();
  TRY(options.place.Fill(request));
  v1::BootSource& boot = *request.mutable_boot();
  boot.set_kernel(options.kernel);
  boot.set_initramfs(options.initramfs);
  boot.set_cmdline(options.cmdline);
  for (const std::string& disk : options.disks) {
    boot.add_disks(disk.find('=') == std::string::npos ? "path=" + disk : disk);
  }
  for (const std::string& net : options.nets) {
    boot.add_nets(net.find('=') == std::string::npos ? "tap=" + net : net);
  }
  return request;
}

// Asks until the instance runs. An instance that fails is an error with the agent's reason.
Result<v1::GetInstanceResponse> AwaitRunning(Client& client, const CreateOptions& options,
                                             const std::string& uuid, std::ostream& progress) {
  Clock::time_point deadline =
      Clock::now() + std::chrono::milliseconds(static_cast<int64_t>(options.wait_timeout_s * 1000));
  v1::InstanceState last = v1::INSTANCE_STATE_UNSPECIFIED;
  while (true) {
    TRY_ASSIGN(v1::GetInstanceResponse instance, GetInstance(client, uuid));
    v1::InstanceState state = instance.claim().status().state();
    if (state != last) {
      progress << options.name << ": " << InstanceStateText(state) << "\n" << std::flush;
      last = state;
    }
    if (state == v1::INSTANCE_STATE_RUNNING) return instance;
    if (state == v1::INSTANCE_STATE_FAILED || state == v1::INSTANCE_STATE_STOPPED) {
      return FailedPrecondition("the instance is " + InstanceStateText(state) + ": " +
                                instance.claim().status().detail());
    }
    if (Clock::now() >= deadline) {
      return Status(StatusCode::kDeadlineExceeded, "the instance is still " + InstanceStateText(state), {},
                    "it goes on; ask with: berthctl instance show " + options.name);
    }
    std::this_thread::sleep_for(kPollInterval);
  }
}

Status CreateInstance(Context& context, const CreateOptions& options) {
  TRY_ASSIGN(Format format, context.ChooseFormat({Format::kTree, Format::kJson, Format::kYaml}));
  TRY_ASSIGN(v1::CreateInstanceRequest request, CreateRequest(options));
  Client client(context);
  std::optional<v1::NoFit> no_fit;
  Result<v1::CreateInstanceResponse> created =
      client.Call(client.scheduler(), &v1::Scheduler::Stub::CreateInstance, request, &no_fit);
  if (!created.has_value()) {
    if (no_fit.has_value() && no_fit->hosts_size() > 0)
      context.terminal.err << VerdictsTable(no_fit->hosts());
    return created.error();
  }
  // Only a dry run is answered without a place.
  if (!created->has_claim()) {
    if (format == Format::kTree) {
      context.terminal.err << VerdictsTable(created->verdicts());
    } else {
      context.terminal.out << ToText(ToJson(*created), format);
    }
    return ResourceExhausted("no host fits instance \"" + options.name + "\"");
  }
  v1::Claim claim = created->claim();
  if (options.wait && !options.dry_run) {
    TRY_ASSIGN(v1::GetInstanceResponse running,
               AwaitRunning(client, options, claim.consumer(), context.terminal.err));
    claim = running.claim();
    *created->mutable_claim() = claim;
  }
  if (format != Format::kTree) {
    context.terminal.out << ToText(ToJson(*created), format);
    return OkStatus();
  }
  if (options.dry_run) context.terminal.out << VerdictsTable(created->verdicts()) << "\nIt would be:\n";
  context.terminal.out << DrawTree(InstancePicture(claim, created->host_name()), context.terminal.columns,
                                   context.terminal.colors);
  return OkStatus();
}

// What a delete would give back.
Status PreviewDelete(Context& context, Client& client, const std::string& name) {
  TRY_ASSIGN(v1::GetInstanceResponse instance, GetInstance(client, name));
  context.terminal.out << name << " would be deleted; it holds:\n"
                       << DrawTree(InstancePicture(instance.claim(), instance.host_name()),
                                   context.terminal.columns, context.terminal.colors);
  return OkStatus();
}

Status DeleteInstance(Context& context, const std::string& name, bool wait, double wait_timeout_s,
                      bool dry_run) {
  Client client(context);
  if (dry_run) return PreviewDelete(context, client, name);
  v1::DeleteInstanceRequest request;
  request.set_instance(name);
  TRY(client.Call(client.scheduler(), &v1::Scheduler::Stub::DeleteInstance, request));
  Clock::time_point deadline =
      Clock::now() + std::chrono::milliseconds(static_cast<int64_t>(wait_timeout_s * 1000));
  while (wait) {
    Result<v1::GetInstanceResponse> instance = GetInstance(client, name);
    if (!instance.has_value() && instance.error().code() == StatusCode::kNotFound) break;
    TRY(instance);
    if (Clock::now() >= deadline) {
      return Status(StatusCode::kDeadlineExceeded, "the instance is still there", {}, "its host may be down");
    }
    std::this_thread::sleep_for(kPollInterval);
  }
  context.terminal.out << name << (wait ? ": deleted\n" : ": deletion asked for\n");
  return OkStatus();
}

Status Console(Context& context, const std::string& name) {
  Client client(context);
  TRY_ASSIGN(v1::GetInstanceResponse instance, GetInstance(client, name));
  Client agent = AgentOf(instance, context);
  return RunConsole(agent, instance.claim().consumer(), context.terminal);
}

void AddCreate(CLI::App& instance, Context& context, Verbs& verbs) {
  CLI::App* create = AddVerb(instance, "create", "Create an instance from a flavor",
                             "berthctl instance create vm1 --flavor numa2 --kernel /boot/vmlinuz \\\n"
                             "      --initramfs /boot/initrd.img --cmdline console=ttyS0 --wait");
  auto o = std::make_shared<CreateOptions>();
  create->add_option("NAME", o->name, "Name of the instance")->required();
  create->add_option("--flavor", o->flavor, "Flavor, see: berthctl flavor list")->required();
  create->add_option("--kernel", o->kernel, "Kernel, a path on the host")->type_name("PATH");
  create->add_option("--initramfs", o->initramfs, "Initial file system, a path on the host")
      ->type_name("PATH");
  create->add_option("--cmdline", o->cmdline, "Kernel command line")->type_name("TEXT");
  create->add_option("--disk", o->disks, "Disk: a path, or path=...,readonly=on; repeatable")
      ->type_name("DISK")
      ->allow_extra_args(false);
  create->add_option("--net", o->nets, "Network: a TAP, or tap=...,mac=...; repeatable")
      ->type_name("NET")
      ->allow_extra_args(false);
  o->wish.AddTo(*create);
  o->place.AddTo(*create);
  create->add_option("--host", o->host, "Only on this host (name or UUID)")->type_name("HOST");
  create->add_option("--uuid", o->uuid, "UUID of the instance; repeating a call with it is harmless")
      ->type_name("UUID");
  create->add_flag("--dry-run", o->dry_run, "Say where it would go and why, and claim nothing");
  create->add_flag("--wait", o->wait, "Wait until it runs");
  create->add_option("--wait-timeout", o->wait_timeout_s, "Seconds to wait")
      ->check(Seconds(0, kMaxWaitSeconds))
      ->capture_default_str();
  AddOutputOption(*create, context, "tree (default), json, yaml");
  verbs.Add(create, [o](Context& c) { return CreateInstance(c, *o); });
}

}  // namespace

void AddInstance(CLI::App& app, Context& context, Verbs& verbs) {
  CLI::App* instance = AddNoun(app, "instance", "Virtual machines");
  AddCreate(*instance, context, verbs);
  AddBatch(*instance, context, verbs);
  AddLiveInstance(*instance, context, verbs);

  CLI::App* list = AddVerb(*instance, "list", "List instances", "berthctl instance list -o wide");
  AddOutputOption(*list, context, "table (default), wide, json, yaml");
  verbs.Add(list, ListInstances);

  auto name = std::make_shared<std::string>();
  CLI::App* show = AddVerb(*instance, "show", "Show exact bindings and the proof of placement",
                           "berthctl instance show vm1");
  show->add_option("INSTANCE", *name, "Name or UUID")->required();
  AddOutputOption(*show, context, "tree (default), json, yaml");
  verbs.Add(show, [name](Context& c) { return ShowInstance(c, *name); });

  CLI::App* console = AddVerb(*instance, "console", "Use the serial console; leave with Ctrl-]",
                              "berthctl instance console vm1");
  console->add_option("INSTANCE", *name, "Name or UUID")->required();
  verbs.Add(console, [name](Context& c) { return Console(c, *name); });

  CLI::App* remove =
      AddVerb(*instance, "delete", "Delete an instance", "berthctl instance delete vm1 --wait");
  auto wait = std::make_shared<bool>(false);
  auto timeout = std::make_shared<double>(120);
  remove->add_option("INSTANCE", *name, "Name or UUID")->required();
  auto dry_run = std::make_shared<bool>(false);
  remove->add_flag("--dry-run", *dry_run, "Say what it would give back, and delete nothing");
  remove->add_flag("--wait", *wait, "Wait until nothing of it is left");
  remove->add_option("--wait-timeout", *timeout, "Seconds to wait")
      ->check(Seconds(0, kMaxWaitSeconds))
      ->capture_default_str();
  verbs.Add(remove, [=](Context& c) { return DeleteInstance(c, *name, *wait, *timeout, *dry_run); });
}

}  // namespace berth::cli
