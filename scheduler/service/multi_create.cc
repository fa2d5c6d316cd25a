#include "scheduler/service/multi_create.h"

#include <algorithm>
#include <numeric>
#include <set>
#include <tuple>
#include <utility>

#include "common/log.h"
#include "scheduler/fit/bind.h"
#include "scheduler/fit/fit.h"

namespace berth::scheduler {
namespace {

using placement::ServerGroupPolicy;

constexpr size_t kMostInstances = 4096;
constexpr uint32_t kMostAlternates = 16;
// A place that the mirror lost under us while it was looked for.
constexpr int kMostLooks = 4;
constexpr int kMostRounds = 16;

bool WorthAnotherRound(StatusCode code) {
  return code == StatusCode::kAborted || code == StatusCode::kResourceExhausted ||
         code == StatusCode::kFailedPrecondition || code == StatusCode::kNotFound;
}

bool IsPlain(const InstanceRequest& request) {
  return request.image_properties.empty() && request.ports.empty() && request.availability_zone.empty() &&
         request.project.empty();
}

}  // namespace

BatchAnswer Scheduler::CreateMany(const BatchRequest& batch) {
  BatchAnswer answer = MultiCreate(*this, batch).Run();
  for (const InstanceAnswer& one : answer.answers) {
    undecided_.Increment(one.decision.undecided);
    if (batch.dry_run) continue;
    if (one.status.ok() && one.claim) creates_.Increment();
    if (one.status.code() == StatusCode::kResourceExhausted) no_fits_.Increment();
  }
  return answer;
}

Status MultiCreate::CheckNames() const {
  if (batch_.instances.empty() || batch_.instances.size() > kMostInstances) {
    return InvalidArgument("has " + std::to_string(batch_.instances.size()) + " items, allowed are 1 to " +
                               std::to_string(kMostInstances),
                           "instances");
  }
  if (batch_.alternates > kMostAlternates) {
    return InvalidArgument(
        "is " + std::to_string(batch_.alternates) + ", allowed are 0 to " + std::to_string(kMostAlternates),
        "alternates");
  }
  std::set<std::string_view> names;
  std::set<Uuid> uuids;
  for (size_t i = 0; i < batch_.instances.size(); ++i) {
    const InstanceRequest& one = batch_.instances[i];
    const std::string field = "instances[" + std::to_string(i) + "]";
    if (!names.insert(one.name).second)
      return InvalidArgument("\"" + one.name + "\" is there twice", field + ".name");
    if (!one.uuid.is_nil() && !uuids.insert(one.uuid).second)
      return InvalidArgument(one.uuid.ToString() + " is there twice", field + ".uuid");
  }
  return OkStatus();
}

Status MultiCreate::Prepare() {
  TRY(CheckNames());
  TRY(scheduler_.CheckReady());
  if (scheduler_.policy_.settings.backoff_first_s > 0) scheduler_.mirror_.EndRests(scheduler_.clock_());
  items_.resize(batch_.instances.size());
  answer_.answers.resize(items_.size());
  std::map<std::string, placement::ServerGroup> rules;
  auto prepare = [&](const InstanceRequest& request, Item& item, InstanceAnswer& answer) -> Status {
    TRY(scheduler_.CheckRequest(request));
    if (auto again = scheduler_.AnswerAgain(request)) {
      answer = *std::move(again);
      item.done = true;
      return answer.status;
    }
    auto known = plain_.end();
    if (IsPlain(request)) known = plain_.find(request.flavor);
    if (known != plain_.end()) {
      item.spec = known->second;
    } else {
      TRY_ASSIGN(RequestSpec spec, scheduler_.Resolve(request));
      item.spec = std::make_shared<const RequestSpec>(std::move(spec));
      if (IsPlain(request)) plain_.emplace(request.flavor, item.spec);
    }
    if (!request.group) return OkStatus();
    auto first = rules.find(request.group->name);
    if (first == rules.end()) {
      TRY_ASSIGN(item.group, scheduler_.GroupOf(request));
      first = rules.emplace(request.group->name, *item.group).first;
    } else if (request.group_policy_given && first->second != *request.group) {
      return InvalidArgument("server group \"" + request.group->name + "\" has another policy in this batch",
                             "group");
    }
    item.group = first->second;
    return OkStatus();
  };
  for (size_t i = 0; i < items_.size(); ++i) {
    const InstanceRequest& request = batch_.instances[i];
    items_[i].request = &request;
    items_[i].consumer = request.uuid.is_nil() ? Uuid::Random() : request.uuid;
    Status status = prepare(request, items_[i], answer_.answers[i]);
    if (status.ok()) continue;
    items_[i].done = true;
    answer_.answers[i].status = status;
    if (!batch_.all_or_nothing) continue;
    answer_.refused = i;
    return std::move(status).WithField("instances[" + std::to_string(i) + "]" +
                                       (status.field().empty() ? "" : "." + status.field()));
  }
  return OkStatus();
}

MultiCreate::GroupHosts& MultiCreate::HostsOf(const Item& item) {
  for (GroupHosts& one : groups_) {
    if (one.group == item.group->name && (one.spec == item.spec || *one.spec == *item.spec)) return one;
  }
  GroupHosts& fresh = groups_.emplace_back();
  fresh.group = item.group->name;
  fresh.spec = item.spec;
  fresh.candidates = std::make_unique<Candidates>(*item.spec, &scheduler_.policy_);
  if (auto known = scheduler_.mirror_.FindGroup(item.group->name)) fresh.members = std::move(known->hosts);
  for (const auto& [host, count] : fresh.members) StrikeIfFull(fresh, host, item.group->max_per_host);
  return fresh;
}

void MultiCreate::StrikeIfFull(GroupHosts& hosts, const Uuid& host, uint32_t most) {
  if (hosts.members[host] < most) return;
  Mirror::Located located = scheduler_.mirror_.Locate({host});
  if (!located.slots.empty()) hosts.candidates->Ban(located.slots.begin()->second);
}

// Of a hard anti-affinity group: a class of its own, from which full hosts are struck off as they fill.
Decision MultiCreate::DecideApart(const Item& item) {
  GroupHosts& hosts = HostsOf(item);
  Decision out;
  auto fleet = scheduler_.mirror_.Snapshot();
  if (HostViewPtr best = hosts.candidates->Best(*fleet)) out.choice = ChooseOn(*best, *item.spec);
  out.undecided = hosts.candidates->undecided();
  return out;
}

// Whether all members of the group in this batch that have no place yet go there, one after another.
bool MultiCreate::HoldsAll(const HostView& view, const std::string& group) const {
  placement::HostUsage usage = view.usage;
  for (const Item& item : items_) {
    if (item.done || item.claim || !item.group || item.group->name != group) continue;
    FitHost host = FromHost(*view.report, usage);
    FitOptions options;
    options.explain = false;
    FitResult fit = Fit(host, *item.spec, options);
    if (fit.verdict != Verdict::kFits) return false;
    placement::Claim claim;
    claim.consumer = item.consumer;
    BindAssignment(*item.spec, fit.assignment, claim);
    placement::AddClaim(claim, usage);
  }
  return true;
}

// The first member of a hard affinity group: the best host that holds all who come with it.
Decision MultiCreate::DecideTogether(const Item& item) {
  Decision out;
  Candidates candidates(*item.spec, &scheduler_.policy_);
  while (true) {
    auto fleet = scheduler_.mirror_.Snapshot();
    HostViewPtr best = candidates.Best(*fleet);
    out.undecided = candidates.undecided();
    if (best == nullptr) return out;
    if (HoldsAll(*best, item.group->name)) {
      out.choice = ChooseOn(*best, *item.spec);
      return out;
    }
    auto located = scheduler_.mirror_.Locate({best->report->uuid});
    if (located.slots.empty()) continue;  // it has gone meanwhile
    candidates.Ban(located.slots.begin()->second);
  }
}

Result<Decision> MultiCreate::Decide(const Item& item) {
  const InstanceRequest& request = *item.request;
  const bool hints = !request.different_host.empty() || !request.same_host.empty() || !request.host.empty();
  if (item.group && !hints && item.group->policy == ServerGroupPolicy::kAntiAffinity) {
    Decision apart = DecideApart(item);
    if (apart.choice) return apart;
  }
  if (item.group && !hints && batch_.all_or_nothing && item.group->policy == ServerGroupPolicy::kAffinity &&
      !scheduler_.mirror_.FindGroup(item.group->name)) {
    Decision together = DecideTogether(item);
    if (together.choice) return together;
    // No host holds all: that is the answer, with the reasons of one.
    together.refusals = scheduler_.mirror_.Snapshot()->slots() == 0
                            ? std::vector<Refusal>()
                            : std::vector<Refusal>{{"",
                                                    {"server_group", "", "", "host",
                                                     "no host holds all members of server group \"" +
                                                         item.group->name + "\" in this batch"}}};
    return together;
  }
  return scheduler_.DecideOnce(request, *item.spec, item.group, false);  // reasons only when nothing fits
}

bool MultiCreate::AssumeOn(size_t number, const Choice& choice) {
  Item& item = items_[number];
  placement::Claim claim = scheduler_.MakeClaim(*item.request, item.consumer, *item.spec, choice, item.group);
  if (!scheduler_.mirror_.Assume(claim, choice.generation)) return false;
  item.claim = std::move(claim);
  item.host_name = choice.host_name;
  item.decided_on = choice.generation;
  assumed_.push_back(number);
  for (GroupHosts& hosts : groups_) {
    if (!item.group || hosts.group != item.group->name) continue;
    ++hosts.members[choice.host];
    StrikeIfFull(hosts, choice.host, item.group->max_per_host);
  }
  return true;
}

bool MultiCreate::PlaceOne(size_t number) {
  Item& item = items_[number];
  InstanceAnswer& answer = answer_.answers[number];
  for (int look = 0; look < kMostLooks; ++look) {
    auto decision = Decide(item);
    if (!decision.has_value()) {
      answer.status = decision.error();
      return false;
    }
    answer.decision = *std::move(decision);
    if (!answer.decision.choice) {
      answer.status = ResourceExhausted(SummarizeRefusals(answer.decision.refusals));
      return false;
    }
    if (AssumeOn(number, *answer.decision.choice)) {
      answer.decision.choice.reset();
      answer.status = OkStatus();
      return true;
    }
  }
  answer.status = Aborted("the chosen hosts changed under " + std::to_string(kMostLooks) +
                          " decisions in a row: try again");
  return false;
}

std::optional<size_t> MultiCreate::Place(const std::vector<size_t>& order) {
  for (size_t number : order) {
    Item& item = items_[number];
    if (item.done || item.claim) continue;
    if (PlaceOne(number)) continue;
    if (batch_.all_or_nothing) return number;
    item.done = true;
  }
  return std::nullopt;
}

void MultiCreate::AbandonAll() {
  for (auto it = assumed_.rbegin(); it != assumed_.rend(); ++it) {
    Item& item = items_[*it];
    if (!item.claim) continue;
    scheduler_.mirror_.Abandon(*item.claim, item.decided_on);
    item.claim.reset();
  }
  assumed_.clear();
  groups_.clear();  // what was struck off is free again
}

// The largest first: what is hardest to place gets the choice.
std::vector<size_t> MultiCreate::BySize() const {
  std::vector<size_t> order(items_.size());
  std::iota(order.begin(), order.end(), size_t{0});
  auto size = [&](size_t number) {
    const RequestSpec* spec = items_[number].spec.get();
    if (spec == nullptr) return std::tuple<uint64_t, size_t, uint64_t, uint64_t>();
    uint64_t devices = 0;
    for (const PciRequest& request : spec->pci) devices += request.count;
    return std::tuple<uint64_t, size_t, uint64_t, uint64_t>(devices, spec->cells.size(), spec->vcpus,
                                                            spec->memory_bytes);
  };
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return size(a) > size(b); });
  return order;
}

