#include "vmm/api/router.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/vmm/api/fake_vm_control.h"

namespace berth::vmm {
namespace {

HttpResponse Called(VmControl& control, std::string method, std::string verb, std::string body = {}) {
  return Route({std::move(method), "/api/v1/" + verb, std::move(body), true}, control);
}

TEST(Router, PingTellsVersionAndProcess) {
  FakeVmControl vm;
  HttpResponse response = Called(vm, "GET", "vmm.ping");

  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, R"({"version":")" BERTH_VERSION R"(","build_version":"berth-vmm )" BERTH_VERSION
                           R"(","pid":)" +
                               std::to_string(getpid()) + R"(,"features":[]})");
}

TEST(Router, InfoTellsConfigurationStateAndRuntime) {
  FakeVmControl vm;
  HttpResponse response = Called(vm, "GET", "vm.info");

  EXPECT_EQ(response.status, 200);
  EXPECT_TRUE(response.body.starts_with(R"({"config":{"payload":{"kernel":"vmlinuz")")) << response.body;
  std::string rest = response.body.substr(response.body.find(R"("state")"));
  EXPECT_EQ(
      rest,
      R"("state":"Running","memory_actual_size":536870912,"runtime":{"pid":)" + std::to_string(getpid()) +
          R"(,"vcpus":[{"id":0,"tid":4711,"host_cpus":"2-3"}],)"
          R"("memory_regions":[{"zone":"mem0","base":0,"size":536870912,"host_address":139637976727552,)"
          R"("host_numa_node":1}],"threads":[{"name":"api","tid":4712}]}})");
}

TEST(Router, CountersAreNestedByDevice) {
  FakeVmControl vm;
  EXPECT_EQ(Called(vm, "GET", "vm.counters").body, R"({"disk0":{"read_bytes":4096,"write_bytes":0}})");
}

TEST(Router, ActionsReachTheMachine) {
  FakeVmControl vm;
  for (const char* verb :
       {"vm.power-button", "vm.pause", "vm.resume", "vm.reboot", "vm.shutdown", "vmm.shutdown"}) {
    HttpResponse response = Called(vm, "PUT", verb);
    EXPECT_EQ(response.status, 204) << verb;
    EXPECT_EQ(response.body, "") << verb;
  }
  EXPECT_EQ(vm.actions(), (std::vector<VmAction>{VmAction::kPowerButton, VmAction::kPause, VmAction::kResume,
                                                 VmAction::kReboot, VmAction::kShutdown, VmAction::kExit}));
}

TEST(Router, AWrongStateIsAConflictThatSaysWhy) {
  FakeVmControl vm;
  EXPECT_EQ(Called(vm, "PUT", "vm.pause").status, 204);

  HttpResponse response = Called(vm, "PUT", "vm.pause");

  EXPECT_EQ(response.status, 409);
  EXPECT_EQ(response.body,
            R"([{"code":"FAILED_PRECONDITION","message":"the machine is Paused","field":"state",)"
            R"("hint":"resume it first"}])");
}

TEST(Router, AnInternalFailureIs500) {
  FakeVmControl vm;
  vm.fail_reboot = true;
  EXPECT_EQ(Called(vm, "PUT", "vm.reboot").status, 500);
}

TEST(Router, RefusesOtherPathsMethodsAndBodies) {
  FakeVmControl vm;
  EXPECT_EQ(Called(vm, "GET", "vm.nothing").status, 404);
  EXPECT_EQ(Route({"GET", "/", "", true}, vm).status, 404);
  EXPECT_EQ(Route({"GET", "/api/v2/vm.info", "", true}, vm).status, 404);
  EXPECT_EQ(Called(vm, "GET", "vm.info?x=1").status, 404);
  HttpResponse wrong = Called(vm, "POST", "vm.info");
  EXPECT_EQ(wrong.status, 405);
  EXPECT_EQ(wrong.allow, "GET");
  EXPECT_EQ(Called(vm, "PUT", "vm.pause", "{}").status, 400);
  EXPECT_TRUE(vm.actions().empty());
}

}  // namespace
}  // namespace berth::vmm
