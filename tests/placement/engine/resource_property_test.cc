#include <gtest/gtest.h>

#include <map>
#include <set>

#include "db/record_codec.h"
#include "placement/engine/engine.h"
#include "placement/engine/refusal.h"
#include "placement/model/projection.h"
#include "tests/placement/engine/naive_resources.h"
#include "tests/placement/model/random_claims.h"

// The Placement model, with hosts beside it, against a model of maps that knows the rules in their shortest
// form: which commands are taken and what is so afterwards. After every command: what is used is what
// consumers hold, exact claims are what allocations say, nothing is held twice, generations only grow.
namespace berth::placement {
namespace {

using namespace testing;  // NOLINT(google-build-using-namespace)

constexpr uint32_t kHistories = 12;
constexpr uint32_t kCommands = 1000;
constexpr uint8_t kProviders = 8;  // of clients: Id(200) and up
constexpr uint8_t kConsumers = 12;
constexpr uint8_t kHosts = 2;

class ResourceHistory {
 public:
  explicit ResourceHistory(uint32_t seed) : random_(seed), engine_(*Engine::Restore({})) {
    for (uint8_t host = 1; host <= kHosts; ++host) Prepare(ReportHost{MakeHost(host)});
    for (const char* name : {"CUSTOM_A", "CUSTOM_B"}) Prepare(CreateResourceClass{name});
    Prepare(CreateTrait{"CUSTOM_T"});
  }

  void Go() {
    for (uint32_t i = 0; i < kCommands && !::testing::Test::HasFatalFailure(); ++i) Step();
    if (::testing::Test::HasFatalFailure()) return;
    EndBatch(true);
    CheckReplay();
  }
  uint32_t accepted() const { return accepted_; }
  uint32_t refused() const { return refused_; }

 private:
  static constexpr const char* kClasses[] = {"VCPU", "MEMORY_MB", "CUSTOM_A", "CUSTOM_B"};

