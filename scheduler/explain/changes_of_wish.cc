#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "scheduler/explain/changes.h"
#include "scheduler/fit/fit.h"

namespace berth::scheduler {
namespace {

constexpr std::string_view kPolicySpec = "hw:pci_numa_affinity_policy";
constexpr std::string_view kPolicyProperty = "hw_pci_numa_affinity_policy";

// Extra specs that can be left out, each with its image property and what falls with it.
struct Setting {
  std::string_view spec;
  std::string_view property;
  std::vector<std::string_view> with;
};

const std::vector<Setting>& Settings() {
  static const std::vector<Setting> settings = {
      {"trait:HW_CPU_HYPERTHREADING", "", {}},
      {"hw:cpu_thread_policy", "hw_cpu_thread_policy", {}},
      {"hw:emulator_threads_policy", "", {}},
      {"group_policy", "", {}},
      {"berth:same_domain", "", {}},
      {"hw:mem_page_size", "hw_mem_page_size", {}},
      {"hw:cpu_policy",
       "hw_cpu_policy",
       {"hw:cpu_thread_policy", "hw_cpu_thread_policy", "hw:cpu_dedicated_mask",
        "hw:emulator_threads_policy"}},
      {"resources:PCPU", "", {"hw:cpu_thread_policy", "hw_cpu_thread_policy", "hw:emulator_threads_policy"}},
  };
  return settings;
}

const std::string* Find(const Properties& properties, std::string_view name) {
  auto it = properties.find(name);
  return it == properties.end() ? nullptr : &it->second;
}

void Erase(Properties& properties, std::string_view name) {
  if (auto it = properties.find(name); it != properties.end()) properties.erase(it);
}

int Looseness(AffinityPolicy policy) {
  switch (policy) {
    case AffinityPolicy::kRequired:
      return 0;
    case AffinityPolicy::kSocket:
    case AffinityPolicy::kLegacy:
      return 1;
    case AffinityPolicy::kPreferred:
      return 2;
  }
  return 2;
}

std::string Count(uint32_t hosts, const std::string& host) {
  if (hosts == 1) return "it fits on " + host;
  return "it fits on " + std::to_string(hosts) + " hosts, for example " + host;
}

class WishChanges {
 public:
  WishChanges(const KnownHosts& hosts, const Wish& wish, const RequestSpec& spec, const AliasTable& aliases)
      : hosts_(hosts), wish_(wish), spec_(spec), aliases_(aliases) {}

  std::vector<Change> Run() {
    RelaxPolicies();
    ChangeSettings();
    ChangeNodes();
    ShrinkDevices();
    ShrinkVcpus();
    ShrinkMemory();
    return std::move(out_);
  }

 private:
  std::optional<RequestSpec> Resolve(const Wish& wish) const {
    auto spec = ResolveRequest(wish.flavor, wish.image, wish.ports, aliases_);
    if (!spec.has_value()) return std::nullopt;
    return std::move(*spec);
  }

  // Whether some host takes it; for halving also if it is no valid wish, as too small ones may be. What comes
  // of that is tried again by Offer.
  bool FitsSomewhere(const Wish& wish) const {
    std::optional<RequestSpec> spec = Resolve(wish);
    if (!spec) return true;
    RequestPlan plan(*spec, *hosts_.front().fit->types);
    return std::any_of(hosts_.begin(), hosts_.end(), [&](const KnownHost& host) {
      return FitByCounts(*host.fit, plan).verdict == Verdict::kFits;
    });
  }

  // Adds the change if some host takes the wish that it leads to.
  bool Offer(const Wish& wish, Change change) {
    std::optional<RequestSpec> spec = Resolve(wish);
    if (!spec) return false;
    RequestPlan plan(*spec, *hosts_.front().fit->types);
    for (const KnownHost& host : hosts_) {
      if (FitByCounts(*host.fit, plan).verdict != Verdict::kFits) continue;
      if (change.hosts++ == 0) change.host = host.report->name;
    }
    if (change.hosts == 0) return false;
    change.text += ": " + Count(change.hosts, change.host);
    out_.push_back(std::move(change));
    return true;
  }

