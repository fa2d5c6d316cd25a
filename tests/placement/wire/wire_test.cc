#include <gtest/gtest.h>

#include "placement/wire/claim.h"
#include "placement/wire/host.h"
#include "placement/wire/limits.h"
#include "placement/wire/status.h"
#include "tests/placement/model/model_builders.h"
#include "tests/placement/wire/random_values.h"

namespace berth::wire {
namespace {

using namespace placement::testing;  // NOLINT(google-build-using-namespace)
using placement::Claim;
using placement::HostReport;

template <class Message>
Message OverTheWire(const Message& in) {
  Message out;
  EXPECT_TRUE(out.ParseFromString(in.SerializeAsString()));
  return out;
}

TEST(WireRoundTrip, HostsComeBackAsTheyWere) {
  for (uint32_t seed = 0; seed < 2000; ++seed) {
    HostReport host = RandomValues(seed).AnyHost();
    v1::Host message;
    HostToProto(host, &message);
    Result<HostReport> back = HostFromProto(OverTheWire(message));
    ASSERT_TRUE(back.has_value()) << seed << ": " << back.status().ToString();
    ASSERT_EQ(*back, host) << seed;
  }
}

TEST(WireRoundTrip, ClaimsComeBackAsTheyWere) {
  for (uint32_t seed = 0; seed < 2000; ++seed) {
    Claim claim = RandomValues(seed).AnyClaim();
    v1::Claim message;
    ClaimToProto(claim, &message);
    Result<Claim> back = ClaimFromProto(OverTheWire(message));
    ASSERT_TRUE(back.has_value()) << seed << ": " << back.status().ToString();
    ASSERT_EQ(*back, claim) << seed;
  }
}

TEST(WireHost, AnswersShowUsageConsumersAndBlockedDevices) {
  HostReport host = MakeHost();
  Claim claim = NumaClaim(1, {GuestCell(0, 0, 0, 1, 64, {4, 5}, 2 * kMib)});
  claim.devices = {Bind(Pci(2, 1))};
  placement::HostUsage usage;
  AddClaim(claim, usage);
  AddClaim(FloatingClaim(2, 3, 128), usage);

  v1::Host message;
  HostToProto(host, usage, 7, &message);

  EXPECT_EQ(message.generation(), 7U);
  EXPECT_EQ(message.floating_vcpus(), 3U);
  EXPECT_EQ(message.floating_memory_bytes(), 128 * kMib);
  EXPECT_EQ(message.cells(0).usage().pinned_cpus(), "4-5");
  EXPECT_EQ(message.cells(0).pages(1).used(), 32U);
  EXPECT_EQ(message.cells(1).usage().memory_bytes(), 0U);
  EXPECT_TRUE(message.devices(1).blocked());  // the PF
  EXPECT_EQ(message.devices(2).consumer(), claim.consumer.ToString());
  EXPECT_FALSE(message.devices(3).blocked());  // the other VF
  Result<HostReport> back = HostFromProto(message);
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(*back, host);
}

void ExpectHostError(void (*spoil)(v1::Host&), const char* field) {
  v1::Host message;
  HostToProto(MakeHost(), &message);
  spoil(message);
  Result<HostReport> host = HostFromProto(message);
  ASSERT_FALSE(host.has_value()) << field;
  EXPECT_EQ(host.error().code(), StatusCode::kInvalidArgument) << field;
  EXPECT_EQ(host.error().field(), field);
}

TEST(WireHost, NamesTheFieldThatIsWrong) {
  ExpectHostError([](v1::Host& h) { h.set_uuid("x"); }, "uuid");
  ExpectHostError([](v1::Host& h) { h.set_uuid("00000000-0000-0000-0000-000000000000"); }, "uuid");
  ExpectHostError([](v1::Host& h) { h.set_name("a\nb"); }, "name");
  ExpectHostError([](v1::Host& h) { h.set_os_name(std::string(kMaxText + 1, 'x')); }, "os_name");
  ExpectHostError([](v1::Host& h) { h.mutable_cells(1)->set_shared_cpus("3-1"); }, "cells[1].shared_cpus");
  ExpectHostError([](v1::Host& h) { h.mutable_cells(1)->set_siblings(0, "70000"); }, "cells[1].siblings[0]");
  ExpectHostError([](v1::Host& h) { h.mutable_devices(2)->set_address("0000:02:00.9"); },
                  "devices[2].address");
  ExpectHostError([](v1::Host& h) { h.mutable_devices(2)->set_parent("nowhere"); }, "devices[2].parent");
  ExpectHostError([](v1::Host& h) { h.mutable_devices(2)->set_type(v1::DEVICE_TYPE_UNSPECIFIED); },
                  "devices[2].type");
  ExpectHostError([](v1::Host& h) { h.mutable_devices(2)->set_type(static_cast<v1::DeviceType>(99)); },
                  "devices[2].type");
  ExpectHostError([](v1::Host& h) { h.mutable_devices(0)->add_traits(""); }, "devices[0].traits[0]");
  ExpectHostError([](v1::Host& h) { h.mutable_devices(0)->set_vendor_id("80867"); }, "devices[0].vendor_id");
}

TEST(WireHost, RefusesMoreThanTheLimits) {
  ExpectHostError(
      [](v1::Host& h) {
        for (int i = 0; i <= kMaxHostCells; ++i) h.add_cells();
      },
      "cells");
  ExpectHostError(
      [](v1::Host& h) {
        for (int i = 0; i <= kMaxCores; ++i) h.mutable_cells(i % 2)->add_siblings("65535");
      },
      "cells");
  ExpectHostError(
      [](v1::Host& h) {
        for (int i = 0; i <= kMaxDevices; ++i) h.add_devices();
      },
      "devices");
}

TEST(WireHost, RefusesACpuListThatWouldTakeLongToRead) {
  ExpectHostError(
      [](v1::Host& h) {
        std::string list = "0-65535";
        while (list.size() < 200000) list += ",0-65535";
        h.mutable_cells(0)->set_shared_cpus(list);
      },
      "cells[0].shared_cpus");
}

void ExpectClaimError(void (*spoil)(v1::Claim&), const char* field) {
  v1::Claim message;
  Claim claim = NumaClaim(1, {GuestCell(0, 0, 0, 1, 64, {4, 5})});
  claim.devices = {Bind(Pci(1))};
  ClaimToProto(claim, &message);
  spoil(message);
  Result<Claim> back = ClaimFromProto(message);
  ASSERT_FALSE(back.has_value()) << field;
  EXPECT_EQ(back.error().code(), StatusCode::kInvalidArgument) << field;
  EXPECT_EQ(back.error().field(), field);
}

TEST(WireClaim, NamesTheFieldThatIsWrong) {
  ExpectClaimError([](v1::Claim& c) { c.set_consumer(""); }, "consumer");
  ExpectClaimError([](v1::Claim& c) { c.set_host("h1"); }, "host");
  ExpectClaimError([](v1::Claim& c) { c.set_name(std::string(256, 'n')); }, "name");
  ExpectClaimError([](v1::Claim& c) { c.set_phase(static_cast<v1::ClaimPhase>(9)); }, "phase");
  ExpectClaimError([](v1::Claim& c) { c.mutable_cells(0)->set_vcpus("0,x"); }, "cells[0].vcpus");
  ExpectClaimError([](v1::Claim& c) { c.mutable_cells(0)->mutable_pinning(1)->set_host(65536); },
                   "cells[0].pinning[1]");
  ExpectClaimError([](v1::Claim& c) { c.mutable_devices(0)->set_address("1"); }, "devices[0].address");
  ExpectClaimError([](v1::Claim& c) { c.mutable_spec()->set_cmdline(std::string("a\0b", 3)); },
                   "spec.cmdline");
  ExpectClaimError([](v1::Claim& c) { c.mutable_status()->set_state(static_cast<v1::InstanceState>(-5)); },
                   "status.state");
  ExpectClaimError(
      [](v1::Claim& c) {
        for (int i = 0; i <= kMaxOptions; ++i) c.mutable_spec()->add_disks("path=/x");
      },
      "spec.disks");
}

TEST(WireStatus, CodeAndMessageBecomeGrpcs) {
  grpc::Status status = ToGrpc(nullptr, Aborted("generation 7, expected 6"));

  EXPECT_EQ(status.error_code(), grpc::StatusCode::ABORTED);
  EXPECT_EQ(status.error_message(), "generation 7, expected 6");
  EXPECT_TRUE(ToGrpc(nullptr, OkStatus()).ok());
}

TEST(WireStatus, LongTextsAreCutAtACharacter) {
  std::string text;
  for (int i = 0; i < 3000; ++i) text += "\xC3\xA9";

  std::string message = ToGrpc(nullptr, Internal(text)).error_message();

  EXPECT_LT(message.size(), 2100U);
  EXPECT_EQ(message.substr(message.size() - 5), "\xC3\xA9...");
}

TEST(WireStatus, UnknownCodesOfAServerBecomeUnknown) {
  grpc::ClientContext context;
  Status status = FromGrpc(grpc::Status(static_cast<grpc::StatusCode>(77), "odd"), context);

  EXPECT_EQ(status.code(), StatusCode::kUnknown);
  EXPECT_EQ(status.message(), "odd");
}

}  // namespace
}  // namespace berth::wire
