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
          R"("memory_regions":[{"zone":"mem0","base":0,"size":536870912,"plugged":536870912,"host_address":139637976727552,)"
          R"("host_numa_node":1}],"hotplug":[],"devices":[],"threads":[{"name":"api","tid":4712}]}})");
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

TEST(Router, ResizingReachesTheMachine) {
  FakeVmControl vm;
  EXPECT_EQ(Called(vm, "PUT", "vm.resize", R"({"desired_vcpus":4,"desired_ram":1073741824})").status, 204);
  EXPECT_EQ(Called(vm, "PUT", "vm.resize", R"({"desired_vcpus":2,"desired_ram":null,"timeout_ms":5})").status,
            204);
  EXPECT_EQ(Called(vm, "PUT", "vm.resize-zone", R"({"id":"m0","desired_ram":4096})").status, 204);
  EXPECT_EQ(vm.calls(),
            (std::vector<std::string>{"resize 4 1073741824 60000", "resize 2 0 5", "zone m0 4096 60000"}));
  HttpResponse refused = Called(vm, "PUT", "vm.resize", R"({"desired_vcpus":5})");
  EXPECT_EQ(refused.status, 400);
  EXPECT_EQ(refused.body,
            R"([{"code":"INVALID_ARGUMENT","message":"this one can have 1 to 4","field":"desired_vcpus"}])");
}

TEST(Router, DevicesComeAndGo) {
  FakeVmControl vm;
  HttpResponse added = Called(vm, "PUT", "vm.add-disk", R"({"path":"/x"})");
  EXPECT_EQ(added.body, R"({"id":"disk7","bdf":"0000:00:05.0"})");
  EXPECT_EQ(Called(vm, "PUT", "vm.add-net", "{}").status, 204);
  EXPECT_EQ(Called(vm, "PUT", "vm.remove-device", R"({"id":"disk7"})").status, 204);
  EXPECT_EQ(Called(vm, "PUT", "vm.remove-device", R"({"id":"x"})").status, 404);
  EXPECT_EQ(vm.calls(), (std::vector<std::string>{R"(add disk {"path":"/x"})", "add net {}",
                                                  "remove disk7 60000", "remove x 60000"}));
}

TEST(Router, BadBodiesNeverReachTheMachine) {
  FakeVmControl vm;
  for (const char* body : {"", "{", "[]", "3", R"({"desired_vcpu":4})", R"({"desired_vcpus":-1})", "{}",
                           R"({"desired_vcpus":4294967296})", R"({"desired_ram":"1G"})",
                           R"({"desired_ram":{"a":[[]]}})", R"({"desired_vcpus":1,"timeout_ms":86400001})"}) {
    EXPECT_EQ(Called(vm, "PUT", "vm.resize", body).status, 400) << body;
  }
  EXPECT_EQ(Called(vm, "PUT", "vm.resize-zone", R"({"desired_ram":4096})").status, 400);
  EXPECT_EQ(Called(vm, "PUT", "vm.remove-device", R"({"id":""})").status, 400);
  EXPECT_TRUE(vm.calls().empty());
}

TEST(Router, AVmIsCreatedBootedAndDeleted) {
  FakeVmControl vm;
  EXPECT_EQ(Called(vm, "PUT", "vm.create", R"({"payload":{}})").status, 204);
  EXPECT_EQ(Called(vm, "PUT", "vm.boot").status, 204);
  EXPECT_EQ(Called(vm, "PUT", "vm.delete").status, 204);
  EXPECT_EQ(Called(vm, "PUT", "vm.resize-disk", R"({"id":"d","desired_size":512})").status, 204);
  EXPECT_EQ(Called(vm, "PUT", "vm.resize-disk", R"({"id":"d"})").status, 400);
  EXPECT_EQ(Called(vm, "PUT", "vm.nmi").status, 204);
  EXPECT_EQ(vm.calls(),
            (std::vector<std::string>{R"(create {"payload":{}})", "boot", "delete", "disk d 512"}));
}