  Uuid RandomProvider() { return Id(static_cast<uint8_t>(200 + Pick(random_, kProviders))); }
  Uuid RandomConsumer() { return Id(static_cast<uint8_t>(100 + Pick(random_, kConsumers))); }
  // Where a client may hang a provider: below its own, or below a host's, some of which come and go.
  Uuid RandomParent() {
    if (Pick(random_, 3) != 0) return RandomProvider();
    Uuid host = Id(static_cast<uint8_t>(1 + Pick(random_, kHosts)));
    switch (Pick(random_, 3)) {
      case 0:
        return host;
      case 1:
        return CellProviderUuid(host, Pick(random_, 2));
      default:
        return DeviceProviderUuid(host, Pci(2));
    }
  }
  std::string RandomClass() { return kClasses[Pick(random_, 4)]; }
  // The provider's generation as a client knows it, sometimes an old one, sometimes none.
  std::optional<uint64_t> Seen(const Uuid& provider) {
    auto at = naive_.providers.find(provider);
    uint64_t generation = at == naive_.providers.end() ? 0 : at->second.generation;
    if (Pick(random_, 8) == 0) return generation + 1;
    return Pick(random_, 4) == 0 ? std::nullopt : std::optional(generation);
  }
  InventoryInput RandomInventory(const std::string& resource_class) {
    InventoryInput input;
    input.resource_class = resource_class;
    input.total = static_cast<int32_t>(1 + Pick(random_, 20));
    input.reserved = static_cast<int32_t>(Pick(random_, 4) == 0 ? Pick(random_, 22) : 0);
    constexpr double kRatios[] = {1.0, 1.0, 0.5, 1.5, 4.0};
    input.allocation_ratio = kRatios[Pick(random_, 5)];
    if (Pick(random_, 4) == 0) input.min_unit = static_cast<int32_t>(1 + Pick(random_, 3));
    if (Pick(random_, 4) == 0) input.max_unit = static_cast<int32_t>(3 + Pick(random_, 10));
    if (Pick(random_, 4) == 0) input.step_size = static_cast<int32_t>(1 + Pick(random_, 3));
    return input;
  }
  std::vector<InventoryInput> RandomInventories() {
    std::vector<InventoryInput> list;
    for (const char* name : kClasses) {
      if (Pick(random_, 2) == 0) list.push_back(RandomInventory(name));
    }
    return list;
  }
  // A place on a host's tree, as candidates would give it, or nonsense.
  AllocationInput RandomHostAllocation() {
    Uuid host = Id(static_cast<uint8_t>(1 + Pick(random_, kHosts)));
    switch (Pick(random_, 5)) {
      case 0:
        return {host, Pick(random_, 2) == 0 ? "VCPU" : "MEMORY_MB",
                static_cast<int32_t>(1 + Pick(random_, 4))};
      case 1:
        return {DeviceProviderUuid(host, Pci(2)), "CUSTOM_PCI_8086_1889",
                static_cast<int32_t>(1 + Pick(random_, 2))};
      case 2:
        return {DeviceProviderUuid(host, Pci(1)), "CUSTOM_PCI_8086_1592", 1};
      default: {
        constexpr const char* kCell[] = {"VCPU", "PCPU", "MEMORY_MB"};
        return {CellProviderUuid(host, Pick(random_, 2)), kCell[Pick(random_, 3)],
                static_cast<int32_t>(1 + Pick(random_, 4))};
      }
    }
  }
  ConsumerInput RandomInput(const Uuid& consumer) {
    ConsumerInput input;
    input.consumer = consumer;
    input.project = "project" + std::to_string(Pick(random_, 2));
    input.user = "user" + std::to_string(Pick(random_, 2));
    if (Pick(random_, 2) == 0) input.consumer_type = "INSTANCE";
    input.check_generation = Pick(random_, 8) != 0;
    auto known = naive_.consumers.find(consumer);
    if (known != naive_.consumers.end() && Pick(random_, 10) != 0)
      input.generation = known->second.generation;
    std::set<Key> named;
    for (uint32_t n = Pick(random_, 4); n > 0; --n) {
      AllocationInput allocation{RandomProvider(), RandomClass(), static_cast<int32_t>(1 + Pick(random_, 8))};
      if (Pick(random_, 3) == 0) allocation = RandomHostAllocation();
      if (named.insert({allocation.provider, allocation.resource_class}).second) {
        input.allocations.push_back(std::move(allocation));
      }
    }
    return input;
  }

  void Step() {
    Uuid provider = RandomProvider();
    switch (Pick(random_, 22)) {
      case 0:
      case 1: {
        CreateProvider create{provider, "name" + std::to_string(Pick(random_, 10)), {}};
        if (Pick(random_, 2) == 0) create.parent = RandomParent();
        return Run(create);
      }
      case 2: {
        UpdateProvider update{
            provider, "name" + std::to_string(Pick(random_, 10)), Pick(random_, 2) == 0, {}, true};
        if (Pick(random_, 3) != 0) update.parent = RandomParent();
        update.allow_reparenting = Pick(random_, 3) != 0;
        return Run(update);
      }
      case 3:
        return Run(DeleteProvider{provider});
      case 4:
      case 5:
      case 6:
        return Run(SetInventories{provider, Seen(provider), RandomInventories()});
      case 7:
        return Run(AddInventory{provider, RandomInventory(RandomClass())});
      case 8:
        return Run(UpdateInventory{provider, Seen(provider), RandomInventory(RandomClass())});
      case 9:
        return Pick(random_, 2) == 0 ? Run(RemoveInventory{provider, RandomClass()})
                                     : Run(RemoveInventories{provider});
      case 10: {
        SetTraits set{provider, Seen(provider), {}};
        for (const char* name : {"HW_CPU_X86_AVX", "CUSTOM_T", "MISC_SHARES_VIA_AGGREGATE"}) {
          if (Pick(random_, 2) == 0) set.traits.emplace_back(name);
        }
        return Run(set);
      }
      case 11: {
        SetAggregates set{provider, Seen(provider), {}, Pick(random_, 2) == 0};
        for (uint8_t n = 0; n < 3; ++n) {
          if (Pick(random_, 2) == 0) set.aggregates.push_back(Id(static_cast<uint8_t>(240 + n)));
        }
        return Run(set);
      }
      case 12:
        return Run(DeleteAllocations{RandomConsumer()});
      case 13: {
        SetAllocations many{{}, true};
        std::set<Uuid> named;
        for (uint32_t n = 1 + Pick(random_, 3); n > 0; --n) named.insert(RandomConsumer());
        for (const Uuid& consumer : named) many.consumers.push_back(RandomInput(consumer));
        return Run(many);
      }
      case 14:
        return RunReshape();
      case 15: {
        HostReport report = MakeHost(static_cast<uint8_t>(1 + Pick(random_, kHosts)));
        if (Pick(random_, 2) == 0) report.devices.resize(Pick(random_, 4));
        if (Pick(random_, 3) == 0) report.cells[1].dedicated_cpus = {};
        return Run(ReportHost{std::move(report)});
      }
      case 16: {
        auto number = static_cast<uint8_t>(Pick(random_, 4));
        if (Pick(random_, 3) == 0) return Run(ReleaseClaim{"vm" + std::to_string(40 + number)});
        if (Pick(random_, 2) == 0) return Run(FinalizeClaim{Id(static_cast<uint8_t>(140 + number))});
        Claim claim = RandomClaim(random_, static_cast<uint8_t>(40 + number));
        claim.host = Id(static_cast<uint8_t>(1 + Pick(random_, kHosts)));
        return Run(CreateClaim{std::move(claim), {}});
      }
      default:
        return Run(SetAllocations{{RandomInput(RandomConsumer())}, false});
    }
  }

