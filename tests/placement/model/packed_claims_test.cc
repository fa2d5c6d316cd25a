#include "placement/model/packed_claims.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "placement/model/claim_codec.h"
#include "tests/placement/model/random_claims.h"

namespace berth::placement {
namespace {

using testing::Pick;
using testing::Random;

std::string RandomText(Random& random) {
  std::string text(Pick(random, 4) == 0 ? Pick(random, 300) : Pick(random, 20), '\0');
  for (char& letter : text) letter = static_cast<char>(random());
  return text;
}

uint64_t RandomNumber(Random& random) {
  const uint64_t value = uint64_t{random()} << 32 | random();
  return Pick(random, 8) == 0 ? value : value >> Pick(random, 64);
}

std::optional<bool> RandomAnswer(Random& random) {
  const uint32_t pick = Pick(random, 3);
  return pick == 0 ? std::nullopt : std::optional(pick == 1);
}

// Any field may have any value.
Claim AnyClaim(Random& random) {
  Claim claim = testing::RandomClaim(random, static_cast<uint8_t>(random()));
  for (uint8_t& byte : claim.consumer.bytes) byte = static_cast<uint8_t>(random());
  claim.name = RandomText(random);
  if (Pick(random, 3) == 0) claim.host.bytes[3] = static_cast<uint8_t>(random());
  claim.phase = Pick(random, 2) == 0 ? ClaimPhase::kActive : ClaimPhase::kReleasing;
  for (CellBinding& cell : claim.cells) {
    if (Pick(random, 3) == 0) cell.pinning.emplace_back(random(), random());
    if (Pick(random, 3) == 0) cell.reserved |= CpuSet{Pick(random, 65536), 65535, 0};
    if (Pick(random, 3) == 0) cell.memory_bytes = RandomNumber(random);
  }
  for (DeviceBinding& device : claim.devices) {
    device.address = {static_cast<uint16_t>(random()), static_cast<uint8_t>(random()),
                      static_cast<uint8_t>(random()), static_cast<uint8_t>(random())};
    device.alias = RandomText(random);
    if (Pick(random, 2) == 0) device.numa_node = static_cast<NumaNode>(RandomNumber(random));
    device.leaving = Pick(random, 2) == 0;
    if (Pick(random, 2) == 0) device.port.mac = MacAddress{2, 0, static_cast<uint8_t>(random()), 0, 255, 1};
    if (Pick(random, 2) == 0) device.port.vlan = static_cast<uint16_t>(random());
    device.port.trusted = RandomAnswer(random);
    device.port.spoof_check = RandomAnswer(random);
  }
  claim.spec.flavor = RandomText(random);
  claim.spec.vcpus = static_cast<uint32_t>(RandomNumber(random));
  claim.spec.memory_bytes = RandomNumber(random);
  if (Pick(random, 2) == 0) claim.spec.kernel = RandomText(random);
  if (Pick(random, 2) == 0) claim.spec.initramfs = RandomText(random);
  if (Pick(random, 2) == 0) claim.spec.cmdline = RandomText(random);
  for (uint32_t n = Pick(random, 3); n > 0; --n) claim.spec.disks.push_back(RandomText(random));
  for (uint32_t n = Pick(random, 3); n > 0; --n) claim.spec.nets.push_back(RandomText(random));
  if (Pick(random, 2) == 0) claim.spec.disk_bytes = RandomNumber(random);
  if (Pick(random, 4) == 0) claim.spec.viommu = "virtio";
  if (Pick(random, 2) == 0)
    claim.status = {static_cast<InstanceState>(Pick(random, 7)), RandomText(random), RandomNumber(random)};
  claim.created_at_ms = RandomNumber(random);
  claim.external = Pick(random, 2) == 0;
  if (Pick(random, 3) == 0)
    claim.group =
        ServerGroup{RandomText(random), static_cast<ServerGroupPolicy>(Pick(random, 4)), Pick(random, 1025)};
  if (Pick(random, 3) == 0) claim.reserved_for.bytes[7] = 9;
  claim.swapped = Pick(random, 2) == 0;
  claim.stays_stopped = Pick(random, 2) == 0;
  return claim;
}

TEST(ClaimCodec, GivesBackWhatWasPacked) {
  Random random(1);
  for (int i = 0; i < 20000; ++i) {
    const Claim claim = AnyClaim(random);
    const Uuid host = Pick(random, 2) == 0 ? claim.host : Uuid{};
    std::string packed = "before";

    PackClaim(claim, host, packed);

    const std::string_view bytes = std::string_view(packed).substr(6);
    ASSERT_EQ(UnpackClaim(bytes, claim.consumer, host), claim) << i;
    ASSERT_EQ(NameOfPacked(bytes), claim.name);
  }
}

TEST(ClaimCodec, SetsNothingOfAClaimOfWhichNothingIsSet) {
  std::string packed;

  PackClaim(Claim{}, Uuid{}, packed);

  EXPECT_EQ(UnpackClaim(packed, Uuid{}, Uuid{}), Claim{});
}

// Bytes that changed, went or came: some claim comes of them, which is packed like any other.
TEST(ClaimCodec, SpoiltBytesMakeSomeClaim) {
  Random random(4);
  for (int i = 0; i < 20000; ++i) {
    std::string packed;
    PackClaim(AnyClaim(random), Uuid{}, packed);
    for (uint32_t n = 1 + Pick(random, 4); n > 0 && !packed.empty(); --n) {
      const uint32_t at = Pick(random, static_cast<uint32_t>(packed.size()));
      const uint32_t kind = Pick(random, 4);
      if (kind == 0) packed.resize(at);
      if (kind == 1) packed.insert(at, 1 + Pick(random, 12), '\xff');
      if (kind == 2) packed.erase(at, 1);
      if (kind == 3) packed[at] = static_cast<char>(random());
    }
    // Of just so many bytes, so that AddressSanitizer sees who reads beyond.
    const std::vector<char> bytes(packed.begin(), packed.end());
    const std::string_view spoilt(bytes.data(), bytes.size());

    const Claim claim = UnpackClaim(spoilt, Uuid{}, Uuid{});

    ASSERT_LE(NameOfPacked(spoilt).size(), spoilt.size());
    std::string again;
    PackClaim(claim, Uuid{}, again);
    ASSERT_EQ(UnpackClaim(again, Uuid{}, Uuid{}), claim) << i;
  }
}

TEST(ClaimCodec, AnOrdinaryClaimTakesFewBytes) {
  Claim claim = testing::FloatingClaim(1, 2, 4096);
  claim.name = "instance-1234567";
  claim.spec.flavor = "m1.small";
  std::string packed;

  PackClaim(claim, claim.host, packed);

  EXPECT_LE(packed.size(), 36u);
}

TEST(PackedClaims, AreAMapByConsumerAndCopiesStay) {
  Random random(2);
  for (int round = 0; round < 30; ++round) {
    PackedClaims claims;
    std::map<Uuid, Claim> expected;
    PackedClaims copy;
    std::map<Uuid, Claim> copied;
    const uint32_t most = 1 + Pick(random, 80);
    for (int step = 0; step < 400; ++step) {
      Claim claim = AnyClaim(random);
      const bool again = !expected.empty() && Pick(random, 3) == 0;
      if (again)
        claim.consumer =
            std::next(expected.begin(), Pick(random, static_cast<uint32_t>(expected.size())))->first;
      if (Pick(random, 2) == 0 || expected.size() >= most) {
        ASSERT_EQ(claims.Erase(claim.consumer), expected.erase(claim.consumer) == 1);
      } else {
        claims.Put(claim);
        expected[claim.consumer] = claim;
      }
      if (Pick(random, 50) == 0) {
        copy = claims;
        copied = expected;
      }

      ASSERT_EQ(claims.size(), expected.size());
      ASSERT_EQ(claims.empty(), expected.empty());
      auto known = expected.find(claim.consumer);
      ASSERT_EQ(claims.contains(claim.consumer), known != expected.end());
      ASSERT_EQ(claims.Find(claim.consumer),
                known == expected.end() ? std::nullopt : std::optional(known->second));
    }
    for (const auto& [packed, wanted] : {std::pair(claims, expected), std::pair(copy, copied)}) {
      auto next = wanted.begin();
      packed.ForEach([&](const Claim& claim) {
        ASSERT_NE(next, wanted.end());
        ASSERT_EQ(claim, (next++)->second);
      });
      EXPECT_EQ(next, wanted.end());
    }
  }
}

TEST(PackedClaims, AreFoundByName) {
  PackedClaims claims;
  for (uint8_t number = 1; number <= 40; ++number) {
    Claim claim = testing::FloatingClaim(number, 1, 64);
    claim.name = number % 20 == 0 ? "twice" : "vm" + std::to_string(number);
    claims.Put(claim);
  }

  EXPECT_EQ(claims.Named("vm7"), std::vector<Uuid>{testing::FloatingClaim(7, 1, 64).consumer});
  EXPECT_EQ(claims.Named("twice").size(), 2u);
  EXPECT_TRUE(claims.Named("vm").empty());
}

}  // namespace
}  // namespace berth::placement