  void RelaxPolicies() {
    if (spec_.cells.empty() || spec_.pci.empty()) return;  // policies are without effect (R1)
    std::optional<AffinityPolicy> strictest;               // of the requests that the flavor's policy is for
    for (const PciRequest& request : spec_.pci) {
      bool own = !spec_.encrypted() && request.from_port && OwnPolicy(request.name);
      if (own) continue;
      if (!strictest || Looseness(request.policy) < Looseness(*strictest)) strictest = request.policy;
    }
    if (strictest) {
      RelaxOne(*strictest, std::string(kPolicySpec), [](Wish& wish, const char* level) {
        Erase(wish.image, kPolicyProperty);
        wish.flavor.extra_specs.insert_or_assign(std::string(kPolicySpec), level);
      });
    }
    for (size_t i = 0; i < wish_.ports.size() && !spec_.encrypted(); ++i) {
      auto policy = ParseAffinityPolicy(wish_.ports[i].numa_policy);
      if (!policy) continue;
      RelaxOne(*policy, "policy of port " + wish_.ports[i].id,
               [i](Wish& wish, const char* level) { wish.ports[i].numa_policy = level; });
    }
  }

  bool OwnPolicy(const std::string& port) const {
    return std::any_of(wish_.ports.begin(), wish_.ports.end(),
                       [&](const PortRequest& one) { return one.id == port && !one.numa_policy.empty(); });
  }

  // The first level that is enough.
  template <class Set>
  void RelaxOne(AffinityPolicy now, const std::string& subject, Set set) {
    for (AffinityPolicy level :
         {AffinityPolicy::kSocket, AffinityPolicy::kLegacy, AffinityPolicy::kPreferred}) {
      if (Looseness(level) <= Looseness(now)) continue;
      Wish wish = wish_;
      set(wish, AffinityPolicyName(level));
      Change change;
      change.kind = ChangeKind::kRelaxPolicy;
      change.subject = subject;
      change.from = AffinityPolicyName(now);
      change.to = AffinityPolicyName(level);
      change.text = "with " + subject + " " + change.to + " instead of " + change.from;
      if (Offer(wish, std::move(change))) return;
    }
  }

  void ChangeSettings() {
    for (const Setting& setting : Settings()) {
      const std::string* own = Find(wish_.flavor.extra_specs, setting.spec);
      const std::string* other = Find(wish_.image, setting.property);
      if (own == nullptr && other == nullptr) continue;
      Wish wish = wish_;
      Erase(wish.flavor.extra_specs, setting.spec);
      Erase(wish.image, setting.property);
      for (std::string_view name : setting.with) {
        Erase(wish.flavor.extra_specs, name);
        Erase(wish.image, name);
      }
      Change change;
      change.kind = ChangeKind::kChangeSetting;
      change.subject = own != nullptr ? setting.spec : setting.property;
      change.from = own != nullptr ? *own : *other;
      change.text = "without " + change.subject + "=" + change.from;
      Offer(wish, std::move(change));
    }
  }

  // More or fewer guest cells; the smallest difference that is enough.
  void ChangeNodes() {
    for (const auto& [name, value] : wish_.flavor.extra_specs) {
      if (name.starts_with("hw:numa_cpus.") || name.starts_with("hw:numa_mem.")) return;
    }
    auto now = static_cast<int>(spec_.cells.size());
    for (int step : {1, -1, 2, -2, 3, -3, 4, 6, 7}) {
      int nodes = now + step;
      if (now == 0 || nodes < 1) continue;
      Wish wish = wish_;
      Erase(wish.image, "hw_numa_nodes");
      wish.flavor.extra_specs.insert_or_assign("hw:numa_nodes", std::to_string(nodes));
      Change change;
      change.kind = ChangeKind::kChangeSetting;
      change.subject = "hw:numa_nodes";
      change.from = std::to_string(now);
      change.to = std::to_string(nodes);
      change.text = "with hw:numa_nodes=" + change.to + " instead of " + change.from;
      if (Offer(wish, std::move(change))) return;
    }
  }

  // The largest number below `now`, in steps, with which `at` makes a wish that fits. What is smaller fits
  // where more does, so halving finds it.
  template <class At>
  std::optional<uint64_t> Largest(uint64_t now, uint64_t step, At at) const {
    uint64_t good = 0;
    uint64_t bad = (now + step - 1) / step;
    while (bad - good > 1) {
      uint64_t middle = good + (bad - good) / 2;
      (FitsSomewhere(at(middle * step)) ? good : bad) = middle;
    }
    if (good == 0) return std::nullopt;
    return good * step;
  }

