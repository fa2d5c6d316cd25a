#include "placement/store/store_file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <sstream>

#include "db/record_codec.h"
#include "placement/engine/engine.h"
#include "placement/engine/state_audit.h"
#include "placement/store/db_command.h"
#include "placement/store/open_store.h"
#include "tests/fakes/temp_folder.h"
#include "tests/placement/model/model_builders.h"

namespace berth::placement {
namespace {

using namespace testing;  // NOLINT(google-build-using-namespace)

// A bit of everything.
std::unique_ptr<Engine> MakeState() {
  auto engine = *Engine::Restore({});
  uint64_t now = 100;
  auto apply = [&](auto body) {
    auto outcome = engine->Apply({.at_ms = ++now, .actor = "test", .body = std::move(body)});
    EXPECT_TRUE(outcome.has_value()) << outcome.status().ToString();
    engine->Commit();
  };
  apply(ReportHost{MakeHost()});
  apply(CreateClaim{FloatingClaim(1, 2, 64), {}});
  apply(CreateProvider{Id(20), "pool", {}});
  apply(CreateTrait{"CUSTOM_T"});
  apply(SetTraits{Id(20), {}, {"CUSTOM_T"}});
  apply(SetAggregates{Id(20), {}, {Id(40)}, true});
  InventoryInput disk;
  disk.resource_class = "DISK_GB";
  disk.total = 10;
  disk.allocation_ratio = 1.5;
  apply(SetInventories{Id(20), {}, {disk}});
  ConsumerInput input;
  input.consumer = Id(50);
  input.project = "p";
  input.user = "u";
  input.consumer_type = "INSTANCE";
  input.allocations = {{Id(20), "DISK_GB", 3}, {Id(1), "VCPU", 1}};
  apply(SetAllocations{{input}, false});
  return engine;
}

std::string Written(const db::Contents& contents) {
  std::ostringstream out;
  EXPECT_EQ(WriteStoreFile(contents, out), OkStatus());
  return out.str();
}

Result<db::Contents> Read(const std::string& text) {
  std::istringstream in(text);
  return ReadStoreFile(in);
}

TEST(StoreFile, ReadsWhatItWrites) {
  db::Contents contents = MakeState()->Export();

  Result<db::Contents> read = Read(Written(contents));

  ASSERT_TRUE(read.has_value()) << read.status().ToString();
  EXPECT_EQ(db::EncodeContents(*read), db::EncodeContents(contents));
}

// The API takes them, so that a copy of a store may have them.
TEST(StoreFile, ReadsEmptyNamesAndNegativeRatios) {
  auto engine = MakeState();
  InventoryInput disk;
  disk.resource_class = "DISK_GB";
  disk.total = 10;
  disk.reserved = 20;
  disk.allocation_ratio = -1;
  ASSERT_TRUE(engine->Apply({.at_ms = 1, .body = CreateProvider{Id(21), "", {}}}).has_value());
  ASSERT_TRUE(engine->Apply({.at_ms = 2, .body = SetInventories{Id(21), {}, {disk}}}).has_value());
  engine->Commit();
  const db::Contents contents = engine->Export();

  Result<db::Contents> read = Read(Written(contents));

  ASSERT_TRUE(read.has_value()) << read.status().ToString();
  EXPECT_EQ(db::EncodeContents(*read), db::EncodeContents(contents));
}

TEST(StoreFile, NamesTheLineThatIsWrong) {
  std::string text = Written(MakeState()->Export());

  EXPECT_EQ(Read(text.substr(text.find('\n') + 1)).error().message(),
            "line 1: the file does not begin with a header");
  EXPECT_EQ(Read(text.substr(0, text.rfind("{\"end\""))).error().message(),
            "the file has no end: it is cut short");
  std::string shorter = text;
  shorter.erase(text.find('\n') + 1, text.find('\n', text.find('\n') + 1) - text.find('\n'));
  EXPECT_NE(Read(shorter).error().message().find(" lines, here are "), std::string::npos);
  std::string amount = text;
  amount.replace(amount.find("\"amount\":3"), 10, "\"amount\":-3");
  EXPECT_NE(Read(amount).error().ToString().find("consumer.allocations.amount"), std::string::npos)
      << Read(amount).error().ToString();
  EXPECT_EQ(Read("{\"nothing\":1}\n").error().code(), StatusCode::kInvalidArgument);
}

TEST(DbCommand, ExportsImportsAndChecks) {
  fakes::TempFolder folder;
  const std::string store = "sqlite:" + (folder.path() / "a.db").string();
  const std::string copy = "sqlite:" + (folder.path() / "b.db").string();
  {
    auto engine = MakeState();
    auto opened = OpenStore(store, 0);
    ASSERT_TRUE(opened.has_value());
    ASSERT_EQ((*opened)->Append({.changes = engine->AllChanges(), .sequence = engine->sequence()}),
              OkStatus());
  }
  std::stringstream file;
  std::ostringstream told;
  ASSERT_EQ(ExportStore(store, file), OkStatus());
  ASSERT_EQ(ImportStore(copy, file, told), OkStatus());

  EXPECT_EQ(CheckStore(copy, told), OkStatus()) << told.str();
  EXPECT_NE(
      told.str().find("1 hosts, 2 claims, 7 providers, 2 consumers, 4 allocations; 0 errors, 0 warnings"),
      std::string::npos)
      << told.str();
  EXPECT_EQ(OpenStore("mysql:x", 0).error().field(), "store");
}

TEST(DbCommand, MakesNoStoreWhereThereIsNone) {
  fakes::TempFolder folder;
  const std::string path = (folder.path() / "mistyped.db").string();
  const std::string backup = (folder.path() / "backup.json").string();
  std::ostringstream out;

  Status checked = CheckStore("sqlite:" + path, out);
  Status exported = ExportStore("sqlite:" + path, out);

  EXPECT_EQ(checked.ToString(), "NOT_FOUND: store: there is no store " + path);
  EXPECT_EQ(exported, checked);
  EXPECT_EQ(out.str(), "");
  EXPECT_EQ(RunDbCommand("check", "sqlite:" + path, ""), 1);
  EXPECT_EQ(RunDbCommand("export", "sqlite:" + path, backup), 1);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  EXPECT_EQ(CheckStore("foo:bar", out).code(), StatusCode::kInvalidArgument);
}

TEST(StateAudit, FindsWhatDoesNotAgree) {
  auto engine = MakeState();
  db::Contents contents = engine->Export();
  ASSERT_TRUE(AuditState(*engine, contents).empty());

  auto changed = std::make_shared<Consumer>(*contents.consumers[0]);
  for (Allocation& allocation : changed->allocations) allocation.amount += 1;
  contents.consumers[0] = changed;

  // The pool's and the root's usage, the project's of two classes, and the claim that holds something else.
  EXPECT_EQ(AuditState(*engine, contents).size(), 5U);
}

TEST(StateAudit, WarnsOfProvidersOverCapacity) {
  auto engine = MakeState();
  InventoryInput disk;
  disk.resource_class = "DISK_GB";
  disk.total = 1;
  ASSERT_TRUE(engine->Apply({.at_ms = 200, .body = SetInventories{Id(20), {}, {disk}}}).has_value());
  engine->Commit();

  auto findings = AuditState(*engine, engine->Export());

  ASSERT_EQ(findings.size(), 1U);
  EXPECT_FALSE(findings[0].error);
  EXPECT_NE(findings[0].text.find("is over capacity: 3 of 1.0"), std::string::npos) << findings[0].text;
}

}  // namespace
}  // namespace berth::placement
