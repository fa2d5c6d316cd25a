// Bytes as commands of the Placement model beside a host's: the engine takes or refuses each, and what it
// then has agrees with itself, restores, and is the same.
#include "common/status.h"
#include "db/record_codec.h"
#include "placement/engine/engine.h"
#include "placement/engine/state_audit.h"
#include "placement/model/projection.h"
#include "tests/placement/model/model_builders.h"

namespace {

using namespace berth;             // NOLINT(google-build-using-namespace)
using namespace berth::placement;  // NOLINT(google-build-using-namespace)

class CommandReader {
 public:
  CommandReader(const uint8_t* data, size_t size) : data_(data), size_(size) {}

  bool empty() const { return at_ >= size_; }
  uint8_t Byte() { return empty() ? uint8_t{0} : data_[at_++]; }

  decltype(Command::body) Next() {
    const Uuid provider = Provider();
    switch (Byte() % 16) {
      case 0: {
        CreateProvider create{provider, Name(), {}};
        if (Byte() % 2 == 0) create.parent = Provider();
        return create;
      }
      case 1: {
        UpdateProvider update{provider, Name(), Byte() % 2 == 0, {}, Byte() % 2 == 0};
        if (Byte() % 2 == 0) update.parent = Provider();
        return update;
      }
      case 2:
        return DeleteProvider{provider};
      case 3: {
        SetInventories set{provider, Generation(), {}};
        for (int n = Byte() % 4; n > 0; --n) set.inventories.push_back(Stock(static_cast<uint8_t>(n)));
        return set;
      }
      case 4:
        return AddInventory{provider, Stock(Byte())};
      case 5:
        return UpdateInventory{provider, Generation(), Stock(Byte())};
      case 6:
        return RemoveInventory{provider, Class(Byte())};
      case 7:
        return RemoveInventories{provider};
      case 8:
        return CreateResourceClass{Class(Byte()), Byte() % 2 == 0};
      case 9:
        return RenameResourceClass{Class(Byte()), Class(Byte())};
      case 10:
        return DeleteResourceClass{Class(Byte())};
      case 11:
        return SetTraits{provider, Generation(), {Byte() % 2 == 0 ? "HW_NUMA_ROOT" : "CUSTOM_NONE"}};
      case 12:
        return SetAggregates{provider, Generation(), {Consumer()}, Byte() % 2 == 0};
      case 13:
        return DeleteAllocations{Consumer()};
      case 14: {
        Reshape reshape;
        reshape.providers.push_back({provider, Byte() % uint64_t{8}, {Stock(Byte())}});
        reshape.consumers.push_back(Input());
        return reshape;
      }
      default: {
        SetAllocations set{{}, Byte() % 2 == 0};
        for (int n = 1 + Byte() % 2; n > 0; --n) set.consumers.push_back(Input());
        return set;
      }
    }
  }

 private:
  Uuid Provider() {
    const uint8_t byte = Byte();
    if (byte >= 250) return testing::Id(1);
    if (byte >= 240) return CellProviderUuid(testing::Id(1), byte % 2);
    if (byte >= 230) return DeviceProviderUuid(testing::Id(1), testing::Pci(2));
    return testing::Id(static_cast<uint8_t>(200 + byte % 5));
  }
  Uuid Consumer() { return testing::Id(static_cast<uint8_t>(100 + Byte() % 5)); }
  std::string Name() { return "name" + std::to_string(Byte() % 6); }
  static std::string Class(uint8_t byte) {
    constexpr const char* kNames[] = {"VCPU",     "PCPU",     "MEMORY_MB",
                                      "CUSTOM_A", "CUSTOM_B", "CUSTOM_PCI_8086_1889"};
    return kNames[byte % 6];
  }
  std::optional<uint64_t> Generation() {
    const uint8_t byte = Byte();
    return byte % 2 == 0 ? std::nullopt : std::optional<uint64_t>(byte / 2 % 8);
  }
  int32_t Amount() {
    const uint8_t byte = Byte();
    return byte >= 240 ? kMaxAmount - byte % 3 : 1 + byte % 20;
  }
  InventoryInput Stock(uint8_t which) {
    InventoryInput input;
    input.resource_class = Class(which);
    input.total = Amount();
    input.reserved = Byte() % 4 == 0 ? Amount() : 0;
    input.max_unit = Amount();
    input.step_size = 1 + Byte() % 3;
    input.allocation_ratio = Byte() / 16.0;
    return input;
  }
  ConsumerInput Input() {
    ConsumerInput input;
    input.consumer = Consumer();
    input.check_generation = Byte() % 4 == 0;
    input.generation = Generation();
    for (int n = Byte() % 4; n > 0; --n) input.allocations.push_back({Provider(), Class(Byte()), Amount()});
    return input;
  }

  const uint8_t* data_;
  size_t size_;
  size_t at_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto engine = *Engine::Restore({});
  CHECK(engine->Apply({.at_ms = 1, .body = ReportHost{testing::MakeHost()}}).has_value());
  engine->Commit();
  CommandReader reader(data, std::min<size_t>(size, 4096));
  for (uint64_t step = 2; !reader.empty(); ++step) {
    (void)engine->Apply({.at_ms = step, .body = reader.Next()});
    if (step % 5 == 0) {
      engine->Rollback();
    } else if (step % 2 == 0) {
      engine->Commit();
    }
  }
  engine->Commit();
  db::Contents contents = engine->Export();
  auto restored = Engine::Restore(contents);
  CHECK(restored.has_value());
  for (const AuditFinding& finding : AuditState(**restored, contents)) CHECK(!finding.error);
  CHECK(db::EncodeContents((*restored)->Export()) == db::EncodeContents(contents));
  return 0;
}
