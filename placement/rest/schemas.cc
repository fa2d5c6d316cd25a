#include "placement/rest/schemas.h"

#include "placement/rest/patterns.h"

namespace berth::placement::rest {
namespace {

constexpr double kMaxInt = 2147483647;     // placement/model/inventory.h
constexpr double kMaxRatio = 3.40282e+38;  // of a single-precision number

Schema ProviderSchema(bool with_uuid, bool with_parent) {
  Schema schema = Schema::Object().Property("name", Schema::String().MaxLength(200));
  if (with_uuid) schema = std::move(schema).Property("uuid", Schema::String().UuidFormat());
  if (with_parent) {
    schema = std::move(schema).Property("parent_provider_uuid",
                                        Schema::AnyOf({Schema::String().UuidFormat(), Schema::Null()}));
  }
  return std::move(schema).Required({"name"}).NoOthers();
}

Schema Amount(double minimum) {
  return Schema::Integer().Maximum(kMaxInt).Minimum(minimum);
}

Schema OneInventory(std::vector<std::string> required, bool with_class) {
  Schema schema = Schema::Object()
                      .Property("resource_provider_generation", Schema::Integer())
                      .Property("total", Amount(1))
                      .Property("reserved", Amount(0))
                      .Property("min_unit", Amount(1))
                      .Property("max_unit", Amount(1))
                      .Property("step_size", Amount(1))
                      .Property("allocation_ratio", Schema::Number().Maximum(kMaxRatio));
  if (with_class) {
    schema = std::move(schema).Property("resource_class", Schema::String().Matches(ClassPattern()));
  }
  return std::move(schema).Required(std::move(required)).NoOthers();
}

Schema Inventories() {
  return Schema::Object()
      .Property("resource_provider_generation", Schema::Integer())
      .Property("inventories",
                Schema::Object().PatternProperty(ClassPattern(), OneInventory({"total"}, false)))
      .Required({"resource_provider_generation", "inventories"})
      .NoOthers();
}

Schema ProjectOrUser() {
  return Schema::String().MinLength(1).MaxLength(255);
}

Schema Resources() {
  return Schema::Object()
      .MinProperties(1)
      .PatternProperty(ClassPattern(), Schema::Integer().Minimum(1))
      .NoOthers();
}

// 1.0 to 1.11: a list.
Schema AllocationList(bool with_project) {
  Schema one =
      Schema::Object()
          .Property(
              "resource_provider",
              Schema::Object().Property("uuid", Schema::String().UuidFormat()).NoOthers().Required({"uuid"}))
          .Property("resources", Resources())
          .Required({"resource_provider", "resources"})
          .NoOthers();
  Schema list = Schema::Array(std::move(one)).MinItems(1);
  Schema schema = Schema::Object().Property("allocations", std::move(list));
  if (with_project) {
    schema = std::move(schema).Property("project_id", ProjectOrUser()).Property("user_id", ProjectOrUser());
  }
  schema = std::move(schema).Required({"allocations"});
  if (with_project) schema = std::move(schema).Required({"project_id", "user_id"});
  return std::move(schema).NoOthers();
}

bool IsMappingSuffix(std::string_view text) {
  // The pattern has no anchors: a suffix needs to have one such character somewhere.
  for (size_t i = 0; i < text.size(); ++i) {
    if (IsNamedSuffix(text.substr(i, 1))) return true;
  }
  return false;
}

// From 1.12 on: keyed by provider. `emptiable`: no allocations at all are allowed (1.28+, and POST).
Schema AllocationMap(int since, bool emptiable) {
  Schema one = Schema::Object()
                   .Property("generation", Schema::Integer())
                   .Property("resources", Resources())
                   .Required({"resources"})
                   .NoOthers();
  Schema schema = Schema::Object()
                      .Property("allocations", Schema::Object()
                                                   .MinProperties(emptiable ? 0 : 1)
                                                   .PatternProperty(UuidPattern(), std::move(one))
                                                   .NoOthers())
                      .Property("project_id", ProjectOrUser())
                      .Property("user_id", ProjectOrUser());
  if (since >= 28) {
    schema = std::move(schema).Property("consumer_generation", Schema::Type({"integer", "null"}));
  }
  if (since >= 34) {
    schema =
        std::move(schema).Property("mappings", Schema::Object().MinProperties(1).PatternProperty(
                                                   {"[a-zA-Z0-9_-]{1,64}", IsMappingSuffix},
                                                   Schema::Array(Schema::String().UuidFormat()).MinItems(1)));
  }
  if (since >= 38) {
    schema = std::move(schema).Property("consumer_type",
                                        Schema::String().Matches(ClassPattern()).MinLength(1).MaxLength(255));
  }
  schema = std::move(schema).NoOthers().Required({"allocations", "project_id", "user_id"});
  if (since >= 28) schema = std::move(schema).Required({"consumer_generation"});
  if (since >= 38) schema = std::move(schema).Required({"consumer_type"});
  return schema;
}

Schema ManyAllocations(int since, int64_t minimum) {
  return Schema::Object().MinProperties(minimum).NoOthers().PatternProperty(UuidPattern(),
                                                                            AllocationMap(since, true));
}

Schema Reshaper(int since) {
  return Schema::Object()
      .Property("inventories",
                Schema::Object().PatternProperty(UuidPattern(), Inventories()).MinProperties(1).NoOthers())
      .Property("allocations", ManyAllocations(since, 0))
      .Required({"inventories", "allocations"})
      .NoOthers();
}

}  // namespace

const Schema& CreateProviderSchema(Microversion version) {
  static const Schema kOld = ProviderSchema(true, false), kNested = ProviderSchema(true, true);
  return version.At(14) ? kNested : kOld;
}

const Schema& UpdateProviderSchema(Microversion version) {
  static const Schema kOld = ProviderSchema(false, false), kNested = ProviderSchema(false, true);
  return version.At(14) ? kNested : kOld;
}

const Schema& InventorySchema() {
  static const Schema kSchema = OneInventory({"total", "resource_provider_generation"}, false);
  return kSchema;
}

const Schema& NewInventorySchema() {
  static const Schema kSchema = OneInventory({"total", "resource_class"}, true);
  return kSchema;
}

const Schema& InventoriesSchema() {
  static const Schema kSchema = Inventories();
  return kSchema;
}

const Schema& ResourceClassSchema() {
  static const Schema kSchema =
      Schema::Object()
          .Property("name", Schema::String().Matches(CustomPattern()).MaxLength(255))
          .Required({"name"})
          .NoOthers();
  return kSchema;
}

const Schema& ProviderTraitsSchema() {
  static const Schema kSchema =
      Schema::Object()
          .Property("traits", Schema::Array(Schema::String().MinLength(1).MaxLength(255)))
          .Property("resource_provider_generation", Schema::Integer())
          .Required({"traits", "resource_provider_generation"})
          .NoOthers();
  return kSchema;
}

const Schema& AggregatesSchema(Microversion version) {
  static const Schema kList = Schema::Array(Schema::String().UuidFormat()).UniqueItems();
  static const Schema kWithGeneration = Schema::Object()
                                            .Property("aggregates", kList)
                                            .Property("resource_provider_generation", Schema::Integer())
                                            .Required({"aggregates", "resource_provider_generation"})
                                            .NoOthers();
  return version.At(19) ? kWithGeneration : kList;
}

const Schema& AllocationsSchema(Microversion version) {
  static const Schema kFirst = AllocationList(false), kV8 = AllocationList(true),
                      kV12 = AllocationMap(12, false), kV28 = AllocationMap(28, true),
                      kV34 = AllocationMap(34, true), kV38 = AllocationMap(38, true);
  return version.At(38)   ? kV38
         : version.At(34) ? kV34
         : version.At(28) ? kV28
         : version.At(12) ? kV12
         : version.At(8)  ? kV8
                          : kFirst;
}

const Schema& ManyAllocationsSchema(Microversion version) {
  static const Schema kV13 = ManyAllocations(13, 1), kV28 = ManyAllocations(28, 1),
                      kV34 = ManyAllocations(34, 1), kV38 = ManyAllocations(38, 1);
  return version.At(38) ? kV38 : version.At(34) ? kV34 : version.At(28) ? kV28 : kV13;
}

const Schema& ReshaperSchema(Microversion version) {
  static const Schema kV30 = Reshaper(28), kV34 = Reshaper(34), kV38 = Reshaper(38);
  return version.At(38) ? kV38 : version.At(34) ? kV34 : kV30;
}

}  // namespace berth::placement::rest
