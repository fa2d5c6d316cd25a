#include "cli/rebalance_command.h"

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "cli/client.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/wish_options.h"
#include "placement/model/names.h"
#include "placement/wire/claim.h"
#include "placement/wire/host.h"
#include "scheduler/rebalance/check_plan.h"
#include "scheduler/rebalance/plan.h"
#include "scheduler/request/resolve.h"

namespace berth::cli {
namespace {

using Align = Table::Align;

struct Options {
  std::string flavor;
  std::string drain;
  WishOptions wish;
  scheduler::PlanOptions plan;
};

// The fleet as placement tells it at one moment.
struct Picture {
  struct Host {
    placement::HostReport report;
    scheduler::KnownHost::Claims claims;
    placement::HostUsage usage;
    scheduler::FitHost fit;
  };
  std::deque<Host> hosts;  // by name; stable references
  scheduler::KnownHosts known;
};

Result<Picture> AskForFleet(Client& client) {
  TRY_ASSIGN(v1::ListHostsResponse hosts,
             client.Call(client.placement(), &v1::Placement::Stub::ListHosts, v1::ListHostsRequest()));
  TRY_ASSIGN(v1::ListClaimsResponse claims,
             client.Call(client.placement(), &v1::Placement::Stub::ListClaims, v1::ListClaimsRequest()));
  Picture out;
  std::map<Uuid, Picture::Host*> by_uuid;
  for (const v1::Host& host : hosts.hosts()) {
    TRY_ASSIGN(placement::HostReport report, wire::HostFromProto(host));
    // Nothing is moved to a host that an operator took out, and no room is made there.
    for (const std::string& trait : host.traits()) {
      if (trait == placement::kHostDisabledTrait) report.can_run_guests = false;
    }
    out.hosts.push_back({std::move(report), {}, {}, {}});
  }
  std::sort(out.hosts.begin(), out.hosts.end(),
            [](const auto& a, const auto& b) { return a.report.name < b.report.name; });
  for (Picture::Host& host : out.hosts) by_uuid[host.report.uuid] = &host;
  for (const v1::Claim& one : claims.claims()) {
    TRY_ASSIGN(placement::Claim claim, wire::ClaimFromProto(one));
    auto host = by_uuid.find(claim.host);
    // Made on a host that came in between: the next question sees both.
    if (host == by_uuid.end()) continue;
    placement::AddClaim(claim, host->second->usage);
    const Uuid consumer = claim.consumer;
    host->second->claims[consumer] = std::make_shared<const placement::Claim>(std::move(claim));
  }
  for (Picture::Host& host : out.hosts) {
    host.fit = scheduler::FromHost(host.report, host.usage);
    out.known.push_back({&host.report, &host.usage, &host.fit, &host.claims});
  }
  return out;
}

// Flavors and aliases of the scheduler, resolved when somebody asks.
class Flavors {
 public:
  static Result<Flavors> Ask(Client& client) {
    Flavors out;
    TRY_ASSIGN(v1::ListFlavorsResponse flavors,
               client.Call(client.scheduler(), &v1::Scheduler::Stub::ListFlavors, v1::ListFlavorsRequest()));
    TRY_ASSIGN(v1::ListAliasesResponse aliases,
               client.Call(client.scheduler(), &v1::Scheduler::Stub::ListAliases, v1::ListAliasesRequest()));
    for (const v1::Flavor& flavor : flavors.flavors()) {
      scheduler::Flavor one{flavor.name(), flavor.vcpus(), flavor.memory_mib(), {}};
      for (const auto& [name, value] : flavor.extra_specs()) one.extra_specs[name] = value;
      out.flavors_[flavor.name()] = std::move(one);
    }
    for (const v1::Alias& alias : aliases.aliases()) {
      std::vector<scheduler::AliasField> fields = {{"name", alias.name()}};
      auto add = [&](const char* key, std::string value) {
        if (!value.empty()) fields.emplace_back(key, std::move(value));
      };
      add("vendor_id", alias.vendor_id());
      add("product_id", alias.product_id());
      add("device_type", alias.device_type());
      add("numa_policy", alias.numa_policy());
      add("resource_class", alias.resource_class());
      std::string traits;
      for (const std::string& trait : alias.traits()) traits += (traits.empty() ? "" : ",") + trait;
      add("traits", std::move(traits));
      TRY_ASSIGN(scheduler::AliasEntry entry, scheduler::MakeAliasEntry(fields));
      TRY(scheduler::AddAliasEntry(std::move(entry), out.aliases_));
    }
    return out;
  }