void MultiCreate::Refused(size_t number, const Status& status) {
  Item& item = items_[number];
  InstanceAnswer& answer = answer_.answers[number];
  const placement::Claim claim = *item.claim;
  scheduler_.mirror_.Abandon(claim, item.decided_on);
  item.claim.reset();
  answer.status = status;
  if (!WorthAnotherRound(status.code())) {
    item.done = true;
    return;
  }
  scheduler_.retries_.Increment();
  Status fresh;
  if (claim.group && status.field().ends_with("group")) {
    fresh = scheduler_.RefreshGroup(claim.group->name);
  } else {
    Choice choice{claim.host, item.host_name, item.decided_on, {}};
    fresh = scheduler_.Refresh(choice, status);
  }
  if (fresh.ok()) return;
  answer.status = fresh;
  item.done = true;
}

bool MultiCreate::Claim() {
  std::vector<AskedClaim> asked;
  asked.reserve(assumed_.size());
  for (size_t number : assumed_) asked.push_back({*items_[number].claim, items_[number].decided_on});
  if (asked.empty()) return false;
  auto results = scheduler_.client_.CreateClaims(asked, batch_.all_or_nothing);
  std::vector<size_t> sent = std::exchange(assumed_, {});
  if (!results.has_value()) {
    // None was made, as far as anybody knows.
    Status status = results.error();
    size_t refused = 0;
    std::string field = status.field();
    if (field.starts_with("claims["))
      refused = std::min<size_t>(std::strtoul(field.c_str() + 7, nullptr, 10), sent.size() - 1);
    for (auto it = sent.rbegin(); it != sent.rend(); ++it) {
      if (*it == sent[refused]) continue;
      scheduler_.mirror_.Abandon(*items_[*it].claim, items_[*it].decided_on);
      items_[*it].claim.reset();
      if (!batch_.all_or_nothing) {
        answer_.answers[*it].status = status;
        items_[*it].done = true;
      }
    }
    Refused(sent[refused], status);
    groups_.clear();
    answer_.status = answer_.answers[sent[refused]].status;
    answer_.refused = sent[refused];
    return !items_[sent[refused]].done && batch_.all_or_nothing;
  }
  bool again = false;
  for (size_t i = sent.size(); i-- > 0;) {
    Item& item = items_[sent[i]];
    InstanceAnswer& answer = answer_.answers[sent[i]];
    const ClaimResult& result = (*results)[i];
    if (!result.status.ok()) {
      Refused(sent[i], result.status);
      again = again || !item.done;
      continue;
    }
    scheduler_.mirror_.Confirm(*item.claim);
    item.claim->created_at_ms = result.created_at_ms;
    answer.claim = std::move(item.claim);
    item.claim.reset();
    answer.host_name = item.host_name;
    answer.status = OkStatus();
    item.done = true;
  }
  if (again) groups_.clear();
  return again;
}

