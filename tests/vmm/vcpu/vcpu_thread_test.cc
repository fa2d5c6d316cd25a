#include "vmm/vcpu/vcpu_thread.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/sysinfo.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "common/file.h"
#include "vmm/kvm/fake_kvm.h"

namespace berth::vmm {
namespace {

// Reads give 0x40 + offset; writes are kept.
class Recorder : public BusDevice {
 public:
  void Read(uint64_t offset, std::span<uint8_t> data) override {
    for (size_t i = 0; i < data.size(); i++) data[i] = static_cast<uint8_t>(0x40 + offset + i);
  }
  void Write(uint64_t offset, std::span<const uint8_t> data) override {
    std::lock_guard lock(mutex);
    for (uint8_t byte : data) writes.emplace_back(offset, byte);
    changed.notify_all();
  }
  // Waits until `count` bytes were written.
  std::vector<std::pair<uint64_t, uint8_t>> Await(size_t count) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return writes.size() >= count; });
    return writes;
  }

  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::pair<uint64_t, uint8_t>> writes;
};

// A conversion that cannot be done until somebody allows it.
class SlowRequests : public ConfidentialRequests {
 public:
  Result<uint64_t> MapGpaRange(uint32_t, uint64_t, uint64_t, uint64_t, const VcpuRest& rest) override {
    while (!allowed) {
      ++tries;
      if (!rest(std::chrono::milliseconds(1))) {
        stopped = true;
        return 11;
      }
    }
    return 7;
  }
  Status MemoryFault(uint32_t, const MemoryFaultExit&) override { return OkStatus(); }
  void TdVmCall(uint32_t, const TdxExit&) override {}
  // Until it has been tried once more.
  void AwaitTry() {
    for (const int before = tries; tries == before;) std::this_thread::yield();
  }

  std::atomic<bool> allowed = false, stopped = false;
  std::atomic<int> tries = 0;
};

class VcpuThreadTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(ports_.Insert(0x80, 0x10, device_, "ports").ok());
    ASSERT_TRUE(mmio_.Insert(0xd0000000, 0x1000, device_, "mmio").ok());
  }

  Result<std::unique_ptr<VcpuThread>> Start(const CpuSet& affinity = {}, uint32_t id = 0) {
    VcpuTargets targets;
    targets.ports = &ports_;
    targets.mmio = &mmio_;
    targets.requests = &requests_;
    targets.end_of_interrupt = [this](uint8_t vector) { device_->Write(1000, {&vector, 1}); };
    return VcpuThread::Create(id, *vm_->CreateVcpu(id), affinity, targets, [this](uint32_t, VcpuEnding e) {
      std::lock_guard lock(mutex_);
      endings_.push_back(std::move(e));
      changed_.notify_all();
    });
  }

  VcpuEnding AwaitEnding() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !endings_.empty(); });
    return endings_[0];
  }

  FakeKvm kvm_;
  std::unique_ptr<KvmVm> vm_ = *kvm_.CreateVm();
  Bus ports_, mmio_;
  SlowRequests requests_;
  std::shared_ptr<Recorder> device_ = std::make_shared<Recorder>();
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<VcpuEnding> endings_;
};

TEST_F(VcpuThreadTest, APauseDoesNotWaitForWhatTheGuestHasAskedFor) {
  kvm_.Script(0, {ScriptedExit::MapGpa(0, 1, true), ScriptedExit::Out(0x80, {1})});
  auto vcpu = *Start();
  for (int i = 0; i < 20; ++i) {
    vcpu->Run();
    requests_.AwaitTry();

    vcpu->Pause();

    const int tries = requests_.tries;
    std::this_thread::sleep_for(std::chrono::milliseconds(3));
    EXPECT_EQ(requests_.tries, tries);
  }
  EXPECT_TRUE(vcpu->State().has_value());
  EXPECT_TRUE(device_->writes.empty());
  vcpu->Run();
  EXPECT_FALSE(vcpu->State().has_value());
  requests_.allowed = true;
  device_->Await(1);
  vcpu->Pause();
  EXPECT_FALSE(requests_.stopped);
}