TEST(Router, ACoreFileGoesToAFileUrl) {
  FakeVmControl vm;
  EXPECT_EQ(Called(vm, "PUT", "vm.coredump", R"({"destination_url":"file:///tmp/core"})").status, 204);
  for (const char* url : {"/tmp/core", "file://", "file://core", "http://host/core"})
    EXPECT_EQ(Called(vm, "PUT", "vm.coredump", R"({"destination_url":")" + std::string(url) + R"("})").status,
              400);
  EXPECT_EQ(vm.calls(), (std::vector<std::string>{"core /tmp/core"}));
}

TEST(Router, SnapshotsGoToDirectoriesAndComeBack) {
  FakeVmControl vm;
  EXPECT_EQ(Called(vm, "PUT", "vm.snapshot", R"({"destination_url":"file:///s"})").status, 204);
  EXPECT_EQ(Called(vm, "PUT", "vm.snapshot", R"({"destination_url":"/s"})").status, 400);
  vm.present = false;
  EXPECT_EQ(Called(vm, "PUT", "vm.snapshot", R"({"destination_url":"file:///s"})").status, 404);
  EXPECT_EQ(Called(vm, "PUT", "vm.restore", R"({"source_url":"file:///s"})").status, 204);
  EXPECT_EQ(Called(vm, "PUT", "vm.restore",
                   R"({"source_url":"file:///s","memory_restore_mode":"OnDemand","resume":true})")
                .status,
            204);
  EXPECT_EQ(
      Called(vm, "PUT", "vm.restore",
             R"({"source_url":"file:///s","prefault":false,"memory_restore_mode":"Copy","net_fds":null})")
          .status,
      204);
  for (const char* body :
       {R"({})", R"({"source_url":"s"})", R"({"source_url":"file:///s","prefault":1})",
        R"({"source_url":"file:///s","memory_restore_mode":"lazy"})",
        R"({"source_url":"file:///s","iommufd_fd":7})",
        R"({"source_url":"file:///s","memory_restore_mode":"OnDemand","prefault":true})"}) {
    EXPECT_EQ(Called(vm, "PUT", "vm.restore", body).status, 400) << body;
  }
  EXPECT_EQ(vm.calls(), (std::vector<std::string>{"snapshot /s", "restore /s", "restore /s on-demand resume",
                                                  "restore /s lazy"}));
}

// As many descriptors as wanted, of a pipe.
std::vector<UniqueFd> Descriptors(size_t count) {
  std::vector<UniqueFd> fds;
  while (fds.size() < count) {
    int ends[2];
    if (pipe(ends) != 0) break;
    fds.emplace_back(ends[0]);
    UniqueFd other(ends[1]);
    if (fds.size() < count) fds.push_back(std::move(other));
  }
  return fds;
}

TEST(Router, ARestoreGivesDescriptorsToNetworkDevices) {
  auto called = [](FakeVmControl& vm, const std::string& nets, size_t fds) {
    return Route({"PUT", "/api/v1/vm.restore", R"({"source_url":"file:///s","net_fds":)" + nets + "}", true},
                 vm, Descriptors(fds));
  };
  FakeVmControl vm;
  EXPECT_EQ(called(vm, R"([{"id":"n1","num_fds":2},{"id":"n2","num_fds":1,"fds":null}])", 3).status, 204);
  EXPECT_EQ(called(vm, R"([{"id":"n1"}])", 0).status, 204) << "the snapshot says how many it needs";
  EXPECT_EQ(called(vm, "[]", 0).status, 204);
  EXPECT_EQ(vm.calls(), (std::vector<std::string>{"restore /s n1:2 n2:1", "restore /s n1:0", "restore /s"}));

  struct Case {
    const char* nets;
    size_t fds;
    const char* field;
    const char* message;
  };
  for (const Case& one : {
           Case{R"([{"id":"n1","num_fds":1},{"id":"n2","num_fds":2}])", 2, "net_fds",
                "network device n2 is to have 2 descriptors, and 1 came for it with the request"},
           Case{R"([{"id":"n1","num_fds":1}])", 2, "net_fds",
                "2 descriptors came, 1 of them for a network device: n1 is to have 1"},
           Case{"null", 1, "net_fds", "1 descriptors came, 0 of them for a network device"},
           Case{R"([{"id":"n1","num_fds":1,"fds":[7]}])", 1, "net_fds",
                "network device n1: descriptors do not travel in a text"},
           Case{R"([{"num_fds":1}])", 1, "net_fds[0].id", "is missing"},
           Case{R"([{"id":"n1","num_fds":-1}])", 1, "net_fds[0].num_fds",
                "not an unsigned integer up to 65535"},
           Case{R"([{"id":"n1"},{"id":"n2","number":1}])", 1, "net_fds[1].number", "unknown field"},
           Case{R"([7])", 0, "net_fds[0]", "not an object"},
           Case{R"({"id":"n1"})", 0, "net_fds", "not a list"},
           Case{R"([{"id":"n1","fds":[[7]]}])", 0, "body", "not a JSON object of plain fields"},
       }) {
    const HttpResponse response = called(vm, one.nets, one.fds);
    EXPECT_EQ(response.status, 400) << one.nets;
    EXPECT_NE(response.body.find(std::string(R"("message":")") + one.message + '"'), std::string::npos)
        << response.body;
    EXPECT_NE(response.body.find(std::string(R"("field":")") + one.field + '"'), std::string::npos)
        << response.body;
  }
  EXPECT_EQ(vm.calls().size(), 3u);
}

TEST(Router, WithoutAVmOnlyWhatNeedsNoneIsServed) {
  FakeVmControl vm;
  vm.present = false;
  for (const char* verb : {"vm.info", "vm.counters", "vm.accounting", "vm.placement"})
    EXPECT_EQ(Called(vm, "GET", verb).status, 404) << verb;
  EXPECT_EQ(Called(vm, "PUT", "vm.delete").status, 204) << "it is gone";
  for (const char* verb : {"vm.boot", "vm.pause", "vm.reboot"})
    EXPECT_EQ(Called(vm, "PUT", verb).status, 404) << verb;
  EXPECT_EQ(Called(vm, "GET", "vmm.ping").status, 200);
  EXPECT_EQ(Called(vm, "PUT", "vm.preflight", "{}").body, "[]");
  EXPECT_EQ(Called(vm, "PUT", "vm.preflight", "bad").status, 400);
  EXPECT_EQ(Called(vm, "PUT", "vmm.shutdown").status, 204);
}

TEST(Router, AllErrorsOfAConfigurationAreObjectsOfTheirOwn) {
  FakeVmControl vm;
  vm.wrong = {{"InvalidValue", "cpus", "boot", "0", "no vCPU", "1 to 254", ""},
              {"KernelMissing", "kernel", "", "", "nothing to boot", "", "give --kernel"}};
  const std::string body =
      R"([{"code":"InvalidValue","option":"cpus","key":"boot","value":"0","message":"no vCPU",)"
      R"("allowed":"1 to 254","hint":""},{"code":"KernelMissing","option":"kernel","key":"","value":"",)"
      R"("message":"nothing to boot","allowed":"","hint":"give --kernel"}])";
  for (const char* verb : {"vm.create", "vm.preflight", "vm.add-disk", "vm.add-net", "vm.add-device"}) {
    HttpResponse response = Called(vm, "PUT", verb, "{}");
    EXPECT_EQ(response.status, 400) << verb;
    EXPECT_EQ(response.body, body) << verb;
  }
  EXPECT_TRUE(vm.calls().empty());

  vm.wrong = {{"IdentifierNotUnique", "disk[1]", "id", "d0", "stands for another device", "", ""}};
  EXPECT_EQ(Called(vm, "PUT", "vm.add-disk", "{}").status, 409);
}

TEST(Router, AFileThatIsMissingIsNoMissingVm) {
  FakeVmControl vm;
  for (StatusCode code : {StatusCode::kNotFound, StatusCode::kPermissionDenied}) {
    vm.boot_fails = Status(code, "open /x", "disk disk0");
    EXPECT_EQ(Called(vm, "PUT", "vm.boot").status, 400);
  }
  vm.boot_fails = NotFound("no VM", "id");
  EXPECT_EQ(Called(vm, "PUT", "vm.boot").status, 404);
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
