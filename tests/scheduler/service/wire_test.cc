#include "scheduler/service/wire.h"

#include <gtest/gtest.h>

namespace berth::scheduler {
namespace {

TEST(SchedulerWire, RequestFieldsThatAreTooLongOrManyAreNamed) {
  v1::CreateInstanceRequest request;
  request.set_uuid("not-a-uuid");
  EXPECT_EQ(RequestFromProto(request).status().field(), "uuid");

  request.clear_uuid();
  request.mutable_boot()->set_cmdline(std::string(5000, 'x'));
  EXPECT_EQ(RequestFromProto(request).status().field(), "boot.cmdline");

  request.clear_boot();
  for (int i = 0; i < 65; ++i) request.add_ports();
  EXPECT_EQ(RequestFromProto(request).status().field(), "ports");
}

TEST(SchedulerWire, NoFitDetailNeverExceedsItsLimit) {
  Decision decision;
  for (int i = 0; i < 1000; ++i) {
    decision.refusals.push_back(
        {"host-" + std::to_string(i),
         {"cpus_dedicated", "3", "4", "guest cell 0", "a long sentence about the host"}});
  }

  std::string detail = NoFitDetail(decision, 4096);

  EXPECT_LE(detail.size(), 4096u);
  v1::NoFit parsed;
  ASSERT_TRUE(parsed.ParseFromString(detail));
  EXPECT_GT(parsed.hosts_size(), 50);
  EXPECT_EQ(parsed.hosts(0).reasons(0).code(), "cpus_dedicated");
}

}  // namespace
}  // namespace berth::scheduler