  Result<scheduler::RequestSpec> Resolve(const v1::Wish& wish) const {
    auto flavor = flavors_.find(wish.flavor());
    if (flavor == flavors_.end())
      return InvalidArgument("flavor \"" + wish.flavor() + "\" is not defined", "for",
                             "see: berthctl flavor list");
    scheduler::Properties image;
    for (const auto& [name, value] : wish.image_properties()) image[name] = value;
    std::vector<scheduler::PortRequest> ports;
    for (const v1::Port& port : wish.ports()) {
      scheduler::PortRequest one;
      one.id = port.id();
      one.vnic_type = port.vnic_type();
      if (port.has_physical_network()) one.physical_network = port.physical_network();
      if (port.has_trusted()) one.trusted = port.trusted();
      one.numa_policy = port.numa_policy();
      ports.push_back(std::move(one));
    }
    return scheduler::ResolveRequest(flavor->second, image, ports, aliases_);
  }

  const scheduler::RequestSpec* Find(const std::string& name) {
    auto known = specs_.find(name);
    if (known == specs_.end()) {
      std::optional<scheduler::RequestSpec> spec;
      v1::Wish wish;
      wish.set_flavor(name);
      if (auto resolved = Resolve(wish); resolved.has_value()) spec = std::move(*resolved);
      known = specs_.emplace(name, std::move(spec)).first;
    }
    return known->second ? &*known->second : nullptr;
  }

