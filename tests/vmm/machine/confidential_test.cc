// Confidential guests on the machine: FakeKvm with private memory, and with TDX behind it.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/vmm/boot/kernel_image.h"
#include "tests/vmm/cvm/tdx_guest.h"
#include "vmm/api/router.h"
#include "vmm/bus/layout.h"
#include "vmm/config/json_config.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/preflight.h"
#include "vmm/machine/vmm.h"

namespace berth::vmm {
namespace {

class ConfidentialMachine : public testing::Test {
 protected:
  void SetUp() override {
    directory_ =
        testing::TempDir() + "confidential_" + testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::create_directories(directory_);
    KernelImage image;
    Put("vmlinuz", image.bytes());
    config_.kernel = directory_ + "/vmlinuz";
    config_.cmdline = "console=ttyS0";
    config_.memory.size = MiB(64);
    config_.serial.mode = SerialConfig::Mode::kNull;
    config_.rng.clear();
    config_.platform.confidential = ConfidentialKind::kSwProtected;
  }
  void TearDown() override {
    machine_.reset();
    std::filesystem::remove_all(directory_);
  }
  template <class Bytes>
  void Put(const std::string& name, const Bytes& bytes) {
    std::ofstream(directory_ + "/" + name, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<long>(bytes.size()));
  }
  Status Boot() {
    TRY_ASSIGN(machine_, Machine::Create(kvm_, config_, *loop_, [this](MachineEnd end) {
                 end_ = std::move(end);
                 loop_->Stop();
               }));
    return machine_->Boot();
  }
  MachineEnd RunToEnd() {
    EXPECT_TRUE(loop_->Run().ok());
    return end_;
  }
  static ScriptedExit PowerOff() {
    return ScriptedExit::Out(layout::kSleepControlPort, {layout::kSleepTypeS5 << 2 | layout::kSleepEnable});
  }
  // Results of the guest's calls, in their order.
  std::vector<int64_t> Results(uint32_t vcpu = 0) {
    std::vector<int64_t> results;
    const FakeVm vm = kvm_.vm();  // a copy
    for (const auto& data : vm.vcpus.at(vcpu).completed) {
      if (data.size() != 8) continue;
      int64_t value;
      std::memcpy(&value, data.data(), sizeof value);
      results.push_back(value);
    }
    return results;
  }

