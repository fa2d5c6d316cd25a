// berth-vmmctl mirrors each verb of the API, in the forms of ch-remote as well.
#include <gtest/gtest.h>
#include <unistd.h>

#include <map>
#include <sstream>

#include "common/unique_fd.h"
#include "tests/vmm/api/fake_vm_control.h"
#include "vmm/api/router.h"
#include "vmm/ctl/ctl.h"
#include "vmm/ctl/verb_body.h"

namespace berth::vmm {
namespace {

using Arguments = std::vector<std::string>;

HttpResponse Called(VmControl& control, const ApiVerb& verb, const std::string& body) {
  return Route({std::string(verb.method), std::string(kApiBase) + std::string(verb.name), body, true},
               control);
}

// What a user writes behind the verb. Verbs that are not here take nothing.
const std::map<std::string_view, Arguments> kArguments = {
    {"vm.create", {BERTH_SOURCE_DIR "/tests/vmm/api/vm.json"}},
    {"vm.resize", {"--cpus", "2"}},
    {"vm.resize-zone", {"--id", "a", "--size", "1G"}},
    {"vm.resize-disk", {"--disk", "d", "--size", "1G"}},
    {"vm.add-disk", {"path=/d"}},
    {"vm.add-net", {"tap=t"}},
    {"vm.add-device", {"path=/sys/bus/pci/devices/0000:00:01.0"}},
    {"vm.add-vsock", {"cid=3,socket=/v"}},
    {"vm.remove-device", {"disk7"}},
    {"vm.coredump", {"file:///c"}},
    {"vm.snapshot", {"file:///s"}},
    {"vm.restore", {"source_url=file:///s,prefault=on"}},
};

TEST(CtlVerbs, EachVerbOfTheApiCanBeCalled) {
  for (const ApiVerb& verb : ApiVerbs()) {
    const auto given = kArguments.find(verb.name);
    const Arguments arguments = given == kArguments.end() ? Arguments() : given->second;
    Result<std::string> body = VerbBody(verb.name, arguments);
    ASSERT_TRUE(body.has_value()) << verb.name << ": " << body.status().ToString();
    FakeVmControl vm;
    EXPECT_LT(Called(vm, verb, *body).status, 300) << verb.name << " " << *body;
  }
  EXPECT_EQ(*VerbBody("vm.add-device", {"path=/sys/bus/pci/devices/0000:00:01.0"}),
            R"({"path":"/sys/bus/pci/devices/0000:00:01.0"})");
}

TEST(CtlVerbs, HelpNamesEachVerbAndItsArguments) {
  std::ostringstream out, err;
  ASSERT_EQ(RunCtl({"--help"}, out, err), 0);
  for (const ApiVerb& verb : ApiVerbs()) EXPECT_NE(out.str().find(verb.name), std::string::npos) << verb.name;
  const std::string arguments = out.str().substr(out.str().find("\narguments:"));
  for (const auto& [verb, unused] : kArguments)
    EXPECT_NE(arguments.find(verb.substr(3)), std::string::npos) << verb;
}

TEST(CtlVerbs, RestoreTakesTheFormOfChRemote) {
  EXPECT_EQ(*VerbBody("vm.restore", {"source_url=file:///s,prefault=on,memory_restore_mode=OnDemand"}),
            R"({"memory_restore_mode":"ondemand","prefault":true,"source_url":"file:///s"})");
  FakeVmControl vm;
  for (const char* mode : {"ondemand", "OnDemand"}) {
    Result<std::string> body = VerbBody("vm.restore", {"file:///s", "--memory-restore-mode", mode});
    ASSERT_TRUE(body.has_value());
    EXPECT_EQ(Called(vm, {"vm.restore", "PUT", ""}, *body).status, 204) << *body;
    EXPECT_EQ(vm.calls().back(), "restore /s on-demand");
  }
}

TEST(CtlVerbs, CreateWithoutAFileReadsStandardInput) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  ASSERT_EQ(write(ends[1], "{\"a\":1}", 7), 7);
  close(ends[1]);
  const UniqueFd before(dup(STDIN_FILENO));
  ASSERT_EQ(dup2(ends[0], STDIN_FILENO), STDIN_FILENO);
  close(ends[0]);

  Result<std::string> body = VerbBody("vm.create", {});

  if (before.valid()) dup2(before.get(), STDIN_FILENO);
  ASSERT_TRUE(body.has_value()) << body.status().ToString();
  EXPECT_EQ(*body, "{\"a\":1}");
  EXPECT_EQ(VerbBody("vm.create", {"a", "b"}).status().code(), StatusCode::kInvalidArgument);
}

TEST(CtlVerbs, ErrorsAmongFindingsAreToldFromWarnings) {
  EXPECT_TRUE(HasErrorFindings(R"([{"severity":"warning"},{"severity":"error","code":"KvmMissing"}])"));
  EXPECT_FALSE(HasErrorFindings(R"([{"severity":"warning"}])"));
  EXPECT_FALSE(HasErrorFindings("[]"));
  EXPECT_FALSE(HasErrorFindings("not JSON"));
}

TEST(CtlVerbs, VerbsOfCloudHypervisorThatAreNotCarriedOutSayWhy) {
  FakeVmControl vm;
  for (const char* verb : {"vm.add-fs", "vm.add-pmem", "vm.add-vdpa", "vm.add-user-device",
                           "vm.add-generic-vhost-user", "vm.send-migration", "vm.receive-migration"}) {
    HttpResponse response = Called(vm, {verb, "PUT", ""}, "{}");
    EXPECT_EQ(response.status, 501) << verb;
    EXPECT_NE(response.body.find("not supported: "), std::string::npos) << response.body;
    std::ostringstream out, err;
    EXPECT_EQ(RunCtl({"--api-socket", "/nonexistent", std::string(verb).substr(3)}, out, err), 2);
    EXPECT_NE(err.str().find("not supported: "), std::string::npos) << err.str();
  }
  EXPECT_EQ(Called(vm, {"vm.add-colour", "PUT", ""}, "{}").status, 404);
}

TEST(CtlVerbs, ShutdownVmmIsAnotherNameOfVmmShutdown) {
  std::ostringstream out, err;
  EXPECT_EQ(RunCtl({"--api-socket", "/nonexistent", "shutdown-vmm"}, out, err), 1)
      << "known, but nobody listens";
}

}  // namespace
}  // namespace berth::vmm