 private:
  std::map<std::string, scheduler::Flavor> flavors_;
  scheduler::AliasTable aliases_;
  std::map<std::string, std::optional<scheduler::RequestSpec>> specs_;
};

const char* VerdictName(scheduler::PlanVerdict verdict) {
  switch (verdict) {
    case scheduler::PlanVerdict::kDone:
      return "done";
    case scheduler::PlanVerdict::kNo:
      return "impossible";
    case scheduler::PlanVerdict::kUndecided:
      return "undecided";
  }
  return "";
}

Json PlanJson(const scheduler::RebalancePlan& plan, bool checked) {
  Json moves = Json::array();
  for (const scheduler::Move& move : plan.moves) {
    Json cells = Json::array();
    for (const placement::CellBinding& cell : move.claim.cells) {
      CpuSet cpus;
      for (const auto& [vcpu, cpu] : cell.pinning) cpus.Add(cpu);
      cells.push_back({{"guest", cell.guest_cell}, {"host", cell.host_cell}, {"cpus", cpus.ToString()}});
    }
    Json devices = Json::array();
    for (const placement::DeviceBinding& device : move.claim.devices)
      devices.push_back(device.address.ToString());
    moves.push_back({{"instance", move.instance},
                     {"uuid", move.claim.consumer.ToString()},
                     {"from", move.from},
                     {"to", move.to},
                     {"memory_mib", move.cost.memory_bytes >> 20},
                     {"devices", std::move(devices)},
                     {"cells", std::move(cells)}});
  }
  return {{"verdict", VerdictName(plan.verdict)},
          {"dry_run", true},
          {"moves", std::move(moves)},
          {"cost",
           {{"moves", plan.moves.size()},
            {"memory_mib", plan.cost.memory_bytes >> 20},
            {"devices", plan.cost.devices}}},
          {"fewest_moves", plan.fewest},
          {"host", plan.opened_host.empty() ? Json(nullptr) : Json(plan.opened_host)},
          {"stuck", plan.stuck},
          {"checked", checked},
          {"tries", plan.tries}};
}

std::string PlanText(const scheduler::RebalancePlan& plan, const Options& options) {
  std::string text;
  if (!plan.moves.empty()) {
    Table table({{"MOVE", Align::kRight},
                 {"INSTANCE"},
                 {"FROM"},
                 {"TO"},
                 {"MEMORY", Align::kRight},
                 {"DEVICES", Align::kRight}});
    size_t number = 0;
    for (const scheduler::Move& move : plan.moves)
      table.AddRow({std::to_string(++number), move.instance, move.from, move.to,
                    BytesText(move.cost.memory_bytes), std::to_string(move.cost.devices)});
    text += table.ToString() + "\n";
  }
  std::string what = options.drain.empty() ? options.flavor + " fits" : options.drain + " is empty";
  std::string limit = std::to_string(options.plan.max_moves) + " moves";
  switch (plan.verdict) {
    case scheduler::PlanVerdict::kDone:
      text += plan.moves.empty() ? what + " without any move" : "then " + what;
      if (!plan.opened_host.empty()) text += " on " + plan.opened_host;
      if (!plan.moves.empty()) {
        text += ": " + std::to_string(plan.moves.size()) + " moves, " + BytesText(plan.cost.memory_bytes) +
                " of memory, " + std::to_string(plan.cost.devices) + " devices";
        text += plan.fewest ? "; fewer do not do" : "; whether fewer would do was not proved";
      }
      break;
    case scheduler::PlanVerdict::kNo:
      text += "no " + limit + " do it: everything was tried";
      break;
    case scheduler::PlanVerdict::kUndecided:
      text += "no plan of at most " + limit + " was found before the search gave up";
      break;
  }
  text += "\n";
  for (const std::string& name : plan.stuck) text += name + " can not be moved\n";
  return text + "Nothing was changed.\n";
}

Status Plan(Context& context, const Options& options) {
  TRY_ASSIGN(Format format, context.ChooseFormat({Format::kTable, Format::kJson, Format::kYaml}));
  Client client(context);
  TRY_ASSIGN(Picture fleet, AskForFleet(client));
  TRY_ASSIGN(Flavors flavors, Flavors::Ask(client));
  auto find = [&flavors](const std::string& name) { return flavors.Find(name); };
  scheduler::RebalancePlan plan;
  Status checked;
  if (options.drain.empty()) {
    TRY_ASSIGN(v1::Wish wish, options.wish.Parse(options.flavor));
    TRY_ASSIGN(scheduler::RequestSpec spec, flavors.Resolve(wish));
    plan = scheduler::PlanRoom(fleet.known, spec, find, options.plan);
    checked = scheduler::CheckRoomPlan(fleet.known, plan, options.plan);
  } else {
    size_t host = 0;
    auto is_meant = [&](const placement::HostReport& report) {
      return report.name == options.drain || report.uuid.ToString() == options.drain;
    };
    while (host < fleet.known.size() && !is_meant(*fleet.known[host].report)) ++host;
    if (host == fleet.known.size()) return NotFound("host \"" + options.drain + "\" does not exist", "drain");
    plan = scheduler::PlanDrain(fleet.known, host, find, options.plan);
    checked = scheduler::CheckDrainPlan(fleet.known, host, plan, options.plan);
  }
  bool done = plan.verdict == scheduler::PlanVerdict::kDone;
  if (done && !checked.ok()) return Internal("the plan does not hold: " + checked.ToString());
  context.terminal.out << (format == Format::kTable ? PlanText(plan, options)
                                                    : ToText(PlanJson(plan, done), format));
  return OkStatus();
}

}  // namespace

void AddRebalance(CLI::App& app, Context& context, Verbs& verbs) {
  CLI::App* noun = AddNoun(app, "rebalance", "Make room, or empty a host, by moving instances");
  CLI::App* verb =
      AddVerb(*noun, "plan", "Plan moves after which a flavor fits or a host is empty; changes nothing",
              "berthctl rebalance plan --for gpu8 --max-moves 4");
  auto options = std::make_shared<Options>();
  CLI::App* what = verb->add_option_group("What for");
  what->add_option("--for", options->flavor, "Flavor to make room for")->type_name("FLAVOR");
  what->add_option("--drain", options->drain, "Host to empty (name or UUID)")->type_name("HOST");
  what->require_option(1);
  options->wish.AddTo(*verb);
  verb->add_option("--max-moves", options->plan.max_moves, "The most moves that are allowed")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  AddOutputOption(*verb, context, "table (default), json, yaml");
  verbs.Add(verb, [options](Context& c) { return Plan(c, *options); });
}

}  // namespace berth::cli