  void RunReshape() {
    Reshape reshape;
    std::set<Uuid> providers;
    for (uint32_t n = Pick(random_, 3); n > 0; --n) providers.insert(RandomProvider());
    for (const Uuid& provider : providers) {
      reshape.providers.push_back({provider, Seen(provider).value_or(0), RandomInventories()});
    }
    std::set<Uuid> consumers;
    for (uint32_t n = Pick(random_, 3); n > 0; --n) consumers.insert(RandomConsumer());
    for (const Uuid& consumer : consumers) reshape.consumers.push_back(RandomInput(consumer));
    Run(std::move(reshape));
  }

  // What is there for good.
  template <class Body>
  void Prepare(Body body) {
    log_.push_back({.at_ms = ++now_, .body = std::move(body)});
    EXPECT_TRUE(engine_->Apply(log_.back()).has_value());
    engine_->Commit();
  }

  template <class Body>
  void Run(Body body) {
    Naive expected = naive_;
    std::optional<bool> verdict = Expect(body, expected);
    Command command{.at_ms = ++now_, .actor = "property", .body = std::move(body)};
    const std::string before = Pick(random_, 16) == 0 ? db::EncodeContents(engine_->Export()) : "";
    Result<Outcome> outcome = engine_->Apply(command);
    outcome ? ++accepted_ : ++refused_;
    if (verdict) {
      ASSERT_EQ(outcome.has_value(), *verdict)
          << outcome.status().ToString() << " command " << command.body.index();
    }
    if (outcome) {
      naive_ = std::move(expected);
    } else if (!before.empty()) {
      ASSERT_EQ(db::EncodeContents(engine_->Export()), before);  // no trace
    }
    draft_.push_back(std::move(command));
    Check();
    if (Pick(random_, 3) == 0) EndBatch(false);
  }