void MultiCreate::NameAlternates() {
  if (batch_.alternates == 0) return;
  for (size_t number : assumed_) {
    Item& item = items_[number];
    std::vector<std::string>& names = answer_.answers[number].alternates;
    Mirror::Located located = scheduler_.mirror_.Locate({item.claim->host});
    std::vector<size_t> excluded;
    for (const auto& [host, slot] : located.slots) excluded.push_back(slot);
    while (names.size() < batch_.alternates) {
      HostViewPtr next = scheduler_.candidates_.Best(located.fleet, *item.spec, excluded).host;
      if (next == nullptr) break;
      names.push_back(next->report->name);
      auto at = scheduler_.mirror_.Locate({next->report->uuid});
      if (at.slots.empty()) break;
      size_t slot = at.slots.begin()->second;
      auto place = std::lower_bound(excluded.begin(), excluded.end(), slot);
      if (place != excluded.end() && *place == slot) break;
      excluded.insert(place, slot);
    }
  }
}

void MultiCreate::FinishDry() {
  NameAlternates();
  for (size_t number : assumed_) {
    answer_.answers[number].claim = items_[number].claim;
    answer_.answers[number].host_name = items_[number].host_name;
  }
  AbandonAll();
}

BatchAnswer MultiCreate::Run() {
  answer_.status = Prepare();
  if (!answer_.status.ok()) return std::move(answer_);
  std::vector<size_t> order(items_.size());
  std::iota(order.begin(), order.end(), size_t{0});
  for (int round = 0; round < kMostRounds; ++round) {
    std::optional<size_t> stuck = Place(order);
    if (stuck && round == 0) {
      AbandonAll();
      order = BySize();
      Status first = answer_.answers[*stuck].status;
      std::optional<size_t> second = Place(order);
      if (second) answer_.answers[*second].status = first;
      stuck = second;
    }
    if (stuck) {
      AbandonAll();
      answer_.status = answer_.answers[*stuck].status;
      answer_.refused = *stuck;
      for (InstanceAnswer& one : answer_.answers) one.claim.reset();
      return std::move(answer_);
    }
    answer_.status = OkStatus();
    if (batch_.dry_run) {
      FinishDry();
      return std::move(answer_);
    }
    if (!Claim()) return std::move(answer_);
  }
  AbandonAll();
  answer_.status = batch_.all_or_nothing
                       ? Aborted("the chosen hosts changed under " + std::to_string(kMostRounds) +
                                 " decisions in a row: try again")
                       : OkStatus();
  return std::move(answer_);
}

}  // namespace berth::scheduler
