#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <thread>

#include "tests/fakes/temp_folder.h"
#include "tests/placement/crash/placement_process.h"
#include "tests/placement/grpc/placement_client.h"
#include "tests/placement/model/model_builders.h"

// SIGKILL at random points of 200 concurrent claims, again and again on one store: what was acknowledged is
// there, nothing is held twice, and what was not acknowledged is there wholly or not at all.
namespace berth::placement {
namespace {

using namespace testing;  // NOLINT(google-build-using-namespace)

constexpr int kRounds = 20;
constexpr int kClients = 8;
constexpr int kClaimsOfAClient = 25;
constexpr uint32_t kCpus = 256;

HostReport BigHost(uint8_t number) {
  HostReport host = MakeHost(number);
  host.cells = {MakeCell(0, {}, CpuSet::Range(0, kCpus - 1), 4096)};
  for (Device& device : host.devices) device.numa_node = 0;
  return host;
}

std::unique_ptr<PlacementClient> Connect(const PlacementProcess& process) {
  // A connection of its own for each process: gRPC would keep the broken one in back-off.
  grpc::ChannelArguments arguments;
  arguments.SetInt("grpc.use_local_subchannel_pool", 1);
  return std::make_unique<PlacementClient>(
      grpc::CreateCustomChannel(process.address(), grpc::InsecureChannelCredentials(), arguments));
}

class CrashTest : public ::testing::Test {
 protected:
  Claim RandomClaim(int round, int number, std::mt19937& random) {
    uint32_t cpu = static_cast<uint32_t>(random()) % kCpus;
    uint32_t other = static_cast<uint32_t>(random()) % kCpus;
    Claim claim = NumaClaim(1, {GuestCell(0, 0, 0, 0, 4, {cpu})}, static_cast<uint8_t>(round + 1));
    if (other != cpu) claim.cells[0].reserved = {other};
    claim.consumer = Uuid::FromName(Id(1), std::to_string(round) + "/" + std::to_string(number));
    claim.name = "vm-" + std::to_string(round) + "-" + std::to_string(number);
    return claim;
  }

  // Claims from many threads until all are made or the process dies; `acknowledged` counts up for the killer.
  void ClaimAll(int round, PlacementClient& client, std::atomic<int>& acknowledged) {
    std::vector<std::thread> threads;
    for (int t = 0; t < kClients; ++t) {
      threads.emplace_back([&, t] {
        std::mt19937 random(static_cast<uint32_t>(round * 100 + t));
        for (int i = 0; i < kClaimsOfAClient; ++i) {
          Claim claim = RandomClaim(round, t * kClaimsOfAClient + i, random);
          {
            std::lock_guard lock(mutex_);
            asked_[claim.consumer] = claim;
          }
          Result<v1::CreateClaimResponse> answer = client.CreateClaim(claim);
          std::lock_guard lock(mutex_);
          if (answer) {
            acknowledged_.insert(claim.consumer);
            ++acknowledged;
          } else if (answer.error().code() == StatusCode::kFailedPrecondition) {
            refused_.insert(claim.consumer);
          } else {
            return;  // the process is dead
          }
        }
      });
    }
    for (auto& thread : threads) thread.join();
  }