  // --- the rules in short: true or false, or empty where only the engine knows (hosts) ---
  template <class Body>
  std::optional<bool> Expect(const Body&, Naive&) const {
    return std::nullopt;
  }
  // Which providers hosts have the engine must know.
  bool IsParent(const Naive& n, const Uuid& parent) const {
    return n.providers.contains(parent) || (!IsClients(parent) && engine_->resources().FindProvider(parent));
  }
  std::optional<bool> Expect(const CreateProvider& c, Naive& n) const {
    if (n.providers.contains(c.uuid) || n.HasName(c.name, {})) return false;
    if (c.parent && !IsParent(n, *c.parent)) return false;
    n.providers[c.uuid] = {c.name, c.parent.value_or(Uuid{}), 0, {}, {}, {}};
    return true;
  }
  std::optional<bool> Expect(const UpdateProvider& c, Naive& n) const {
    auto at = n.providers.find(c.uuid);
    if (at == n.providers.end() || n.HasName(c.name, c.uuid)) return false;
    if (c.set_parent) {
      Uuid parent = c.parent.value_or(Uuid{});
      if (!parent.is_nil() && (!IsParent(n, parent) || n.Below(parent, c.uuid))) return false;
      bool had = !at->second.parent.is_nil();
      if (had && at->second.parent != parent && !c.allow_reparenting) return false;
      at->second.parent = parent;
    }
    at->second.name = c.name;
    return true;
  }
  std::optional<bool> Expect(const DeleteProvider& c, Naive& n) const {
    if (!n.providers.contains(c.uuid)) return false;
    for (const auto& [uuid, provider] : n.providers) {
      if (provider.parent == c.uuid) return false;
    }
    for (const char* name : kClasses) {
      if (n.Used({c.uuid, name}) > 0) return false;
    }
    n.providers.erase(c.uuid);
    return true;
  }
  static bool Capacity(const InventoryInput& input) {
    return static_cast<int64_t>((input.total - input.reserved) * input.allocation_ratio) >= 0;
  }
  static bool Replace(Naive& n, const Uuid& provider,
                      const std::map<std::string, InventoryInput>& inventories) {
    for (const auto& [name, input] : n.providers[provider].inventories) {
      if (!inventories.contains(name) && n.Used({provider, name}) > 0) return false;
    }
    n.providers[provider].inventories = inventories;
    ++n.providers[provider].generation;
    return true;
  }
  static bool Current(const Naive& n, const Uuid& provider, std::optional<uint64_t> generation) {
    auto at = n.providers.find(provider);
    return at != n.providers.end() && (!generation || *generation == at->second.generation);
  }
  std::optional<bool> Expect(const SetInventories& c, Naive& n) const {
    if (!Current(n, c.provider, c.generation)) return false;
    std::map<std::string, InventoryInput> inventories;
    for (const InventoryInput& input : c.inventories) {
      if (!Capacity(input)) return false;
      inventories[input.resource_class] = input;
    }
    return Replace(n, c.provider, inventories);
  }
  std::optional<bool> Expect(const AddInventory& c, Naive& n) const {
    if (!Current(n, c.provider, {}) || !Capacity(c.inventory)) return false;
    auto inventories = n.providers[c.provider].inventories;
    return inventories.emplace(c.inventory.resource_class, c.inventory).second &&
           Replace(n, c.provider, inventories);
  }
  std::optional<bool> Expect(const UpdateInventory& c, Naive& n) const {
    if (!Current(n, c.provider, c.generation) || !Capacity(c.inventory)) return false;
    auto inventories = n.providers[c.provider].inventories;
    if (!inventories.contains(c.inventory.resource_class)) return false;
    inventories[c.inventory.resource_class] = c.inventory;
    return Replace(n, c.provider, inventories);
  }
  std::optional<bool> Expect(const RemoveInventory& c, Naive& n) const {
    if (!Current(n, c.provider, {})) return false;
    auto inventories = n.providers[c.provider].inventories;
    return inventories.erase(c.resource_class) == 1 && Replace(n, c.provider, inventories);
  }
  std::optional<bool> Expect(const RemoveInventories& c, Naive& n) const {
    return Current(n, c.provider, {}) && Replace(n, c.provider, {});
  }
  std::optional<bool> Expect(const SetTraits& c, Naive& n) const {
    if (!Current(n, c.provider, c.generation)) return false;
    std::set<std::string> traits(c.traits.begin(), c.traits.end());
    NaiveProvider& provider = n.providers[c.provider];
    if (traits != provider.traits) ++provider.generation;
    provider.traits = std::move(traits);
    return true;
  }
  std::optional<bool> Expect(const SetAggregates& c, Naive& n) const {
    if (!Current(n, c.provider, c.generation)) return false;
    NaiveProvider& provider = n.providers[c.provider];
    provider.aggregates = {c.aggregates.begin(), c.aggregates.end()};
    if (c.raise_generation) ++provider.generation;
    return true;
  }
  std::optional<bool> Expect(const DeleteAllocations& c, Naive& n) const {
    return n.consumers.erase(c.consumer) == 1;
  }
  std::optional<bool> Expect(const SetAllocations& c, Naive& n) const { return Write(c.consumers, n); }
  std::optional<bool> Expect(const Reshape& c, Naive& n) const {
    for (const auto& item : c.providers) {
      if (!Current(n, item.provider, item.generation)) return false;
    }
    for (const auto& item : c.providers) {
      if (item.inventories.empty()) continue;
      auto all = n.providers[item.provider].inventories;
      for (const InventoryInput& input : item.inventories) all[input.resource_class] = input;
      if (!Replace(n, item.provider, all)) return false;
    }
    std::optional<bool> written = Write(c.consumers, n);
    if (written == false) return false;
    for (const auto& item : c.providers) {
      std::map<std::string, InventoryInput> wanted;
      for (const InventoryInput& input : item.inventories) wanted[input.resource_class] = input;
      if (!Replace(n, item.provider, wanted)) return false;
    }
    return written;
  }
  // Empty if all that the model can see is in order but something lies on a host.
  static std::optional<bool> Write(const std::vector<ConsumerInput>& inputs, Naive& n) {
    const Naive before = n;
    std::set<Uuid> named;
    std::set<Uuid> touched;
    bool hosts = false;
    for (const ConsumerInput& input : inputs) {
      named.insert(input.consumer);
      auto known = n.consumers.find(input.consumer);
      std::optional<uint64_t> now;
      if (known != n.consumers.end()) now = known->second.generation;
      if (input.check_generation && now != input.generation) return false;
    }
    for (const ConsumerInput& input : inputs) {
      NaiveConsumer next{n.consumers[input.consumer].generation + 1, {}};
      if (input.allocations.empty()) {
        for (const auto& [key, amount] : n.consumers[input.consumer].allocations) touched.insert(key.first);
      }
      for (const AllocationInput& allocation : input.allocations) {
        bool host = !IsClients(allocation.provider);
        hosts = hosts || host;
        if (!host && !n.providers.contains(allocation.provider)) return false;
        next.allocations[{allocation.provider, allocation.resource_class}] = allocation.amount;
        touched.insert(allocation.provider);
      }
      n.consumers[input.consumer] = std::move(next);
    }
    for (const ConsumerInput& input : inputs) {
      for (const AllocationInput& allocation : input.allocations) {
        if (!IsClients(allocation.provider)) continue;
        const Key key{allocation.provider, allocation.resource_class};
        const auto& inventories = n.providers[allocation.provider].inventories;
        auto at = inventories.find(allocation.resource_class);
        if (at == inventories.end()) return false;
        const InventoryInput& i = at->second;
        bool unit = allocation.amount >= i.min_unit && allocation.amount <= i.max_unit &&
                    allocation.amount % i.step_size == 0;
        int64_t used = n.Used(key);
        bool room = static_cast<double>(used) <= (i.total - i.reserved) * i.allocation_ratio ||
                    used <= before.Used(key);
        if (!unit || !room) return false;
      }
    }
    std::erase_if(n.consumers, [](const auto& entry) { return entry.second.allocations.empty(); });
    for (const Uuid& provider : touched) {
      if (n.providers.contains(provider)) ++n.providers[provider].generation;
    }
    return hosts ? std::nullopt : std::optional(true);
  }
  static bool IsClients(const Uuid& provider) {
    for (uint8_t n = 0; n < kProviders; ++n) {
      if (provider == Id(static_cast<uint8_t>(200 + n))) return true;
    }
    return false;
  }

