#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "placement/model/capacity.h"
#include "scheduler/explain/changes.h"
#include "scheduler/explain/claim_request.h"
#include "scheduler/fit/device_match.h"
#include "scheduler/fit/fit.h"

namespace berth::scheduler {
namespace {

// Hosts that refuse, those that lack least first; a host is worth a try only where something is held.
std::vector<uint32_t> Nearest(const KnownHosts& hosts, const Reasons& reasons, bool devices_only) {
  std::vector<uint32_t> order;
  for (uint32_t i = 0; i < hosts.size(); ++i) {
    const HostOutcome& outcome = reasons.outcomes[i];
    if (outcome.verdict != Verdict::kNo || hosts[i].claims.empty()) continue;
    LackCode code = outcome.lack.code;
    bool of_devices = code >= LackCode::kDevices;
    // What no claim holds can not be freed.
    bool fixed = code == LackCode::kNoKvm || code == LackCode::kSmt || code == LackCode::kCells;
    if (fixed || (devices_only && !of_devices)) continue;
    order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    return Shortfall(reasons.outcomes[a].lack) < Shortfall(reasons.outcomes[b].lack);
  });
  return order;
}

class HostChanges {
 public:
  HostChanges(const KnownHosts& hosts, const RequestSpec& spec, const Reasons& reasons,
              const FlavorSpecs& flavors, const ChangeOptions& options)
      : hosts_(hosts),
        spec_(spec),
        reasons_(reasons),
        flavors_(flavors),
        options_(options),
        plan_(spec_, *hosts.front().fit->types) {}

  void Run(Changes& out) {
    if (!spec_.pci.empty()) FreeDevice(out);
    MoveInstance(out);
  }

 private:
  bool FitsWith(const KnownHost& host, const placement::HostUsage& usage) {
    ++tries_;
    return FitByCounts(FromHost(*host.report, usage), plan_).verdict == Verdict::kFits;
  }

  // Whether the device could serve the request, or keeps its family from serving it.
  bool Matters(const KnownHost& host, const PciAddress& address) {
    const placement::Device* device = placement::FindDevice(*host.report, address);
    if (device == nullptr) return false;
    // A host with nothing but this device knows it as the solver does.
    placement::HostReport only;
    only.devices = {*device};
    only.devices.front().assignable = true;
    FitHost fit = FromHost(only, {});
    bool serves = !fit.devices.empty() && ServableRequests(fit.devices.front(), spec_) != 0;
    return serves || device->parent.has_value() || device->type == placement::DeviceType::kPf;
  }

  void FreeDevice(Changes& out) {
    tries_ = 0;
    for (uint32_t i : Nearest(hosts_, reasons_, true)) {
      const KnownHost& host = hosts_[i];
      for (const auto& [address, consumer] : host.usage->devices) {
        if (tries_ >= options_.max_tries) return;
        if (!Matters(host, address)) continue;
        placement::HostUsage usage = *host.usage;
        usage.devices.erase(address);
        if (!FitsWith(host, usage)) continue;
        auto claim = host.claims->find(consumer);
        Change change;
        change.kind = ChangeKind::kFreeDevice;
        change.subject = address.ToString();
        change.host = host.report->name;
        change.hosts = 1;
        change.instance = claim == host.claims->end() ? consumer.ToString() : claim->second->name;
        change.text =
            "if " + change.instance + " gave back device " + change.subject + ": it fits on " + change.host;
        out.changes.push_back(std::move(change));
        return;
      }
    }
  }

  struct Found {
    uint32_t host = 0;
    const placement::Claim* claim = nullptr;
    std::optional<uint32_t> to;
  };

  static bool Cheaper(const Found& a, const Found& b) {
    auto cost = [](const Found& one) {
      return std::tuple(!one.to.has_value(), one.claim->devices.size(), one.claim->spec.memory_bytes);
    };
    return cost(a) < cost(b);
  }

  // The cheapest instance of the first host where one is enough; looks on while none has another place.
  void MoveInstance(Changes& out) {
    tries_ = 0;
    std::optional<Found> best;
    std::vector<uint32_t> order = Nearest(hosts_, reasons_, false);
    size_t tried = 0;
    for (; tried < order.size() && tries_ < options_.max_tries; ++tried) {
      if (auto found = TryMoves(order[tried]); found && (!best || Cheaper(*found, *best))) best = found;
      if (best && best->to) break;
    }
    if (!best || !best->to)
      out.hosts_not_tried = static_cast<uint32_t>(order.size() - std::min(order.size(), tried));
    if (!best) return;
    Change change;
    change.kind = ChangeKind::kMoveInstance;
    change.subject = best->claim->name;
    change.from = change.host = hosts_[best->host].report->name;
    change.hosts = 1;
    if (best->to) {
      change.to = hosts_[*best->to].report->name;
      change.text = "if " + change.subject + " moved from " + change.from + " to " + change.to;
    } else {
      change.text = "if " + change.subject + " on " + change.from + " were deleted (no other host takes it)";
    }
    change.text += ": it fits on " + change.host;
    out.changes.push_back(std::move(change));
  }

  std::optional<Found> TryMoves(uint32_t number) {
    const KnownHost& host = hosts_[number];
    std::optional<Found> best;
    if (!FitsWith(host, {})) return best;  // not even empty
    for (const auto& [consumer, claim] : *host.claims) {
      if (!IsMovable(*claim)) continue;
      Found found{number, claim.get(), std::nullopt};
      if (best && best->to && !Cheaper({number, claim.get(), 0}, *best)) continue;
      placement::HostUsage usage = *host.usage;
      placement::RemoveClaim(*claim, usage);
      if (!FitsWith(host, usage)) continue;
      found.to = Destination(number, *claim);
      if (!best || Cheaper(found, *best)) best = found;
    }
    return best;
  }

  std::optional<uint32_t> Destination(uint32_t from, const placement::Claim& claim) const {
    RequestSpec spec = RequestOfClaim(claim, *hosts_[from].report, flavors_(claim.spec.flavor));
    RequestPlan plan(spec, *hosts_.front().fit->types);
    for (uint32_t i = 0; i < hosts_.size(); ++i) {
      if (i != from && FitByCounts(*hosts_[i].fit, plan).verdict == Verdict::kFits) return i;
    }
    return std::nullopt;
  }

  const KnownHosts& hosts_;
  const RequestSpec& spec_;
  const Reasons& reasons_;
  const FlavorSpecs& flavors_;
  const ChangeOptions& options_;
  RequestPlan plan_;
  uint32_t tries_ = 0;
};

}  // namespace

void ChangesOfHosts(const KnownHosts& hosts, const RequestSpec& spec, const Reasons& reasons,
                    const FlavorSpecs& flavors, const ChangeOptions& options, Changes& out) {
  HostChanges(hosts, spec, reasons, flavors, options).Run(out);
}

}  // namespace berth::scheduler