TEST_F(VcpuThreadTest, AStopDoesNotWaitForItEither) {
  for (bool paused : {false, true}) {
    requests_.stopped = false;
    const uint32_t id = paused ? 1 : 0;
    kvm_.Script(id, {ScriptedExit::MapGpa(0, 1, true), ScriptedExit::Out(0x80, {1})});
    auto vcpu = *Start({}, id);
    vcpu->Run();
    requests_.AwaitTry();
    if (paused) vcpu->Pause();

    vcpu->Stop();

    EXPECT_TRUE(requests_.stopped);
    EXPECT_TRUE(device_->writes.empty());
  }
}

TEST_F(VcpuThreadTest, TellsItsStateFromItsFirstMomentOn) {
  for (uint32_t id = 0; id < 16; ++id) {  // as many as the fake has
    auto vcpu = Start({}, id);
    ASSERT_TRUE(vcpu.has_value()) << vcpu.error().ToString();
    EXPECT_TRUE((*vcpu)->Save().has_value()) << id;
  }
}

TEST_F(VcpuThreadTest, ServesPortsMmioAndEndsOfInterrupts) {
  kvm_.Script(0, {ScriptedExit::Out(0x82, {1, 2, 3}),
                  ScriptedExit::In(0x80, 2, 2),
                  ScriptedExit::MmioWrite(0xd0000010, {9}),
                  ScriptedExit::MmioRead(0xd0000001, 4),
                  {EoiExit{0x31}, {}}});
  auto vcpu = *Start();

  vcpu->Run();

  std::vector<std::pair<uint64_t, uint8_t>> writes = {{2, 1}, {2, 2}, {2, 3}, {0x10, 9}, {1000, 0x31}};
  EXPECT_EQ(device_->Await(5), writes);
  vcpu->Stop();
  auto completed = kvm_.vm().vcpus.at(0).completed;
  ASSERT_EQ(completed.size(), 4u);
  EXPECT_EQ(completed[1], (std::vector<uint8_t>{0x40, 0x41}));
  EXPECT_EQ(completed[3], (std::vector<uint8_t>{0x41, 0x42, 0x43, 0x44}));
  EXPECT_GE(vcpu->exits(), 5u);
}

TEST_F(VcpuThreadTest, ReadsOnesWhereNothingIs) {
  kvm_.Script(
      0, {ScriptedExit::In(0x3f8, 1), ScriptedExit::MmioRead(0xe0000000, 8), ScriptedExit::Out(0x80, {1})});
  auto vcpu = *Start();

  vcpu->Run();
  device_->Await(1);
  vcpu->Stop();

  auto completed = kvm_.vm().vcpus.at(0).completed;
  EXPECT_EQ(completed[0], std::vector<uint8_t>(1, 0xff));
  EXPECT_EQ(completed[1], std::vector<uint8_t>(8, 0xff));
}

TEST_F(VcpuThreadTest, DoesNotRunBeforeItIsTold) {
  kvm_.Script(0, {ScriptedExit::Out(0x80, {1})});
  auto vcpu = *Start();

  vcpu->Pause();

  EXPECT_TRUE(device_->writes.empty());
  EXPECT_EQ(vcpu->exits(), 0u);
}

TEST_F(VcpuThreadTest, GoesOnAfterAPause) {
  auto vcpu = *Start();
  for (uint8_t round = 0; round < 20; round++) {
    vcpu->Run();
    kvm_.Script(0, {ScriptedExit::Out(0x80, {round})});
    device_->Await(round + 1u);
    vcpu->Pause();
  }
  EXPECT_EQ(device_->writes.size(), 20u);
  EXPECT_EQ(kvm_.vm().vcpus.at(0).completed.size(), 20u);  // nothing is left half done
}

// The pause often comes before the thread has woken up for the run.
TEST_F(VcpuThreadTest, PausesRightAfterItWasToldToRun) {
  auto thread = Start();
  ASSERT_TRUE(thread.has_value());

  for (int i = 0; i < 500; ++i) {
    (*thread)->Run();
    (*thread)->Pause();
  }

  (*thread)->Stop();
}

