#include "vmm/api/router.h"

#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "vmm/api/request_body.h"
#include "vmm/config/json_config.h"
#include "vmm/config/option_table.h"
#include "vmm/config/validate.h"
#include "vmm/config/version.h"

namespace berth::vmm {
namespace {

using Json = nlohmann::ordered_json;

struct Handler {
  ApiVerb verb;
  HttpResponse (*run)(VmControl&, const std::string& body);
  bool takes_body = false;
  bool needs_vm = true;
  // Instead of `run`, of a verb that takes descriptors.
  HttpResponse (*run_with_fds)(VmControl&, const std::string& body, std::vector<UniqueFd> fds) = nullptr;
};

HttpResponse Answer(const Json& json) {
  return {200, json.dump(-1, ' ', false, Json::error_handler_t::replace), {}};
}

int HttpStatus(StatusCode code) {
  switch (code) {
    case StatusCode::kInvalidArgument:
    case StatusCode::kOutOfRange:
      return 400;
    case StatusCode::kNotFound:
      return 404;
    case StatusCode::kFailedPrecondition:
    case StatusCode::kAborted:
    case StatusCode::kAlreadyExists:
      return 409;
    default:
      return 500;
  }
}

HttpResponse Ping(VmControl&, const std::string&) {
  return Answer({{"version", kVersion},
                 {"build_version", "berth-vmm " + std::string(kVersion)},
                 {"pid", getpid()},
                 {"features", Json::array()}});
}

HttpResponse Info(VmControl& control, const std::string&) {
  VmFacts facts = control.Facts();
  Json runtime = {{"pid", getpid()}};
  runtime["vcpus"] = Json::array();
  for (const VcpuFacts& vcpu : facts.vcpus)
    runtime["vcpus"].push_back(
        {{"id", vcpu.id}, {"tid", vcpu.tid}, {"host_cpus", vcpu.host_cpus.ToString()}});
  uint64_t memory = 0;
  runtime["memory_regions"] = Json::array();
  for (const MemoryRegionFacts& region : facts.memory_regions) {
    memory += region.plugged;
    runtime["memory_regions"].push_back(
        {{"zone", region.zone},
         {"base", region.base},
         {"size", region.size},
         {"plugged", region.plugged},
         {"host_address", region.host_address},
         {"host_numa_node", region.host_numa_node ? Json(*region.host_numa_node) : Json()}});
  }
  if (facts.memory_regions.empty()) {  // of a VM that has not booted
    for (const MemoryZoneConfig& zone : EffectiveZones(control.config())) memory += zone.size.bytes();
  }
  runtime["hotplug"] = Json::array();
  for (const HotplugFacts& hotplug : facts.hotplug)
    runtime["hotplug"].push_back({{"subject", hotplug.subject},
                                  {"wanted", hotplug.wanted},
                                  {"actual", hotplug.actual},
                                  {"state", HotplugStateName(hotplug.state)}});
  runtime["devices"] = Json::array();
  for (const DeviceFacts& device : facts.devices)
    runtime["devices"].push_back({{"id", device.id}, {"bdf", device.place}});
  if (facts.confidential) {
    runtime["confidential"] = {{"platform", facts.confidential->platform},
                               {"private_bytes", facts.confidential->private_bytes},
                               {"shared_bytes", facts.confidential->shared_bytes}};
    if (!facts.confidential->measurement.empty()) {
      runtime["confidential"]["measurement"] = {{"name", facts.confidential->measurement},
                                                {"sha384", facts.confidential->digest}};
    }
  }
  runtime["threads"] = Json::array();
  for (const ThreadFacts& thread : facts.threads)
    runtime["threads"].push_back({{"name", thread.name}, {"tid", thread.tid}});
  return Answer({{"config", Json::parse(ConfigToJson(control.config()))},
                 {"state", VmStateName(facts.state)},
                 {"memory_actual_size", memory - std::min(memory, facts.balloon)},
                 {"runtime", runtime}});
}

HttpResponse Counters(VmControl& control, const std::string&) {
  Json json = Json::object();
  for (const auto& [device, counters] : control.Counters()) {
    json[device] = Json::object();
    for (const auto& [name, value] : counters) json[device][name] = value;
  }
  return Answer(json);
}

HttpResponse Outcome(const Status& status) {
  if (status.ok()) return {204, {}, {}};
  return {HttpStatus(status.code()),
          ErrorBody(StatusCodeName(status.code()), status.message(), status.field(), status.hint()),
          {}};
}

// Of calls that open files of the host: one that is missing, or not this program's to open, is the fault of
// the configuration; 404 says that there is no VM, or none of its parts has the id.
HttpResponse OutcomeOnHost(const Status& status) {
  HttpResponse response = Outcome(status);
  const bool file = status.code() == StatusCode::kNotFound || status.code() == StatusCode::kPermissionDenied;
  if (file && status.field() != "id") response.status = 400;
  return response;
}

// All that is wrong with a configuration, an object for each; a name that is taken is a conflict.
HttpResponse Refused(const ConfigErrors& errors) {
  const bool taken = std::all_of(errors.begin(), errors.end(), [](const ConfigError& error) {
    return error.code == "IdentifierNotUnique";
  });
  return {taken ? 409 : 400, ToJson(errors), {}};
}

template <VmAction action>
HttpResponse Act(VmControl& control, const std::string&) {
  return Outcome(control.Perform(action));
}

// A request with the fields of vm.resize, vm.resize-zone and vm.remove-device.
HttpResponse Resize(VmControl& control, const std::string& body) {
  Result<RequestBody> fields =
      RequestBody::Parse(body, {"desired_vcpus", "desired_ram", "desired_balloon", "timeout_ms"});
  if (!fields.has_value()) return Outcome(fields.error());
  ResizeRequest request;
  Status status = [&] {
    TRY_ASSIGN(const auto vcpus, fields->Number("desired_vcpus", UINT32_MAX));
    if (vcpus) request.vcpus = static_cast<uint32_t>(*vcpus);
    TRY_ASSIGN(request.ram, fields->Number("desired_ram", UINT64_MAX));
    TRY_ASSIGN(request.balloon, fields->Number("desired_balloon", UINT64_MAX));
    TRY_ASSIGN(request.timeout, fields->Timeout());
    if (!request.vcpus && !request.ram && !request.balloon) {
      return InvalidArgument("nothing to resize", "", "give desired_vcpus, desired_ram or desired_balloon");
    }
    return control.Resize(request);
  }();
  return Outcome(status);
}

HttpResponse ResizeZone(VmControl& control, const std::string& body) {
  Result<RequestBody> fields = RequestBody::Parse(body, {"id", "desired_ram", "timeout_ms"});
  if (!fields.has_value()) return Outcome(fields.error());
  Status status = [&]() -> Status {
    TRY_ASSIGN(const std::string id, fields->Text("id"));
    TRY_ASSIGN(const auto ram, fields->Number("desired_ram", UINT64_MAX));
    TRY_ASSIGN(const auto timeout, fields->Timeout());
    if (!ram) return InvalidArgument("is missing", "desired_ram");
    return control.ResizeZone(id, *ram, timeout);
  }();
  return Outcome(status);
}

HttpResponse AddTo(VmControl& control, std::string_view option, const std::string& body,
                   std::vector<UniqueFd> fds) {
  ConfigErrors errors;
  const Result<AddedDevice> added = control.AddDevice(option, body, std::move(fds), errors);
  if (!errors.empty()) return Refused(errors);
  if (!added.has_value()) return OutcomeOnHost(added.error());
  if (!added->place) return {204, {}, {}};
  return Answer({{"id", added->id}, {"bdf", *added->place}});
}

template <const char* option>
HttpResponse Add(VmControl& control, const std::string& body) {
  return AddTo(control, option, body, {});
}

HttpResponse AddNet(VmControl& control, const std::string& body, std::vector<UniqueFd> fds) {
  return AddTo(control, "net", body, std::move(fds));
}
constexpr char kDisk[] = "disk";
constexpr char kHostDevice[] = "device";
constexpr char kVsock[] = "vsock";

HttpResponse Remove(VmControl& control, const std::string& body) {
  Result<RequestBody> fields = RequestBody::Parse(body, {"id", "timeout_ms"});
  if (!fields.has_value()) return Outcome(fields.error());
  Status status = [&]() -> Status {
    TRY_ASSIGN(const std::string id, fields->Text("id"));
    TRY_ASSIGN(const auto timeout, fields->Timeout());
    return control.RemoveDevice(id, timeout);
  }();
  return Outcome(status);
}

HttpResponse Create(VmControl& control, const std::string& body) {
  ConfigErrors errors;
  const Status status = control.Create(body, errors);
  return errors.empty() ? Outcome(status) : Refused(errors);
}

HttpResponse Boot(VmControl& control, const std::string&) {
  return OutcomeOnHost(control.Boot());
}

HttpResponse Delete(VmControl& control, const std::string&) {
  return Outcome(control.Delete());
}

HttpResponse ResizeDisk(VmControl& control, const std::string& body) {
  Result<RequestBody> fields = RequestBody::Parse(body, {"id", "desired_size"});
  if (!fields.has_value()) return Outcome(fields.error());
  Status status = [&]() -> Status {
    TRY_ASSIGN(const std::string id, fields->Text("id"));
    TRY_ASSIGN(const auto size, fields->Number("desired_size", INT64_MAX));
    if (!size) return InvalidArgument("is missing", "desired_size");
    return control.ResizeDisk(id, *size);
  }();
  return Outcome(status);
}

// "file:///PATH" in a field.
Result<std::string> PathOf(const RequestBody& fields, std::string_view field) {
  constexpr std::string_view kScheme = "file://";
  TRY_ASSIGN(const std::string url, fields.Text(field));
  if (!url.starts_with(kScheme) || url.size() <= kScheme.size() + 1 || url[kScheme.size()] != '/') {
    return InvalidArgument("not of the form file:///PATH", std::string(field));
  }
  return url.substr(kScheme.size());
}

HttpResponse Snapshot(VmControl& control, const std::string& body) {
  Result<RequestBody> fields = RequestBody::Parse(body, {"destination_url"});
  if (!fields.has_value()) return Outcome(fields.error());
  Result<std::string> path = PathOf(*fields, "destination_url");
  return OutcomeOnHost(path.has_value() ? control.Snapshot(*path) : path.error());
}

// {"net_fds": [{"id": "net1", "num_fds": 2}, ...]}: so many of the descriptors that came, in their order.
Status TakeNets(const RequestBody& fields, std::vector<UniqueFd> fds, RestoreRequest& request) {
  TRY_ASSIGN(const std::vector<RequestBody> items, fields.List("net_fds", {"id", "num_fds", "fds"}));
  std::string wanted;
  for (const RequestBody& item : items) {
    RestoredNet& net = request.nets.emplace_back();
    TRY_ASSIGN(net.id, item.Text("id"));
    TRY_ASSIGN(const std::optional<uint64_t> count, item.Number("num_fds", UINT16_MAX));
    if (item.Has("fds")) {
      return InvalidArgument("network device " + net.id + ": descriptors do not travel in a text", "net_fds",
                             "send them by SCM_RIGHTS, and their number as num_fds");
    }
    for (uint64_t i = 0; i < count.value_or(0); ++i) {
      if (request.fds.size() == fds.size()) {
        return InvalidArgument("network device " + net.id + " is to have " + std::to_string(*count) +
                                   " descriptors, and " + std::to_string(i) + " came for it with the request",
                               "net_fds", "send them by SCM_RIGHTS");
      }
      request.fds.push_back(std::move(fds[request.fds.size()]));
      net.fds.push_back(request.fds.back().get());
    }
    wanted += (wanted.empty() ? ": " : ", ") + net.id + " is to have " + std::to_string(count.value_or(0));
  }
  if (request.fds.size() == fds.size()) return OkStatus();
  return InvalidArgument(std::to_string(fds.size()) + " descriptors came, " +
                             std::to_string(request.fds.size()) + " of them for a network device" + wanted,
                         "net_fds", "name all devices that have descriptors");
}

HttpResponse Restore(VmControl& control, const std::string& body, std::vector<UniqueFd> fds) {
  Result<RequestBody> fields =
      RequestBody::ParseWithLists(body, {"source_url", "prefault", "memory_restore_mode", "resume", "net_fds",
                                         "vfio_fds", "iommufd_fd", "zone_updates"});
  if (!fields.has_value()) return Outcome(fields.error());
  Status status = [&]() -> Status {
    RestoreRequest request;
    // Cloud Hypervisor's clients write them as null.
    for (const char* other : {"vfio_fds", "iommufd_fd", "zone_updates"}) {
      if (fields->Has(other))
        return InvalidArgument("not supported", other, "edit config.json of the snapshot instead");
    }
    TRY_ASSIGN(request.directory, PathOf(*fields, "source_url"));
    TRY_ASSIGN(request.prefault, fields->Toggle("prefault"));
    TRY_ASSIGN(const auto resume, fields->Toggle("resume"));
    request.resume = resume.value_or(false);
    if (fields->Has("memory_restore_mode")) {
      TRY_ASSIGN(const std::string mode, fields->Text("memory_restore_mode"));
      const std::string_view known = FindWord("Copy, OnDemand", mode);
      request.on_demand = known == "OnDemand";
      if (known.empty()) return InvalidArgument("not Copy or OnDemand", "memory_restore_mode");
    }
    if (request.on_demand && request.prefault.value_or(false)) {
      return InvalidArgument("memory that comes on demand is not there before", "prefault",
                             "leave it out, or use memory_restore_mode Copy");
    }
    TRY(TakeNets(*fields, std::move(fds), request));
    return control.Restore(std::move(request));
  }();
  return OutcomeOnHost(status);
}

HttpResponse CoreDump(VmControl& control, const std::string& body) {
  Result<RequestBody> fields = RequestBody::Parse(body, {"destination_url"});
  if (!fields.has_value()) return Outcome(fields.error());
  Result<std::string> path = PathOf(*fields, "destination_url");
  return OutcomeOnHost(path.has_value() ? control.CoreDump(*path) : path.error());
}

HttpResponse Preflight(VmControl& control, const std::string& body) {
  ConfigErrors errors;
  Result<std::string> findings = control.Preflight(body, errors);
  if (!errors.empty()) return Refused(errors);
  if (!findings.has_value()) return Outcome(findings.error());
  return {200, *std::move(findings), {}};
}

HttpResponse Accounting(VmControl& control, const std::string&) {
  return {200, control.Accounting(), {}};
}

HttpResponse Placement(VmControl& control, const std::string&) {
  return {200, control.Placement(), {}};
}

const Handler kHandlers[] = {
    {{"vmm.ping", "GET", "version and process id"}, Ping, false, false},
    {{"vm.create", "PUT", "make a VM of a configuration"}, Create, true, false},
    {{"vm.boot", "PUT", "power it on"}, Boot},
    {{"vm.delete", "PUT", "stop it and let go of everything"}, Delete, false, false},
    {{"vm.preflight", "PUT", "what this host lacks for a configuration, or for this VM"},
     Preflight,
     true,
     false},
    {{"vm.accounting", "GET", "memory on each node of the host"}, Accounting},
    {{"vm.placement", "GET", "whether memory and vCPUs are where they were to be"}, Placement},
    {{"vm.resize-disk", "PUT", "make a disk larger"}, ResizeDisk, true},
    {{"vm.snapshot", "PUT", "write the paused VM into a directory"}, Snapshot, true},
    {{"vm.restore", "PUT", "make the VM of a snapshot"}, nullptr, true, false, Restore},
    {{"vm.coredump", "PUT", "write a core file of the paused guest"}, CoreDump, true},
    {{"vm.nmi", "PUT", "send an NMI to all vCPUs"}, Act<VmAction::kNmi>},
    {{"vm.info", "GET", "configuration, state, threads and memory"}, Info},
    {{"vm.counters", "GET", "what the devices have done"}, Counters},
    {{"vm.power-button", "PUT", "press the power button"}, Act<VmAction::kPowerButton>},
    {{"vm.pause", "PUT", "stop the vCPUs for a while"}, Act<VmAction::kPause>},
    {{"vm.resume", "PUT", "let them run again"}, Act<VmAction::kResume>},
    {{"vm.reboot", "PUT", "reset the machine"}, Act<VmAction::kReboot>},
    {{"vm.shutdown", "PUT", "stop the machine without asking the guest"}, Act<VmAction::kShutdown>},
    {{"vm.resize", "PUT", "ask for other numbers of vCPUs or bytes of RAM"}, Resize, true},
    {{"vm.resize-zone", "PUT", "ask for another size of a memory zone"}, ResizeZone, true},
    {{"vm.add-disk", "PUT", "add a disk, as vm.create has it"}, Add<kDisk>, true},
    {{"vm.add-net", "PUT", "add a network device, as vm.create has it"}, nullptr, true, true, AddNet},
    {{"vm.add-device", "PUT", "add a device of the host, as vm.create has it"}, Add<kHostDevice>, true},
    {{"vm.add-vsock", "PUT", "add sockets between guest and host, as vm.create has them"}, Add<kVsock>, true},
    {{"vm.remove-device", "PUT", "ask the guest to let go of a device"}, Remove, true},
    {{"vmm.shutdown", "PUT", "stop the machine and end the process"}, Act<VmAction::kExit>, false, false},
};

}  // namespace

const std::vector<ApiVerb>& ApiVerbs() {
  static const std::vector<ApiVerb> verbs = [] {
    std::vector<ApiVerb> list;
    for (const Handler& handler : kHandlers) list.push_back(handler.verb);
    return list;
  }();
  return verbs;
}

std::string_view VerbRefusal(std::string_view verb) {
  constexpr std::string_view kAdd = "vm.add-";
  if (verb == "vm.send-migration" || verb == "vm.receive-migration")
    return "a running VM does not move; use vm.snapshot and vm.restore";
  const OptionSpec* option = verb.starts_with(kAdd) ? FindOption(verb.substr(kAdd.size())) : nullptr;
  return option == nullptr ? std::string_view() : option->refusal;
}

HttpResponse Route(const HttpRequest& request, VmControl& control, std::vector<UniqueFd> fds) {
  std::string_view target = request.target;
  if (target.starts_with(kApiBase)) {
    target.remove_prefix(kApiBase.size());
    for (const Handler& handler : kHandlers) {
      if (handler.verb.name != target) continue;
      if (handler.verb.method != request.method) {
        return {405,
                ErrorBody("METHOD_NOT_ALLOWED", "called by " + request.method, "method",
                          "use " + std::string(handler.verb.method)),
                std::string(handler.verb.method)};
      }
      if (!request.body.empty() && !handler.takes_body)
        return {400, ErrorBody("INVALID_ARGUMENT", std::string(target) + " takes no body", "body"), {}};
      if (handler.needs_vm && !control.exists())
        return Outcome(NotFound("no VM has been created").WithHint("make one by vm.create"));
      if (handler.run_with_fds != nullptr) return handler.run_with_fds(control, request.body, std::move(fds));
      if (!fds.empty())
        return {400, ErrorBody("INVALID_ARGUMENT", std::string(target) + " takes no descriptors", "fds"), {}};
      return handler.run(control, request.body);
    }
  }
  if (const std::string_view refusal = VerbRefusal(target); !refusal.empty())
    return {501, ErrorBody("UNIMPLEMENTED", "not supported: " + std::string(refusal)), {}};
  return {404, ErrorBody("NOT_FOUND", "no such path: " + request.target), {}};
}

}  // namespace berth::vmm
