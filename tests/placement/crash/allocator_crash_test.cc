#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>
#include <random>
#include <sstream>
#include <vector>

#include "placement/engine/engine.h"
#include "placement/engine/state_audit.h"
#include "placement/store/db_command.h"
#include "placement/store/open_store.h"
#include "tests/fakes/temp_folder.h"
#include "tests/placement/crash/allocator_plan.h"

extern char** environ;  // NOLINT(readability-redundant-declaration)

// SIGKILL in the middle of concurrent writes of allocations, again and again on one store: the last answer
// about each consumer holds, or one later write of it; no pool is over its capacity; all counts agree.
namespace berth::placement {
namespace {

using namespace testing;  // NOLINT(google-build-using-namespace)

constexpr uint32_t kRounds = 8;
constexpr uint32_t kThreads = 6;

// Reads lines until `wanted` have come, then kills; returns all that were written whole.
std::vector<std::string> RunAndKill(const std::string& store, uint32_t round, size_t wanted) {
  int ends[2];
  EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  std::string number = std::to_string(round);
  std::string threads = std::to_string(kThreads);
  std::string program = BERTH_ALLOCATOR;
  char* arguments[] = {program.data(), const_cast<char*>(store.c_str()), number.data(), threads.data(),
                       nullptr};
  pid_t child = 0;
  EXPECT_EQ(posix_spawn(&child, program.c_str(), &actions, nullptr, arguments, environ), 0);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  std::vector<std::string> lines;
  std::string rest;
  char buffer[4096];
  bool killed = false;
  while (true) {
    ssize_t size = read(ends[0], buffer, sizeof buffer);
    if (size <= 0) break;
    rest.append(buffer, static_cast<size_t>(size));
    for (size_t end = rest.find('\n'); end != std::string::npos; end = rest.find('\n')) {
      lines.push_back(rest.substr(0, end));
      rest.erase(0, end + 1);
    }
    if (!killed && lines.size() >= wanted) {
      kill(child, SIGKILL);
      killed = true;
    }
  }
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(killed) << "it ended by itself";
  return lines;
}

TEST(AllocatorCrash, KilledWritersLoseNoAnsweredAllocation) {
  fakes::TempFolder folder;
  const std::string store = "sqlite:" + (folder.path() / "store.db").string();
  std::mt19937 random(7);
  std::map<std::string, int64_t> answered;
  size_t answers = 0;
  for (uint32_t round = 0; round < kRounds; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    for (const std::string& line : RunAndKill(store, round, 40 + random() % 200)) {
      std::istringstream in(line);
      std::string consumer;
      int64_t amount = 0;
      in >> consumer >> amount;
      answered[consumer] = amount;
      ++answers;
    }
    auto opened = OpenStore(store, 0);
    ASSERT_TRUE(opened.has_value()) << opened.status().ToString();
    db::Contents contents = *(*opened)->Load();
    auto engine = Engine::Restore(contents);
    ASSERT_TRUE(engine.has_value()) << engine.status().ToString();
    for (const AuditFinding& finding : AuditState(**engine, contents)) ADD_FAILURE() << finding.text;
    // Each thread has at most one write whose answer it had not told yet.
    size_t different = 0;
    const ResourceView& view = (*engine)->resources();
    for (const auto& [text, amount] : answered) {
      auto consumer = view.FindConsumer(*Uuid::Parse(text));
      int64_t now = consumer ? consumer->allocations[0].amount : 0;
      if (now != amount) ++different;
      answered[text] = now;
    }
    EXPECT_LE(different, kThreads);
    for (uint32_t pool = 0; pool < kPools; ++pool) {
      ProviderRef at = view.FindProvider(PoolId(pool));
      ASSERT_TRUE(at);
      EXPECT_LE(at.tree->used(at.index)[0], kPoolSize);
    }
    if (HasFailure()) return;
  }
  EXPECT_GT(answers, 300U);
}

TEST(AllocatorCrash, TheStoreOfAKilledProcessIsCheckedExportedAndImported) {
  fakes::TempFolder folder;
  const std::string store = "sqlite:" + (folder.path() / "store.db").string();
  const std::string copy = "sqlite:" + (folder.path() / "copy.db").string();
  RunAndKill(store, 0, 100);

  std::ostringstream told;
  ASSERT_EQ(CheckStore(store, told), OkStatus()) << told.str();
  EXPECT_NE(told.str().find("0 errors"), std::string::npos) << told.str();
  std::stringstream file;
  ASSERT_EQ(ExportStore(store, file), OkStatus());
  ASSERT_EQ(ImportStore(copy, file, told), OkStatus());
  std::ostringstream again;
  ASSERT_EQ(ExportStore(copy, again), OkStatus());
  // But for the audit row of the import.
  std::string first = file.str().substr(file.str().find('\n'));
  EXPECT_EQ(again.str().substr(again.str().find('\n')), first);
  file.clear();
  file.seekg(0);
  EXPECT_EQ(ImportStore(copy, file, told).code(), StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace berth::placement