  void WaitForResults(size_t count) {
    for (int i = 0; i < 60'000 && Results().size() < count; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    ASSERT_EQ(Results().size(), count);
  }

  std::string directory_;
  FakeKvm kvm_;
  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create();
  VmConfig config_;
  MachineEnd end_;
  std::unique_ptr<Machine> machine_;
};

TEST_F(ConfidentialMachine, ConvertsWhatTheGuestAsksFor) {
  kvm_.Script(
      0, {ScriptedExit::MapGpa(0x1000000, 512, true), ScriptedExit::MapGpa(0x1000000, 1, false),
          ScriptedExit::MapGpa(0xfec00000, 1, true), ScriptedExit::MapGpa(0xfec00000, 1, false), PowerOff()});

  Status booted = Boot();
  ASSERT_TRUE(booted.ok()) << booted.ToString();
  EXPECT_EQ(RunToEnd().kind, MachineEnd::Kind::kPoweredOff) << end_.message;

  const FakeVm vm = kvm_.vm();
  EXPECT_EQ(vm.type, VmType::kSwProtected);
  EXPECT_TRUE(vm.map_gpa_exits);
  EXPECT_GE(vm.slots.at(0).guest_memfd, 0);
  EXPECT_TRUE(vm.IsPrivate(0x1001000, 511 * 4096));
  EXPECT_TRUE(vm.IsShared(0, 0x1001000));
  // To make a device's registers private is refused; to make them shared changes nothing.
  EXPECT_EQ(Results(), (std::vector<int64_t>{0, 0, EINVAL, 0}));
}

TEST_F(ConfidentialMachine, TellsWhatIsPrivateAndDumpsNothing) {
  kvm_.Script(0, {ScriptedExit::MapGpa(0x1000000, 512, true)});
  ASSERT_TRUE(Boot().ok());
  WaitForResults(1);
  ASSERT_TRUE(machine_->Perform(VmAction::kPause).ok());

  const VmFacts facts = machine_->Facts();

  ASSERT_TRUE(facts.confidential.has_value());
  EXPECT_EQ(facts.confidential->platform, "sw-protected");
  EXPECT_EQ(facts.confidential->private_bytes, 2u << 20);
  EXPECT_EQ(facts.confidential->shared_bytes, 62u << 20);
  EXPECT_EQ(facts.confidential->measurement, "");
  EXPECT_EQ(machine_->Counters()["conversions"]["to_private"], 1u);
  EXPECT_EQ(machine_->CoreDump(directory_ + "/core").code(), StatusCode::kFailedPrecondition);
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/core"));
}

// The host sees ciphertext, or nothing at all: what it would save is not the guest's memory.
constexpr char kNotSaved[] =
    "the memory of a confidential guest cannot be read by the host, so it cannot be saved";

TEST_F(ConfidentialMachine, ASnapshotIsRefusedWithTheReason) {
  for (const ConfidentialKind kind : {ConfidentialKind::kSwProtected, ConfidentialKind::kTdx}) {
    SCOPED_TRACE(ConfidentialName(kind));
    if (kind == ConfidentialKind::kTdx) UseTdx(kvm_, config_, directory_ + "/tdvf");
    Status booted = Boot();
    ASSERT_TRUE(booted.ok()) << booted.ToString();
    ASSERT_TRUE(machine_->Perform(VmAction::kPause).ok());

    const Status status = machine_->Snapshot(directory_ + "/snapshot");

    EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
    EXPECT_EQ(status.message(), kNotSaved);
    EXPECT_FALSE(std::filesystem::exists(directory_ + "/snapshot"));
    EXPECT_TRUE(machine_->Perform(VmAction::kResume).ok()) << "it goes on";
    machine_.reset();
  }
}

// A configuration may have been edited.
TEST_F(ConfidentialMachine, ASnapshotThatSaysItIsConfidentialIsNotRestored) {
  UseTdx(kvm_, config_, directory_ + "/tdvf");
  const VmConfig tdx = config_;
  Put("ovmf", MakeSevFirmware({{0x800000, 0x2000, 1}, {0x80d000, 0x1000, 2}, {0x80e000, 0x1000, 3}}));
  VmConfig snp = config_;
  snp.platform.confidential = ConfidentialKind::kSevSnp;
  snp.firmware = directory_ + "/ovmf";
  VmConfig software = config_;
  software.platform.confidential = ConfidentialKind::kSwProtected;
  software.firmware.reset();
  software.kernel = directory_ + "/vmlinuz";
  for (const VmConfig& config : {tdx, snp, software}) {
    SnapshotContent content;
    content.config = config;
    auto restored = Machine::Restore(kvm_, std::move(content), {}, *loop_, [](MachineEnd) {});
    ASSERT_FALSE(restored.has_value());
    EXPECT_EQ(restored.error().message(), kNotSaved) << ConfidentialName(config.platform.confidential);
  }
}

TEST_F(ConfidentialMachine, TheApiAnswersThatItIsNotSaved) {
  std::thread control([this] { EXPECT_TRUE(loop_->Run().ok()); });
  {
    Confinement confinement({}, false);
    Vmm vmm(kvm_, *loop_, [](MachineEnd) {}, nullptr, confinement);
    auto call = [&vmm](std::string verb, std::string body) {
      return Route({"PUT", "/api/v1/" + std::move(verb), std::move(body), true}, vmm);
    };
    ASSERT_EQ(call("vm.create", ConfigToJson(config_)).status, 204);
    ASSERT_EQ(call("vm.boot", "").status, 204);
    ASSERT_EQ(call("vm.pause", "").status, 204);

    const HttpResponse answer =
        call("vm.snapshot", R"({"destination_url":"file://)" + directory_ + R"(/snapshot"})");

    EXPECT_EQ(answer.status, 409);
    EXPECT_EQ(answer.body,
              R"([{"code":"FAILED_PRECONDITION","message":")" + std::string(kNotSaved) + R"("}])");
    EXPECT_EQ(call("vm.delete", "").status, 204);
  }
  loop_->Stop();
  control.join();
}

TEST_F(ConfidentialMachine, AFaultThatNobodyCanServeEndsTheGuest) {
  kvm_.Script(0, std::vector<ScriptedExit>(64, ScriptedExit::MemoryFault(0x1000000, 4096, true)));
  ASSERT_TRUE(Boot().ok());

  EXPECT_EQ(RunToEnd().kind, MachineEnd::Kind::kFailed);
  EXPECT_NE(end_.message.find("private access to 0x1000000"), std::string::npos) << end_.message;
}

TEST_F(ConfidentialMachine, AnOrdinaryGuestIsAnswered) {
  config_.platform.confidential = ConfidentialKind::kNone;
  kvm_.Script(0, {ScriptedExit::MapGpa(0x1000000, 1, true), PowerOff()});
  ASSERT_TRUE(Boot().ok());

  EXPECT_EQ(RunToEnd().kind, MachineEnd::Kind::kPoweredOff);
  EXPECT_EQ(Results(), (std::vector<int64_t>{-1000}));  // -KVM_ENOSYS
  EXPECT_EQ(kvm_.vm().type, VmType::kDefault);
}

TEST_F(ConfidentialMachine, ATdxGuestComesUpFromItsFirmware) {
  const auto tdx = UseTdx(kvm_, config_, directory_ + "/tdvf");
  config_.cpus.boot = 2;
  kvm_.Script(0, {ScriptedExit::MapGpa(0x1000000, 512, false), ScriptedExit::TdVmCall(0x10000, {0}),
                  ScriptedExit::MemoryFault(0x2000000, 4096, false), PowerOff()});

  Status booted = Boot();
  ASSERT_TRUE(booted.ok()) << booted.ToString();
  const VmFacts facts = machine_->Facts();
  EXPECT_EQ(RunToEnd().kind, MachineEnd::Kind::kPoweredOff) << end_.message;

  EXPECT_TRUE(tdx->final);
  EXPECT_EQ(tdx->vcpu_rcx.size(), 2u);
  const FakeVm vm = kvm_.vm();
  EXPECT_TRUE(vm.IsShared(0x1000000, 2 << 20)) << "the guest has asked for it";
  EXPECT_TRUE(vm.IsShared(0x2000000, 4096)) << "it has touched it as shared";
  EXPECT_TRUE(vm.IsPrivate(0, 0x1000000));
  EXPECT_TRUE(vm.IsPrivate(0xffffe000, 8192)) << "the firmware";
  EXPECT_EQ(Results(), (std::vector<int64_t>{0, 0}));
  ASSERT_TRUE(facts.confidential.has_value());
  EXPECT_EQ(facts.confidential->measurement, "mrtd");
  EXPECT_EQ(facts.confidential->digest.size(), 96u);
}

// Its memory is the private side: the other one is empty until the guest shares something, and again when it
// starts anew.
TEST_F(ConfidentialMachine, AGuestThatStartsPrivateTakesItsMemoryOnce) {
  const auto tdx = UseTdx(kvm_, config_, directory_ + "/tdvf");
  config_.memory.prefault = true;
  kvm_.Script(0, {ScriptedExit::MapGpa(0x1000000, 512, false)});
  ASSERT_TRUE(Boot().ok());
  WaitForResults(1);

  const auto resident = [this] {
    const MemorySlot ram = kvm_.vm().slots.at(0);
    std::vector<unsigned char> there(ram.size / 4096);
    EXPECT_EQ(::mincore(ram.host, ram.size, there.data()), 0);
    return std::count_if(there.begin(), there.end(), [](unsigned char page) { return (page & 1) != 0; });
  };
  EXPECT_EQ(resident(), 0);
  uint8_t* const host = kvm_.vm().slots.at(0).host;
  host[0x1000000] = 7;  // as the guest would, in what it has shared
  EXPECT_EQ(resident(), 1);
  struct stat file{};
  ASSERT_EQ(::fstat(kvm_.vm().slots.at(0).guest_memfd, &file), 0);
  EXPECT_EQ(file.st_blocks * 512, 62 << 20) << "all that is private, before the guest has touched it";

  kvm_.AddPlatform(std::make_shared<FakeTdx>());  // each TD has its own
  ASSERT_TRUE(machine_->Perform(VmAction::kReboot).ok());
  // The reset happens on the loop: until then the guest before would take what the next one shall do.
  std::thread guest([this] {
    while (kvm_.vms_created() < 2) std::this_thread::yield();
    kvm_.Script(0, {PowerOff()});
  });
  EXPECT_EQ(RunToEnd().kind, MachineEnd::Kind::kPoweredOff) << end_.message;
  guest.join();
  EXPECT_EQ(host[0x1000000], 0) << "nothing of the guest before";
}

TEST_F(ConfidentialMachine, PreflightNamesWhatTheHostLacks) {
  KvmCapabilities old = *kvm_.Probe();
  old.vm_types = 1;
  old.guest_memfd = false;
  kvm_.SetCapabilities(old);

  const std::string text = ToText(Preflight(config_, &kvm_));

  EXPECT_NE(
      text.find("error KvmVmType platform: KVM makes no software-protected VMs: KVM_CAP_VM_TYPES (capability "
                "235) is 0x1, bit 1 is needed"),
      std::string::npos)
      << text;
  EXPECT_NE(text.find("error KvmGuestMemfd platform: KVM lacks KVM_CAP_GUEST_MEMFD (capability 234)"),
            std::string::npos)
      << text;
  EXPECT_FALSE(Boot().ok());
}

// KVM refuses to change attributes: the page stays what it was, the guest hears of it and may try again.
TEST_F(ConfidentialMachine, AnAttributeThatKvmRefusesChangesNothing) {
  ASSERT_TRUE(Boot().ok());
  kvm_.FailCall(KvmCall::kSetPrivate, EIO);
  // An exit is over when the next one comes.
  kvm_.Script(0, {ScriptedExit::MapGpa(0x1000000, 512, true), ScriptedExit::Out(0x80, {1})});
  WaitForResults(1);
  EXPECT_TRUE(kvm_.vm().IsShared(0, 64 << 20));
  EXPECT_EQ(machine_->Facts().confidential->private_bytes, 0u);
  EXPECT_EQ(machine_->Counters()["conversions"]["undone"], 1u);
  EXPECT_EQ(machine_->Counters()["conversions"]["to_private"], 0u);

  kvm_.Script(0, {ScriptedExit::MapGpa(0x1000000, 512, true), ScriptedExit::Out(0x80, {1})});
  WaitForResults(2);
  EXPECT_TRUE(kvm_.vm().IsPrivate(0x1000000, 2 << 20));
  kvm_.FailCall(KvmCall::kSetPrivate, EIO);
  kvm_.Script(
      0, {ScriptedExit::MapGpa(0x1000000, 1, false), ScriptedExit::MapGpa(0x1000000, 1, false), PowerOff()});
  EXPECT_EQ(RunToEnd().kind, MachineEnd::Kind::kPoweredOff) << end_.message;
  EXPECT_TRUE(kvm_.vm().IsPrivate(0x1001000, 511 * 4096));
  EXPECT_TRUE(kvm_.vm().IsShared(0x1000000, 4096));
  const std::vector<int64_t> results = Results();
  ASSERT_EQ(results.size(), 4u);
  EXPECT_NE(results[0], 0);
  EXPECT_EQ(results[1], 0);
  EXPECT_NE(results[2], 0);
  EXPECT_EQ(results[3], 0);
}

// A guest that starts private does not start where its memory cannot be made so.
TEST_F(ConfidentialMachine, MemoryThatCannotBecomePrivateStartsNoGuest) {
  UseTdx(kvm_, config_, directory_ + "/tdvf");
  kvm_.FailCall(KvmCall::kSetPrivate, EIO);
  const Status status = Boot();
  EXPECT_FALSE(status.ok());
  EXPECT_NE(status.message().find("attributes: injected"), std::string::npos) << status.ToString();
}

// Whatever call of KVM fails while it comes up: the machine says so, and nothing is left behind.
TEST_F(ConfidentialMachine, SurvivesEveryFailureOfKvm) {
  for (KvmCall call : {KvmCall::kCreateVm, KvmCall::kEnableMapGpaExits, KvmCall::kCreateGuestMemfd,
                       KvmCall::kSetMemorySlot, KvmCall::kCreateVcpu}) {
    kvm_.FailCall(call, EIO);  // ENOMEM of attributes is tried again
    EXPECT_FALSE(Boot().ok()) << static_cast<int>(call);
    machine_.reset();
  }
  EXPECT_TRUE(Boot().ok());
}

}  // namespace
}  // namespace berth::vmm
