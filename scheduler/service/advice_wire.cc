#include "scheduler/service/advice_wire.h"

#include <algorithm>
#include <map>
#include <utility>

#include "scheduler/service/wire.h"

namespace berth::scheduler {
namespace {

void ToProto(Reason reason, v1::Reason* out) {
  out->set_code(std::move(reason.code));
  out->set_have(std::move(reason.have));
  out->set_need(std::move(reason.need));
  out->set_where(std::move(reason.where));
  out->set_text(std::move(reason.text));
}

v1::ChangeKind ToProto(ChangeKind kind) {
  switch (kind) {
    case ChangeKind::kRelaxPolicy:
      return v1::CHANGE_KIND_RELAX_POLICY;
    case ChangeKind::kChangeSetting:
      return v1::CHANGE_KIND_CHANGE_SETTING;
    case ChangeKind::kShrink:
      return v1::CHANGE_KIND_SHRINK;
    case ChangeKind::kFreeDevice:
      return v1::CHANGE_KIND_FREE_DEVICE;
    case ChangeKind::kMoveInstance:
      return v1::CHANGE_KIND_MOVE_INSTANCE;
  }
  return v1::CHANGE_KIND_UNSPECIFIED;
}

void ToProto(const Change& change, v1::Change* out) {
  out->set_kind(ToProto(change.kind));
  out->set_text(change.text);
  out->set_subject(change.subject);
  out->set_from(change.from);
  out->set_to(change.to);
  out->set_host(change.host);
  out->set_hosts(change.hosts);
  out->set_instance(change.instance);
}

void VerdictToProto(const HostOutcome& outcome, const RequestSpec& spec, v1::HostVerdict* out) {
  out->set_fits(outcome.verdict == Verdict::kFits);
  if (outcome.verdict == Verdict::kNo) ToProto(Describe(outcome.lack, spec), out->add_reasons());
  if (outcome.verdict == Verdict::kUndecided)
    ToProto({"undecided", "", "", "host", "the search gave up before a proof"}, out->add_reasons());
}

// Hosts that filters do not keep, counted among the reasons by code.
void AddFiltered(const std::vector<FilteredOut>& filtered, bool verdicts, v1::ExplainResponse* out) {
  std::map<std::string, v1::ReasonCount> counts;
  for (const FilteredOut& one : filtered) {
    v1::ReasonCount& count = counts[one.reason.code];
    if (count.hosts() == 0) {
      count.set_code(one.reason.code);
      count.set_nearest_host(one.host);
      ToProto(one.reason, count.mutable_nearest());
    }
    count.set_hosts(count.hosts() + 1);
    if (!verdicts) continue;
    v1::HostVerdict* verdict = out->add_verdicts();
    verdict->set_host(one.host);
    ToProto(one.reason, verdict->add_reasons());
  }
  for (auto& [code, count] : counts) *out->add_reasons() = std::move(count);
  std::stable_sort(out->mutable_reasons()->begin(), out->mutable_reasons()->end(),
                   [](const auto& a, const auto& b) { return a.hosts() > b.hosts(); });
}

}  // namespace

Result<Question> QuestionFromProto(const v1::Wish& wish, const std::string& host) {
  // A wish is a create without a name; the limits are the same.
  v1::CreateInstanceRequest create;
  create.set_flavor(wish.flavor());
  create.set_host(host);
  *create.mutable_image_properties() = wish.image_properties();
  *create.mutable_ports() = wish.ports();
  create.set_availability_zone(wish.availability_zone());
  create.set_project(wish.project());
  TRY_ASSIGN(InstanceRequest request, RequestFromProto(create));
  return Question{
      std::move(request.flavor), std::move(request.image_properties),  std::move(request.ports),
      std::move(request.host),   std::move(request.availability_zone), std::move(request.project)};
}

void ExplanationToProto(const Advisor::Explanation& explanation, bool verdicts, v1::ExplainResponse* out) {
  const KnownHosts& hosts = explanation.fleet.hosts;
  const Reasons& reasons = explanation.reasons;
  const std::vector<FilteredOut>& filtered = explanation.fleet.filtered;
  out->set_hosts(static_cast<uint32_t>(hosts.size() + filtered.size()));
  out->set_fitting(reasons.fitting);
  out->set_undecided(reasons.undecided);
  for (const LackTally& tally : reasons.tallies) {
    const Lack& lack = reasons.outcomes[tally.nearest].lack;
    v1::ReasonCount* one = out->add_reasons();
    one->set_code(CodeOf(lack));
    one->set_hosts(tally.hosts);
    ToProto(Describe(lack, explanation.spec), one->mutable_nearest());
    one->set_nearest_host(hosts[tally.nearest].report->name);
  }
  AddFiltered(filtered, verdicts, out);
  for (uint32_t i = 0; verdicts && i < hosts.size(); ++i) {
    v1::HostVerdict* verdict = out->add_verdicts();
    verdict->set_host(hosts[i].report->name);
    VerdictToProto(reasons.outcomes[i], explanation.spec, verdict);
  }
  std::sort(out->mutable_verdicts()->begin(), out->mutable_verdicts()->end(),
            [](const auto& a, const auto& b) { return a.host() < b.host(); });
  for (const Change& change : explanation.changes.changes) ToProto(change, out->add_changes());
  out->set_hosts_not_tried(explanation.changes.hosts_not_tried);
  for (const std::string& note : explanation.notes) out->add_notes(note);
}

void CapacityToProto(const Advisor::Capacity& capacity, v1::GetCapacityResponse* out) {
  out->set_instances(capacity.instances);
  out->set_hosts_total(capacity.hosts_total);
  out->set_undecided(capacity.undecided);
  for (const Advisor::Capacity::Host& host : capacity.hosts) {
    v1::GetCapacityResponse::Host* one = out->add_hosts();
    one->set_host(host.name);
    one->set_instances(host.room.instances);
    one->set_undecided(host.room.undecided);
  }
  for (const Advisor::Capacity::Aggregate& aggregate : capacity.aggregates) {
    v1::GetCapacityResponse::Aggregate* one = out->add_aggregates();
    one->set_name(aggregate.name);
    one->set_instances(aggregate.instances);
    one->set_hosts(aggregate.hosts);
  }
}

}  // namespace berth::scheduler