  // --- what must be so ---
  void Check() {
    const ResourceView& view = engine_->resources();
    std::map<Key, int64_t> used;
    size_t allocations = 0;
    std::map<Uuid, NaiveConsumer> consumers;
    view.ForEachConsumer([&](const auto& consumer) {
      for (const Allocation& a : consumer->allocations) {
        Key key{a.provider, view.resource_classes().name(a.resource_class)};
        used[key] += a.amount;
        ++allocations;
        if (!consumer->is_instance) consumers[consumer->uuid].allocations[key] = a.amount;
      }
      if (!consumer->is_instance) consumers[consumer->uuid].generation = consumer->generation;
    });
    ASSERT_EQ(allocations, view.allocation_count());
    ASSERT_EQ(consumers.size(), naive_.consumers.size());
    for (const auto& [uuid, consumer] : consumers) {
      ASSERT_EQ(consumer.generation, naive_.consumers[uuid].generation);
      ASSERT_EQ(consumer.allocations, naive_.consumers[uuid].allocations);
    }
    size_t clients = 0;
    for (TreeSlot slot = 0; slot < view.slots(); ++slot) {
      if (view.tree(slot)) clients += CheckTree(view, *view.tree(slot), slot, used);
      if (::testing::Test::HasFatalFailure()) return;
    }
    ASSERT_EQ(clients, naive_.providers.size());
    for (const auto& [key, amount] : used) ASSERT_EQ(amount, 0) << "held of nobody";
    CheckHosts(view);
  }