TEST_F(VcpuThreadTest, StopsWhileItWaitsInTheGuest) {
  auto vcpu = *Start();
  vcpu->Run();

  vcpu->Stop();
  vcpu->Run();  // too late
  vcpu->Stop();
}

TEST_F(VcpuThreadTest, ReportsWhyTheGuestEnded) {
  struct Case {
    VcpuExit exit;
    VcpuEnd end;
    std::string begins;
  };
  InternalErrorExit emulation;
  emulation.suberror = KVM_INTERNAL_ERROR_EMULATION;
  emulation.data = {0x0f, 0x0b};
  const Case cases[] = {
      {ShutdownExit{}, VcpuEnd::kReset, "triple fault at rip=0"},
      {SystemEventExit{KVM_SYSTEM_EVENT_RESET}, VcpuEnd::kReset, "system event: reset"},
      {SystemEventExit{KVM_SYSTEM_EVENT_SHUTDOWN}, VcpuEnd::kPowerOff, "system event: shutdown"},
      {SystemEventExit{KVM_SYSTEM_EVENT_CRASH}, VcpuEnd::kFailed, "system event: the guest has crashed"},
      {EntryFailureExit{0x80000021}, VcpuEnd::kFailed,
       "the processor refused to enter the guest, hardware reason 0x80000021 at rip="},
      {emulation, VcpuEnd::kFailed, "KVM met an instruction that KVM cannot emulate at rip="},
      {HaltExit{}, VcpuEnd::kFailed, "halted with no interrupt that could wake it"},
      {OtherExit{99}, VcpuEnd::kFailed, "unknown KVM exit 99"},
  };
  uint32_t id = 0;
  for (const Case& c : cases) {
    kvm_.Script(id, {{c.exit, {}}});
    auto vcpu = *Start({}, id++);
    vcpu->Run();
    VcpuEnding ending = AwaitEnding();
    EXPECT_EQ(ending.end, c.end);
    EXPECT_TRUE(ending.message.starts_with(c.begins)) << ending.message;
    vcpu->Pause();  // does not wait for a vCPU that has ended
    std::lock_guard lock(mutex_);
    endings_.clear();
  }
}

TEST_F(VcpuThreadTest, ReportsAFailureOfKvm) {
  kvm_.FailCall(KvmCall::kRun, ENOMEM);
  auto vcpu = *Start();

  vcpu->Run();

  EXPECT_EQ(AwaitEnding().end, VcpuEnd::kFailed);
  EXPECT_EQ(endings_[0].message, "RESOURCE_EXHAUSTED: injected: Cannot allocate memory");
}

TEST_F(VcpuThreadTest, BindsItsThreadBeforeTheGuestRuns) {
  cpu_set_t allowed;
  ASSERT_EQ(::sched_getaffinity(0, sizeof allowed, &allowed), 0);
  uint32_t cpu = 0;
  while (!CPU_ISSET(cpu, &allowed)) cpu++;

  auto vcpu = *Start({cpu});

  const std::string task = "/proc/self/task/" + std::to_string(vcpu->thread_id());
  EXPECT_EQ(*ReadFile(task + "/comm"), "vcpu0\n");
  EXPECT_NE(ReadFile(task + "/status")->find("Cpus_allowed_list:\t" + std::to_string(cpu) + "\n"),
            std::string::npos);
}

TEST_F(VcpuThreadTest, RefusesHostCpusThatAreNotThere) {
  auto none = Start({60000});
  EXPECT_EQ(none.status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(none.status().message(), "vCPU 0: run on host CPUs 60000: Invalid argument");
  EXPECT_EQ(none.status().field(), "cpus.affinity");

  CpuSet some = {60000};
  cpu_set_t allowed;
  ASSERT_EQ(::sched_getaffinity(0, sizeof allowed, &allowed), 0);
  for (uint32_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    if (CPU_ISSET(cpu, &allowed)) some.Add(cpu);
  }
  EXPECT_EQ(Start(some, 1).status().message(), "vCPU 1: run on host CPUs " + some.ToString() +
                                                   ": 60000 are offline, absent or outside of the cpuset");
}

}  // namespace
}  // namespace berth::vmm
