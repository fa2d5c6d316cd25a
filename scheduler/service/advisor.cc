#include "scheduler/service/advisor.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "common/yaml.h"

namespace berth::scheduler {
namespace {

// Flavors resolved once each.
class ResolvedFlavors {
 public:
  explicit ResolvedFlavors(const Catalogue& catalogue) : catalogue_(catalogue) {}

  const RequestSpec* Find(const std::string& name) {
    auto known = specs_.find(name);
    if (known == specs_.end()) {
      std::optional<RequestSpec> spec;
      auto flavor = catalogue_.flavors.find(name);
      if (flavor != catalogue_.flavors.end()) {
        auto resolved = ResolveRequest(flavor->second, {}, {}, catalogue_.aliases);
        if (resolved.has_value()) spec = std::move(*resolved);
      }
      known = specs_.emplace(name, std::move(spec)).first;
    }
    return known->second ? &*known->second : nullptr;
  }

 private:
  const Catalogue& catalogue_;
  std::map<std::string, std::optional<RequestSpec>> specs_;
};

}  // namespace

Result<Wish> Advisor::WishOf(const Question& question) const {
  const auto& flavors = scheduler_.catalogue().flavors;
  auto flavor = flavors.find(question.flavor);
  if (flavor != flavors.end()) return Wish{flavor->second, question.image_properties, question.ports};
  std::vector<std::string_view> names;
  for (const auto& [name, known] : flavors) names.push_back(name);
  std::string_view nearest = NearestName(question.flavor, names);
  return InvalidArgument("flavor \"" + question.flavor + "\" is not defined", "flavor",
                         nearest.empty() ? "" : "did you mean \"" + std::string(nearest) + "\"?");
}

Result<KnownFleet> Advisor::Hosts(const std::string& only) const {
  if (!scheduler_.ready()) return Unavailable("the fleet is not known yet: placement has not answered");
  KnownFleet out;
  out.fleet = scheduler_.mirror().Snapshot();
  out.fleet->ForEach([&](const HostView& view) {
    if (only.empty() || view.report->name == only || view.report->uuid.ToString() == only)
      out.hosts.push_back({view.report.get(), &view.usage, &view.fit, &view.claims});
  });
  if (out.hosts.empty() && !only.empty()) return NotFound("host \"" + only + "\" does not exist", "host");
  std::sort(out.hosts.begin(), out.hosts.end(),
            [](const KnownHost& a, const KnownHost& b) { return a.report->name < b.report->name; });
  return out;
}

Result<Advisor::Explanation> Advisor::Explain(const Question& question, bool changes) const {
  TRY_ASSIGN(Wish wish, WishOf(question));
  const AliasTable& aliases = scheduler_.catalogue().aliases;
  Explanation out;
  TRY_ASSIGN(out.spec, ResolveRequest(wish.flavor, wish.image, wish.ports, aliases));
  TRY_ASSIGN(out.fleet, Hosts(question.host));
  out.notes = ExplainIneffective(wish.flavor, out.spec);
  out.reasons = FindReasons(out.fleet.hosts, out.spec);
  if (!changes) return out;
  ResolvedFlavors flavors(scheduler_.catalogue());
  out.changes = FindChanges(out.fleet.hosts, wish, out.spec, aliases, out.reasons,
                            [&](const std::string& name) { return flavors.Find(name); });
  return out;
}

Result<Advisor::Capacity> Advisor::Count(const Question& question) const {
  TRY_ASSIGN(Wish wish, WishOf(question));
  TRY_ASSIGN(RequestSpec spec,
             ResolveRequest(wish.flavor, wish.image, wish.ports, scheduler_.catalogue().aliases));
  TRY_ASSIGN(KnownFleet fleet, Hosts(question.host));
  Capacity out;
  RoomCounter counter(spec);
  for (const KnownHost& host : fleet.hosts) {
    HostRoom room = counter.Count(host);
    out.instances += room.instances;
    if (room.undecided) ++out.undecided;
    if (room.instances > 0 || room.undecided) out.hosts.push_back({host.report->name, room});
  }
  out.hosts_total = static_cast<uint32_t>(fleet.hosts.size());
  return out;
}

}  // namespace berth::scheduler