  size_t CheckTree(const ResourceView& view, const ProviderTree& tree, TreeSlot slot,
                   std::map<Key, int64_t>& used) {
    size_t clients = 0;
    for (uint32_t i = 0; i < tree.size(); ++i) {
      EXPECT_EQ(view.FindProvider(tree.uuid(i)).index, i);
      EXPECT_EQ(view.FindProvider(tree.name(i)).slot, slot);
      for (size_t k = 0; k < tree.inventories(i).size(); ++k) {
        const Inventory& inventory = tree.inventories(i)[k];
        Key key{tree.uuid(i), view.resource_classes().name(inventory.resource_class)};
        EXPECT_EQ(tree.used(i)[k], used[key]);
        used[key] = 0;
        EXPECT_TRUE(view.TreesWith(inventory.resource_class).Has(slot));
        // A host's exact rules are stricter than its sums, but for what it keeps.
        if (tree.owner(i) == TreeOwner::kAgent && inventory.reserved == 0) {
          EXPECT_LE(static_cast<double>(tree.used(i)[k]), inventory.Capacity())
              << key.second << " " << tree.name(i);
        }
      }
      for (TraitId id : tree.traits(i)) EXPECT_TRUE(view.TreesWith(id).Has(slot));
      for (AggregateId id : tree.aggregates(i)) EXPECT_TRUE(view.TreesIn(id).Has(slot));
      if (draft_.empty()) {  // a draft may be taken back
        uint64_t& generation = generations_[tree.uuid(i)];
        if (tree.created_at_ms(i) == created_[tree.uuid(i)]) {
          EXPECT_GE(tree.generation(i), generation);
        }
        generation = tree.generation(i);
        created_[tree.uuid(i)] = tree.created_at_ms(i);
      }
      if (tree.owner(i) != TreeOwner::kClients) continue;
      CheckClients(view, tree, i);
      ++clients;
    }
    return clients;
  }

  void CheckClients(const ResourceView& view, const ProviderTree& tree, uint32_t i) {
    auto known = naive_.providers.find(tree.uuid(i));
    ASSERT_NE(known, naive_.providers.end());
    NaiveProvider& naive = known->second;
    // A host that has lost a guest's parent takes it below its root.
    if (tree.owner() == TreeOwner::kAgent && tree.FindProvider(naive.parent) == ProviderTree::kNone) {
      ASSERT_FALSE(IsClients(naive.parent));
      naive.parent = tree.uuid(0);
    }
    ASSERT_EQ(tree.name(i), naive.name);
    ASSERT_EQ(i == 0 ? Uuid{} : tree.uuid(tree.parent(i)), naive.parent);
    ASSERT_EQ(tree.generation(i), naive.generation);
    ASSERT_EQ(tree.inventories(i).size(), naive.inventories.size());
    for (const Inventory& inventory : tree.inventories(i)) {
      auto at = naive.inventories.find(view.resource_classes().name(inventory.resource_class));
      ASSERT_NE(at, naive.inventories.end());
      ASSERT_EQ(inventory.total, at->second.total);
    }
    std::set<std::string> traits;
    for (TraitId id : tree.traits(i)) traits.insert(view.traits().name(id));
    ASSERT_EQ(traits, naive.traits);
    std::set<Uuid> aggregates;
    for (AggregateId id : tree.aggregates(i)) aggregates.insert(view.aggregates().name(id));
    ASSERT_EQ(aggregates, naive.aggregates);
  }

