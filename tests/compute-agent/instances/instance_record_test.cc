#include "compute-agent/instances/instance_record.h"

#include <gtest/gtest.h>

#include "tests/fakes/temp_folder.h"

namespace berth::agent {
namespace {

InstanceRecord Full() {
  InstanceRecord record;
  record.consumer = *Uuid::Parse("22222222-2222-4222-8222-222222222222");
  record.name = "vm";
  record.phase = Phase::kExited;
  record.attempts = 2;
  record.process = {1234, 567890, "boot"};
  record.arguments = {"--kernel=/x", "--cmdline=a \"b\""};
  record.devices = {{*PciAddress::Parse("0000:41:00.0"), "ixgbe"}, {*PciAddress::Parse("0000:41:00.1"), ""}};
  record.huge_pages = {{{1, 2 << 20}, 512}};
  record.note = "note";
  record.outcome = Outcome{placement::InstanceState::kFailed, "why"};
  return record;
}

TEST(InstanceRecord, WhatWasWrittenIsRead) {
  EXPECT_EQ(*InstanceRecord::FromJson(Full().ToJson()), Full());
  InstanceRecord empty;
  empty.consumer = Full().consumer;
  EXPECT_EQ(*InstanceRecord::FromJson(empty.ToJson()), empty);
}

TEST(InstanceRecord, BytesThatAreNoUtf8DoNotSpoilIt) {
  InstanceRecord record = Full();
  record.outcome->detail = "bad \xff byte";
  EXPECT_TRUE(InstanceRecord::FromJson(record.ToJson()).has_value());
}

TEST(InstanceRecord, EveryDamageIsDataLossOrInvalid) {
  std::string json = Full().ToJson();
  for (size_t length = 0; length + 2 < json.size(); ++length) {
    EXPECT_FALSE(InstanceRecord::FromJson(json.substr(0, length)).has_value()) << length;
  }
  for (const char* text : {"[]", "{}", "null", "{\"format\": 2}", "{\"format\": \"1\"}"}) {
    EXPECT_EQ(InstanceRecord::FromJson(text).error().code(), StatusCode::kDataLoss) << text;
  }
}

}  // namespace
}  // namespace berth::agent
