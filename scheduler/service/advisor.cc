#include "scheduler/service/advisor.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
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

// How many of `instances` more the filters let the host have, one after another.
uint64_t Allowed(const ClassFilters& filters, const HostView& view, uint64_t instances) {
  if (!filters.reads_hosts()) return instances;
  FilteredHost host = view.Filtered();
  uint64_t allowed = 0;
  for (; allowed < instances && filters.KeepsHost(host); ++allowed) ++host.instances;
  return allowed;
}

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

Result<RequestSpec> Advisor::SpecOf(const Question& question, const Wish& wish) const {
  TRY_ASSIGN(RequestSpec spec,
             ResolveRequest(wish.flavor, wish.image, wish.ports, scheduler_.catalogue().aliases));
  spec.host.availability_zone = question.availability_zone;
  spec.host.project = question.project;
  return spec;
}

Result<KnownFleet> Advisor::Hosts(const std::string& only, const RequestSpec& spec) const {
  TRY(scheduler_.CheckReady());
  KnownFleet out;
  out.fleet = scheduler_.mirror().Snapshot();
  const FilterSet& set = scheduler_.policy().filters;
  ClassFilters filters(set, spec);
  out.fleet->ForEach([&](const HostView& view) {
    bool meant = only.empty() || view.report->name == only || view.report->uuid.ToString() == only;
    if (!meant) return;
    if (!filters.any() || filters.Keeps(view.Filtered())) {
      out.views.push_back(&view);
    } else if (auto reason = set.Refuse(view.Filtered(), spec)) {
      out.filtered.push_back({view.report->name, *std::move(reason)});
    }
  });
  if (out.views.empty() && out.filtered.empty() && !only.empty())
    return NotFound("host \"" + only + "\" does not exist", "host");
  std::sort(out.views.begin(), out.views.end(),
            [](const HostView* a, const HostView* b) { return a->report->name < b->report->name; });
  std::sort(out.filtered.begin(), out.filtered.end(),
            [](const FilteredOut& a, const FilteredOut& b) { return a.host < b.host; });
  out.hosts.reserve(out.views.size());
  for (const HostView* view : out.views)
    out.hosts.push_back(
        {view->report.get(), &view->usage, &view->fit, KnownClaims(&view->claims), view->state.get()});
  return out;
}

Result<Advisor::Explanation> Advisor::Explain(const Question& question, bool changes) const {
  TRY_ASSIGN(Wish wish, WishOf(question));
  const AliasTable& aliases = scheduler_.catalogue().aliases;
  Explanation out;
  TRY_ASSIGN(out.spec, SpecOf(question, wish));
  TRY_ASSIGN(out.fleet, Hosts(question.host, out.spec));
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
  TRY_ASSIGN(RequestSpec spec, SpecOf(question, wish));
  TRY_ASSIGN(KnownFleet fleet, Hosts(question.host, spec));
  Capacity out;
  RoomCounter counter(spec);
  ClassFilters filters(scheduler_.policy().filters, spec);
  std::map<std::string, Capacity::Aggregate> aggregates;
  for (size_t i = 0; i < fleet.hosts.size(); ++i) {
    const HostView& view = *fleet.views[i];
    HostRoom room = counter.Count(fleet.hosts[i]);
    room.instances = Allowed(filters, view, room.instances);
    out.instances += room.instances;
    if (room.undecided) ++out.undecided;
    if (room.instances == 0 && !room.undecided) continue;
    out.hosts.push_back({view.report->name, room});
    std::set<std::string> names = {"zone:" + view.facts->availability_zone};
    for (const Aggregate* aggregate : view.facts->aggregates) names.insert(aggregate->name);
    for (const std::string& name : names) {
      Capacity::Aggregate& sum = aggregates[name];
      sum.instances += room.instances;
      ++sum.hosts;
    }
  }
  for (auto& [name, sum] : aggregates) {
    sum.name = name;
    out.aggregates.push_back(std::move(sum));
  }
  out.hosts_total = static_cast<uint32_t>(fleet.hosts.size() + fleet.filtered.size());
  return out;
}

}  // namespace berth::scheduler