  static bool OnHost(const ResourceView& view, const Uuid& provider) {
    ProviderRef at = view.FindProvider(provider);
    return at.tree->owner(at.index) == TreeOwner::kAgent;
  }
  // Exact claims and allocations say the same.
  void CheckHosts(const ResourceView& view) {
    size_t claims = 0;
    size_t held = 0;
    for (const auto& host : engine_->Hosts()) {
      HostUsage fresh;
      std::map<PciAddress, int> devices;
      for (const auto& claim : host->claims) {
        ++claims;
        AddClaim(*claim, fresh);
        for (const DeviceBinding& device : claim->devices) ASSERT_EQ(++devices[device.address], 1);
        auto consumer = view.FindConsumer(claim->consumer);
        ASSERT_NE(consumer, nullptr);
        ASSERT_EQ(consumer->is_instance, !claim->external);
        std::map<Key, int64_t> allocated;
        for (const Allocation& a : consumer->allocations) {
          if (!OnHost(view, a.provider)) continue;
          allocated[{a.provider, view.resource_classes().name(a.resource_class)}] = a.amount;
        }
        std::map<Key, int64_t> projected;
        for (const auto& p : ProjectClaim(*host->report, *claim))
          projected[{p.provider, p.resource_class}] = p.amount;
        ASSERT_EQ(allocated, projected);
      }
      ASSERT_EQ(fresh, host->usage);
    }
    view.ForEachConsumer([&](const auto& consumer) {
      bool on_host = false;
      for (const Allocation& a : consumer->allocations) {
        on_host = on_host || OnHost(view, a.provider);
      }
      held += on_host ? 1 : 0;
    });
    ASSERT_EQ(held, claims);
  }

  void EndBatch(bool keep) {
    if (!keep && Pick(random_, 8) == 0) {
      engine_->Rollback();
      naive_ = durable_;
    } else {
      engine_->Commit();
      durable_ = naive_;
      log_.insert(log_.end(), draft_.begin(), draft_.end());
    }
    draft_.clear();
    Check();
  }

  void CheckReplay() {
    auto again = *Engine::Restore({});
    for (const Command& command : log_) {
      (void)again->Apply(command);
      again->Commit();
    }
    const std::string expected = db::EncodeContents(engine_->Export());
    ASSERT_EQ(db::EncodeContents(again->Export()), expected);
    auto restored = Engine::Restore(engine_->Export());
    ASSERT_TRUE(restored.has_value()) << restored.status().ToString();
    ASSERT_EQ(db::EncodeContents((*restored)->Export()), expected);
  }

  Random random_;
  std::unique_ptr<Engine> engine_;
  uint64_t now_ = 1000;
  Naive naive_;
  Naive durable_;
  std::map<Uuid, uint64_t> generations_;
  std::map<Uuid, uint64_t> created_;
  std::vector<Command> draft_;
  std::vector<Command> log_;
  uint32_t accepted_ = 0;
  uint32_t refused_ = 0;
};

TEST(ResourceProperty, FollowsTheRulesInShort) {
  uint32_t accepted = 0;
  uint32_t refused = 0;
  // More by hand: BERTH_PROPERTY_HISTORIES=1000.
  const char* wanted = std::getenv("BERTH_PROPERTY_HISTORIES");
  const uint32_t histories = wanted == nullptr ? kHistories : static_cast<uint32_t>(std::atoi(wanted));
  for (uint32_t seed = 1; seed <= histories; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    ResourceHistory history(seed);
    history.Go();
    if (HasFatalFailure()) return;
    accepted += history.accepted();
    refused += history.refused();
  }
  EXPECT_GT(accepted, histories * 200);
  EXPECT_GT(refused, histories * 200);
}

}  // namespace
}  // namespace berth::placement