  void OfferShrink(const Wish& wish, const std::string& subject, uint64_t from, uint64_t to,
                   const std::string& what) {
    Change change;
    change.kind = ChangeKind::kShrink;
    change.subject = subject;
    change.from = std::to_string(from);
    change.to = std::to_string(to);
    change.text = "with " + what;
    Offer(wish, std::move(change));
  }

  void ShrinkDevices() {
    const std::string* text = Find(wish_.flavor.extra_specs, "pci_passthrough:alias");
    auto items = text == nullptr ? Result<AliasItems>(AliasItems()) : ParseAliasItems(*text);
    for (size_t i = 0; items.has_value() && i < items->size(); ++i) {
      uint64_t count = (*items)[i].second;
      auto at = [&](uint64_t fewer) { return WithDevices(*items, i, static_cast<uint32_t>(fewer)); };
      std::optional<uint64_t> fewer = Largest(count, 1, at);
      if (!fewer && FitsSomewhere(at(0))) fewer = 0;
      if (!fewer) continue;
      const std::string& name = (*items)[i].first;
      OfferShrink(
          at(*fewer), name, count, *fewer,
          std::to_string(*fewer) + " instead of " + std::to_string(count) + " devices of alias " + name);
    }
    for (size_t i = 0; i < wish_.ports.size(); ++i) {
      if (wish_.ports[i].vnic_type == "normal") continue;
      Wish wish = wish_;
      wish.ports.erase(wish.ports.begin() + static_cast<ptrdiff_t>(i));
      OfferShrink(wish, wish_.ports[i].id, 1, 0, "one port less, without " + wish_.ports[i].id);
    }
  }

  Wish WithDevices(const AliasItems& items, size_t which, uint32_t count) const {
    Wish wish = wish_;
    std::string text;
    for (size_t i = 0; i < items.size(); ++i) {
      uint32_t here = i == which ? count : items[i].second;
      if (here == 0) continue;
      text += (text.empty() ? "" : ",") + items[i].first + ":" + std::to_string(here);
    }
    if (text.empty()) {
      Erase(wish.flavor.extra_specs, "pci_passthrough:alias");
    } else {
      wish.flavor.extra_specs.insert_or_assign("pci_passthrough:alias", text);
    }
    return wish;
  }

  uint64_t Cells() const { return std::max<uint64_t>(1, spec_.cells.size()); }

  void ShrinkVcpus() {
    uint64_t now = wish_.flavor.vcpus;
    auto at = [&](uint64_t vcpus) {
      Wish wish = wish_;
      wish.flavor.vcpus = static_cast<uint32_t>(vcpus);
      uint64_t emulator = spec_.emulator_policy == EmulatorPolicy::kIsolate ? 1 : 0;
      for (auto [name, extra] :
           {std::pair("resources:PCPU", emulator), std::pair("resources:VCPU", uint64_t{0})}) {
        if (auto it = wish.flavor.extra_specs.find(name); it != wish.flavor.extra_specs.end())
          it->second = std::to_string(vcpus + extra);
      }
      return wish;
    };
    if (auto fewer = Largest(now, Cells(), at)) {
      OfferShrink(at(*fewer), "vcpus", now, *fewer,
                  std::to_string(*fewer) + " instead of " + std::to_string(now) + " vCPUs");
    }
  }

  void ShrinkMemory() {
    uint64_t now = wish_.flavor.memory_mib;
    using Kind = PageRequest::Kind;
    uint64_t page_mib = spec_.pages.kind == Kind::kExact                        ? spec_.pages.size_bytes >> 20
                        : spec_.pages.kind == Kind::kLarge || spec_.encrypted() ? 2
                                                                                : 1;
    auto at = [&](uint64_t memory) {
      Wish wish = wish_;
      wish.flavor.memory_mib = memory;
      return wish;
    };
    if (auto less = Largest(now, Cells() * std::max<uint64_t>(1, page_mib), at)) {
      OfferShrink(at(*less), "memory_mib", now, *less,
                  std::to_string(*less) + " instead of " + std::to_string(now) + " MiB of memory");
    }
  }

  const KnownHosts& hosts_;
  const Wish& wish_;
  const RequestSpec& spec_;
  const AliasTable& aliases_;
  std::vector<Change> out_;
};

}  // namespace

std::vector<Change> ChangesOfWish(const KnownHosts& hosts, const Wish& wish, const RequestSpec& spec,
                                  const AliasTable& aliases) {
  return WishChanges(hosts, wish, spec, aliases).Run();
}

}  // namespace berth::scheduler
