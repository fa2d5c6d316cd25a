#include "compute-agent/instances/record_store.h"

#include <gtest/gtest.h>

#include <fstream>

#include "db/sqlite/connection.h"
#include "tests/fakes/temp_folder.h"

namespace berth::agent {
namespace {

InstanceRecord Named(const std::string& name, char digit) {
  InstanceRecord record;
  record.consumer = *Uuid::Parse("00000000-0000-0000-0000-00000000000" + std::string(1, digit));
  record.name = name;
  return record;
}

class RecordStoreTest : public testing::Test {
 protected:
  std::unique_ptr<RecordStore> Open() { return *RecordStore::Open(path_); }

  fakes::TempFolder folder_;
  const std::string path_ = folder_.path() / "agent.db";
};

TEST_F(RecordStoreTest, KeepsTheLastOfEachInstance) {
  {
    auto store = Open();
    ASSERT_EQ(store->Save(Named("b", '2')), OkStatus());
    ASSERT_EQ(store->Save(Named("a", '1')), OkStatus());
    ASSERT_EQ(store->Save(Named("now", '2')), OkStatus());
  }
  auto store = Open();
  EXPECT_EQ(*store->All(), (std::vector{Named("", '1').consumer, Named("", '2').consumer}));
  EXPECT_EQ(store->Load(Named("", '1').consumer)->name, "a");
  EXPECT_EQ(store->Load(Named("", '2').consumer)->name, "now");
}

TEST_F(RecordStoreTest, ForgetsWhatIsRemoved) {
  auto store = Open();
  ASSERT_EQ(store->Save(Named("a", '1')), OkStatus());
  ASSERT_EQ(store->Remove(Named("", '1').consumer), OkStatus());
  EXPECT_EQ(store->Remove(Named("", '1').consumer), OkStatus());
  EXPECT_EQ(store->Load(Named("", '1').consumer).error().code(), StatusCode::kNotFound);
  EXPECT_TRUE(store->All()->empty());
}

TEST_F(RecordStoreTest, IsReadByOthersWhileItIsInUse) {
  auto store = Open(), other = Open();
  ASSERT_EQ(store->Save(Named("a", '1')), OkStatus());
  EXPECT_EQ(other->Load(Named("", '1').consumer)->name, "a");
}

TEST_F(RecordStoreTest, ADamagedRecordHurtsNoOther) {
  auto store = Open();
  ASSERT_EQ(store->Save(Named("a", '1')), OkStatus());
  ASSERT_EQ(store->Save(Named("b", '2')), OkStatus());
  auto connection = *db::Connection::Open(path_);
  ASSERT_EQ(connection->Execute("UPDATE instance_records SET record = '{' WHERE consumer LIKE '%1'"),
            OkStatus());
  EXPECT_EQ(store->Load(Named("", '1').consumer).error().code(), StatusCode::kDataLoss);
  EXPECT_EQ(store->Load(Named("", '2').consumer)->name, "b");
}

TEST_F(RecordStoreTest, RefusesAFileThatIsNoneOfIts) {
  std::ofstream(path_) << std::string(8192, 'x');
  EXPECT_EQ(RecordStore::Open(path_).error().code(), StatusCode::kDataLoss);
}

TEST_F(RecordStoreTest, RefusesARecordOfALaterProgram) {
  Open();
  ASSERT_EQ((*db::Connection::Open(path_))->Execute("PRAGMA user_version=2"), OkStatus());
  EXPECT_EQ(RecordStore::Open(path_).error().code(), StatusCode::kDataLoss);
}

}  // namespace
}  // namespace berth::agent