  void CheckStore(PlacementClient& client) {
    Result<v1::ListClaimsResponse> list = client.ListClaims();
    ASSERT_TRUE(list.has_value()) << list.status().ToString();
    std::set<Uuid> found;
    std::map<std::pair<Uuid, uint32_t>, std::string> holders;
    for (const v1::Claim& message : list->claims()) {
      Result<Claim> claim = wire::ClaimFromProto(message);
      ASSERT_TRUE(claim.has_value());
      found.insert(claim->consumer);
      ASSERT_TRUE(asked_.contains(claim->consumer)) << claim->name;
      const Claim& asked = asked_[claim->consumer];
      EXPECT_EQ(claim->cells, asked.cells) << claim->name;
      EXPECT_EQ(claim->spec, asked.spec) << claim->name;
      EXPECT_EQ(claim->host, asked.host) << claim->name;
      CpuSet cpus = claim->cells[0].reserved;
      for (const auto& pin : claim->cells[0].pinning) cpus.Add(pin.second);
      for (uint32_t cpu : cpus.ToVector()) {
        auto [at, free] = holders.emplace(std::pair{claim->host, cpu}, claim->name);
        EXPECT_TRUE(free) << "CPU " << cpu << " is held by " << at->second << " and " << claim->name;
      }
    }
    for (const Uuid& consumer : acknowledged_)
      EXPECT_TRUE(found.contains(consumer)) << asked_[consumer].name << " is lost";
    for (const Uuid& consumer : refused_) EXPECT_FALSE(found.contains(consumer)) << asked_[consumer].name;
    found_ = found.size();
  }

  // What the host shows as used is what the claims hold.
  void CheckUsage(PlacementClient& client, int round) {
    auto host = client.GetHost(Id(static_cast<uint8_t>(round + 1)).ToString());
    ASSERT_TRUE(host.has_value()) << host.status().ToString();
    HostUsage usage;
    for (const v1::Claim& claim : host->claims()) AddClaim(*wire::ClaimFromProto(claim), usage);
    EXPECT_EQ(host->host().cells(0).usage().pinned_cpus(), usage.cells[0].pinned_cpus.ToString());
    EXPECT_EQ(host->host().cells(0).usage().memory_bytes(), usage.cells[0].memory_bytes);
    EXPECT_EQ(host->host().generation(), static_cast<uint64_t>(host->claims_size()) + first_generation_);
  }

  std::mutex mutex_;
  std::map<Uuid, Claim> asked_;
  std::set<Uuid> acknowledged_;
  std::set<Uuid> refused_;
  size_t found_ = 0;
  uint64_t first_generation_ = 0;
};

TEST_F(CrashTest, KillAtRandomPointsLosesNoAcknowledgedClaimAndBooksNothingTwice) {
  fakes::TempFolder folder;
  std::string store = (folder.path() / "store.db").string();
  std::mt19937 random(20260101);
  int kills_in_the_middle = 0;
  for (int round = 0; round < kRounds; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    {
      PlacementProcess process(store);
      ASSERT_FALSE(process.address().empty());
      auto client = Connect(process);
      auto report = client->ReportHost(BigHost(static_cast<uint8_t>(round + 1)));
      ASSERT_TRUE(report.has_value()) << report.status().ToString();
      first_generation_ = report->generation();
      std::atomic<int> acknowledged{0};
      std::atomic<bool> done{false};
      int victim = static_cast<int>(random() % 110);  // about 120 of the 200 find their CPUs free
      auto pause = std::chrono::microseconds(random() % 2000);
      std::thread killer([&] {
        while (acknowledged < victim && !done) std::this_thread::yield();
        std::this_thread::sleep_for(pause);  // any point between two answers, not only just after one
        if (!done) ++kills_in_the_middle;
        process.Kill(SIGKILL);
      });
      ClaimAll(round, *client, acknowledged);
      done = true;
      killer.join();
    }
    PlacementProcess process(store);
    ASSERT_FALSE(process.address().empty());
    auto client = Connect(process);
    CheckStore(*client);
    CheckUsage(*client, round);
    client.reset();
    EXPECT_EQ(WEXITSTATUS(process.Kill(SIGTERM)), 0);
    if (HasFailure()) return;
  }
  EXPECT_GE(kills_in_the_middle, kRounds / 2);
  EXPECT_GT(acknowledged_.size(), 200U);
  RecordProperty("kills_in_the_middle", kills_in_the_middle);
  std::printf("%d kills, %d in the middle; %zu claims asked for, %zu acknowledged, %zu found\n", kRounds,
              kills_in_the_middle, asked_.size(), acknowledged_.size(), found_);
}

}  // namespace
}  // namespace berth::placement
