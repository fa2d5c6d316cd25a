#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
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

// The long tier: BERTH_CRASH_CLAIMS=1000000 claims are acknowledged, held for a while and given back by many
// clients, while the process is killed again and again.
class LongCrashTest : public ::testing::Test {
 protected:
  static constexpr int kHosts = 32;
  static constexpr int kManyClients = 64;
  static constexpr size_t kHeldByAClient = 24;  // 1536 of 8192 CPUs, so that most claims find theirs free

  // What a client knows of one of its instances.
  enum class Last { kHeld, kGone, kAsked };  // kAsked: one of the others, there was no answer

  struct Client {
    std::map<Uuid, std::pair<Claim, Last>> instances;  // those that are gone for sure are forgotten in Settle
    std::vector<Uuid> held;
    uint64_t number = 0;
  };

  static Claim MakeClaim(int client, uint64_t number, std::mt19937& random) {
    auto host = static_cast<uint8_t>(1 + random() % kHosts);
    Claim claim = NumaClaim(1, {GuestCell(0, 0, 0, 0, 4, {static_cast<uint32_t>(random()) % kCpus})}, host);
    claim.name = "vm-" + std::to_string(client) + "-" + std::to_string(number);
    claim.consumer = Uuid::FromName(Id(1), claim.name);
    return claim;
  }

  // Until the process dies.
  void Work(int number, PlacementClient& client, uint32_t seed) {
    Client& own = clients_[static_cast<size_t>(number)];
    std::mt19937 random(seed);
    while (true) {
      if (own.held.size() >= kHeldByAClient) {
        size_t at = random() % own.held.size();
        auto& [claim, last] = own.instances.at(own.held[at]);
        if (!client.ReleaseClaim(claim.consumer.ToString())) return;  // it is held all the same
        last = Last::kAsked;
        if (!client.FinalizeClaim(claim.consumer.ToString())) return;
        last = Last::kGone;
        own.held[at] = own.held.back();
        own.held.pop_back();
        continue;
      }
      Claim claim = MakeClaim(number, own.number++, random);
      auto& [kept, last] = own.instances[claim.consumer] = {claim, Last::kAsked};
      Result<v1::CreateClaimResponse> answer = client.CreateClaim(claim);
      if (answer) {
        last = Last::kHeld;
        own.held.push_back(claim.consumer);
        ++acknowledged_;
      } else if (answer.error().code() == StatusCode::kFailedPrecondition) {
        last = Last::kGone;
      } else {
        return;  // the process is dead
      }
    }
  }

  // What the store holds against what every client was told; and it is what the clients know from then on.
  void Settle(PlacementClient& client) {
    Result<v1::ListClaimsResponse> list = client.ListClaims();
    ASSERT_TRUE(list.has_value()) << list.status().ToString();
    std::map<Uuid, Claim> found;
    std::map<std::pair<Uuid, uint32_t>, std::string> holders;
    for (const v1::Claim& message : list->claims()) {
      Claim claim = *wire::ClaimFromProto(message);
      for (const auto& [vcpu, cpu] : claim.cells[0].pinning) {
        auto [at, free] = holders.emplace(std::pair{claim.host, cpu}, claim.name);
        if (!free) ++double_bookings_;
      }
      found.emplace(claim.consumer, std::move(claim));
    }
    for (Client& own : clients_) {
      own.held.clear();
      for (auto it = own.instances.begin(); it != own.instances.end();) {
        const auto& [claim, last] = it->second;
        auto stored = found.find(it->first);
        bool there = stored != found.end();
        if (last == Last::kHeld && !there) ++lost_;
        if (last == Last::kGone && there) ++undead_;
        if (there && (stored->second.cells != claim.cells || stored->second.host != claim.host)) ++changed_;
        if (there) {
          it->second.second = Last::kHeld;
          own.held.push_back(it->first);
          found.erase(stored);
          ++it;
        } else {
          it = own.instances.erase(it);
        }
      }
    }
    unknown_ += found.size();
  }

  std::vector<Client> clients_{kManyClients};
  std::atomic<uint64_t> acknowledged_{0};
  uint64_t double_bookings_ = 0;
  uint64_t lost_ = 0;
  uint64_t undead_ = 0;
  uint64_t changed_ = 0;
  uint64_t unknown_ = 0;
};

TEST_F(LongCrashTest, ManyClaimsUnderRandomKills) {
  const char* wanted_text = std::getenv("BERTH_CRASH_CLAIMS");
  if (wanted_text == nullptr) GTEST_SKIP() << "set BERTH_CRASH_CLAIMS=1000000 for the long tier";
  uint64_t wanted = std::strtoull(wanted_text, nullptr, 10);
  fakes::TempFolder folder;
  std::string store = (folder.path() / "store.db").string();
  std::mt19937 random(20261126);
  int kills = 0;
  bool reported = false;
  while (acknowledged_ < wanted) {
    SCOPED_TRACE("kill " + std::to_string(kills));
    PlacementProcess process(store);
    ASSERT_FALSE(process.address().empty());
    auto client = Connect(process);
    for (uint8_t host = 1; host <= kHosts && !reported; ++host)
      ASSERT_TRUE(client->ReportHost(BigHost(host)).has_value());
    reported = true;
    Settle(*client);
    if (HasFatalFailure()) return;
    uint64_t victim = acknowledged_ + random() % std::max<uint64_t>(1000, wanted / 50);
    auto pause = std::chrono::microseconds(random() % 3000);
    std::vector<std::thread> threads;
    for (int number = 0; number < kManyClients; ++number)
      threads.emplace_back(
          [&, number, seed = static_cast<uint32_t>(random())] { Work(number, *client, seed); });
    while (acknowledged_ < victim) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::this_thread::sleep_for(pause);
    process.Kill(SIGKILL);
    ++kills;
    for (std::thread& thread : threads) thread.join();
  }
  PlacementProcess process(store);
  auto client = Connect(process);
  Settle(*client);
  EXPECT_EQ(double_bookings_, 0U);
  EXPECT_EQ(lost_, 0U);
  EXPECT_EQ(undead_, 0U);
  EXPECT_EQ(changed_, 0U);
  EXPECT_EQ(unknown_, 0U);
  std::printf("%llu claims acknowledged, %d kills: %llu double bookings, %llu lost\n",
              static_cast<unsigned long long>(acknowledged_), kills,
              static_cast<unsigned long long>(double_bookings_), static_cast<unsigned long long>(lost_));
}

}  // namespace
}  // namespace berth::placement
