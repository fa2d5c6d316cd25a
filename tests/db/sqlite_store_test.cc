#include "db/sqlite/sqlite_store.h"

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/mount.h>

#include <barrier>
#include <fstream>
#include <optional>
#include <thread>
#include <vector>

#include "db/record_codec.h"
#include "tests/fakes/temp_folder.h"
#include "tests/placement/model/model_builders.h"

namespace berth::db {
namespace {

using namespace placement::testing;  // NOLINT(google-build-using-namespace)

class SqliteStoreTest : public ::testing::Test {
 protected:
  std::string Path() const { return (folder_.path() / "store.db").string(); }

  // Changes the file behind the store's back.
  void Sql(const std::string& sql) const {
    sqlite3* handle = nullptr;
    ASSERT_EQ(sqlite3_open(Path().c_str(), &handle), SQLITE_OK);
    char* error = nullptr;
    EXPECT_EQ(sqlite3_exec(handle, sql.c_str(), nullptr, nullptr, &error), SQLITE_OK) << (error ? error : "");
    sqlite3_free(error);
    sqlite3_close(handle);
  }

  Status OpenError() const {
    auto store = OpenSqliteStore(Path());
    return store.status();
  }

  fakes::TempFolder folder_;
};

Batch HostBatch(uint8_t number, size_t padding = 0) {
  placement::HostReport report = MakeHost(number);
  if (padding > 0) report.warnings = {std::string(padding, 'x')};
  auto shared = std::make_shared<const placement::HostReport>(std::move(report));
  return {.changes = {PutHost{{.generation = 1, .reported = shared, .effective = shared}}},
          .sequence = number};
}

TEST_F(SqliteStoreTest, RefusesASecondOpening) {
  auto first = OpenSqliteStore(Path());
  ASSERT_TRUE(first.has_value());

  EXPECT_EQ(OpenError().ToString(), "UNAVAILABLE: store sqlite:" + Path() + " is in use by another process");
}

// Of openers that meet, whoever is first has the store: they do not keep each other out.
TEST_F(SqliteStoreTest, OneOfManyThatOpenAtOnceHasIt) {
  constexpr int kRounds = 100, kOpeners = 6;
  for (int round = 0; round < kRounds; ++round) {
    const std::string path = Path() + std::to_string(round);
    std::barrier start(kOpeners);
    std::vector<std::optional<Result<std::unique_ptr<Store>>>> opened(kOpeners);
    std::vector<std::thread> openers;
    for (auto& one : opened) {
      openers.emplace_back([&] {
        start.arrive_and_wait();
        one.emplace(OpenSqliteStore(path));
      });
    }
    for (std::thread& opener : openers) opener.join();

    int have = 0;
    for (const auto& one : opened) {
      if (*one) {
        ++have;
      } else {
        EXPECT_EQ(one->error().ToString(),
                  "UNAVAILABLE: store sqlite:" + path + " is in use by another process");
      }
    }
    ASSERT_EQ(have, 1) << "in round " << round;
  }
}

TEST_F(SqliteStoreTest, RefusesANewerSchema) {
  ASSERT_TRUE(OpenSqliteStore(Path()).has_value());
  Sql("PRAGMA user_version=99");

  EXPECT_EQ(OpenError().ToString(),
            "FAILED_PRECONDITION: store sqlite:" + Path() +
                " has schema 99, this program knows 2 (use the newer program that has written it)");
}

TEST_F(SqliteStoreTest, RefusesADatabaseOfAnotherProgram) {
  Sql("CREATE TABLE recipes (name TEXT)");

  EXPECT_EQ(OpenError().message(), "store sqlite:" + Path() + " is a database of another program");
}

TEST_F(SqliteStoreTest, RefusesAFileThatIsNoDatabase) {
  std::ofstream(Path())
      << "This is a letter to my aunt, and it is longer than a header of a database would be: dear aunt, "
         "I hope that this finds you well";

  Status status = OpenError();
  EXPECT_EQ(status.code(), StatusCode::kDataLoss) << status.ToString();
  EXPECT_NE(status.message().find(Path()), std::string::npos);
}

TEST_F(SqliteStoreTest, NamesAFolderThatIsNotThere) {
  auto store = OpenSqliteStore((folder_.path() / "none" / "store.db").string());

  EXPECT_EQ(store.status().code(), StatusCode::kPermissionDenied);
  EXPECT_NE(store.status().message().find("none/store.db: unable to open database file"), std::string::npos)
      << store.status().ToString();
}

TEST_F(SqliteStoreTest, TellsWhichRecordIsDamaged) {
  {
    auto store = OpenSqliteStore(Path());
    ASSERT_EQ((*store)->Append(HostBatch(1)), OkStatus());
  }
  Sql("UPDATE host_report SET reported = substr(reported, 1, 40)");

  auto store = OpenSqliteStore(Path());
  Result<Contents> contents = (*store)->Load();
  EXPECT_EQ(contents.status().ToString(), "DATA_LOSS: store sqlite:" + Path() +
                                              ": table host_report: host report of 40 bytes cannot be read");
}

TEST_F(SqliteStoreTest, IsFencedWhenTheEpochHasMovedOn) {
  auto store = OpenSqliteStore(Path());
  ASSERT_TRUE(store.has_value());
  // As a second writer would do on a database without file locks: by the table that all share.
  auto batch = HostBatch(1);
  ASSERT_EQ((*store)->Append(batch), OkStatus());
  store->reset();
  Sql("UPDATE meta SET value = value + 1 WHERE key = 'epoch'");
  auto again = OpenSqliteStore(Path());
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ((*again)->epoch(), 3U);
}

TEST_F(SqliteStoreTest, FullDiskLosesNothingAndServiceGoesOn) {
  auto store = OpenSqliteStore(Path(), {.max_pages = 64});
  ASSERT_TRUE(store.has_value());
  uint8_t saved = 0;
  Status status;
  while (saved < 100) {
    status = (*store)->Append(HostBatch(static_cast<uint8_t>(saved + 1), 20000));
    if (!status.ok()) break;
    ++saved;
  }
  EXPECT_EQ(status.ToString(),
            "RESOURCE_EXHAUSTED: store sqlite:" + Path() +
                ": database or disk is full (free space on its file system, then try again)");
  EXPECT_GT(saved, 3);
  EXPECT_EQ((*store)->Load()->hosts.size(), saved);

  // Space returns: a host goes.
  ASSERT_EQ((*store)->Append({.changes = {DeleteHost{Id(1)}}, .sequence = 200}), OkStatus());
  EXPECT_EQ((*store)->Append(HostBatch(static_cast<uint8_t>(saved + 1), 20000)), OkStatus());
  store->reset();
  EXPECT_EQ((*OpenSqliteStore(Path()))->Load()->hosts.size(), saved);
}

TEST_F(SqliteStoreTest, FullFileSystemLosesNothingAndServiceGoesOn) {
  std::string mount_point = (folder_.path() / "small").string();
  std::filesystem::create_directory(mount_point);
  if (mount("tmpfs", mount_point.c_str(), "tmpfs", 0, "size=4m") != 0)
    GTEST_SKIP() << "a tmpfs may not be mounted here";
  struct Unmount {
    std::string at;
    ~Unmount() { umount2(at.c_str(), MNT_DETACH); }
  } unmount{mount_point};
  std::string path = mount_point + "/store.db";
  std::string ballast = mount_point + "/ballast";
  {
    auto store = OpenSqliteStore(path);
    ASSERT_TRUE(store.has_value()) << store.status().ToString();
    std::ofstream(ballast) << std::string(2500000, 'x');
    uint8_t saved = 0;
    Status status;
    while (saved < 200) {
      status = (*store)->Append(HostBatch(static_cast<uint8_t>(saved + 1), 20000));
      if (!status.ok()) break;
      ++saved;
    }
    EXPECT_EQ(status.code(), StatusCode::kResourceExhausted) << status.ToString();
    EXPECT_NE(status.message().find("sqlite:" + path), std::string::npos);
    EXPECT_EQ((*store)->Load()->hosts.size(), saved);
    std::filesystem::remove(ballast);
    EXPECT_EQ((*store)->Append(HostBatch(static_cast<uint8_t>(saved + 1), 20000)), OkStatus());
    store->reset();
    store = OpenSqliteStore(path);
    ASSERT_TRUE(store.has_value()) << store.status().ToString();
    EXPECT_EQ((*store)->Load()->hosts.size(), saved + 1);
  }
}

}  // namespace
}  // namespace berth::db
