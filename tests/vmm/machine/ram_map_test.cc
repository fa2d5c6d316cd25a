#include "vmm/machine/ram_map.h"

#include <gtest/gtest.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <future>
#include <thread>

#include "vmm/kvm/fake_kvm.h"
#include "vmm/memory/zoned_memory.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kBase = uint64_t{4} << 30;

// Adds up what it was told, and refuses when told to.
class Listener : public MemoryListener {
 public:
  Status OnAdded(const MemoryRegion& run) override {
    if (refuse) return ResourceExhausted("no entries left");
    runs[Raw(run.base)] = run.size;
    return OkStatus();
  }
  Status OnRemoved(Gpa base, uint64_t size) override {
    EXPECT_EQ(runs[Raw(base)], size);
    if (keep) return Internal("the device holds on to it");
    runs.erase(Raw(base));
    return OkStatus();
  }
  std::map<uint64_t, uint64_t> runs;
  bool refuse = false;
  bool keep = false;
};

class RamMapTest : public ::testing::Test {
 protected:
  void SetUp() override {
    MemoryZoneConfig zone;
    zone.id = "a";
    zone.size = MiB(4);
    zone.hotplug_size = GiB(1);
    memory_ = *ZonedMemory::Create({zone}, HotplugMethod::kVirtioMem);
    vm_ = *kvm_.CreateVm();
    slots_.emplace(*vm_, 8);
    ram_.emplace(memory_->memory(), *slots_);
    ASSERT_TRUE(ram_->MapAll().ok());
  }
  const MemoryRegion& area() { return memory_->memory().hotplug_areas()[0]; }

  FakeKvm kvm_;
  std::unique_ptr<ZonedMemory> memory_;
  std::unique_ptr<KvmVm> vm_;
  std::optional<MemorySlots> slots_;
  std::optional<RamMap> ram_;
};

TEST_F(RamMapTest, AChunkHasASlotWhileAnyBlockOfItIsPlugged) {
  EXPECT_EQ(kvm_.vm().slots.size(), 1u);

  ASSERT_TRUE(ram_->Plug(area(), 126 * kMiB, 4 * kMiB).ok());  // across two chunks of 128 MiB
  ASSERT_EQ(kvm_.vm().slots.size(), 3u);
  EXPECT_EQ(Raw(kvm_.vm().slots.at(1).gpa), kBase);
  EXPECT_EQ(kvm_.vm().slots.at(1).size, 128 * kMiB);
  EXPECT_EQ(Raw(kvm_.vm().slots.at(2).gpa), kBase + 128 * kMiB);
  ASSERT_TRUE(ram_->Plug(area(), 0, 2 * kMiB).ok());
  EXPECT_EQ(kvm_.vm().slots.size(), 3u);

  ASSERT_TRUE(ram_->Unplug(area(), 126 * kMiB, 4 * kMiB).ok());
  EXPECT_EQ(kvm_.vm().slots.size(), 2u);
  ASSERT_TRUE(ram_->Unplug(area(), 0, 2 * kMiB).ok());
  EXPECT_EQ(kvm_.vm().slots.size(), 1u);
}

TEST_F(RamMapTest, ListenersHearOfAllRamThenOfChanges) {
  ASSERT_TRUE(ram_->Plug(area(), 0, 2 * kMiB).ok());
  Listener listener;
  ASSERT_TRUE(ram_->AddListener(listener).ok());
  EXPECT_EQ(listener.runs, (std::map<uint64_t, uint64_t>{{0, 4 * kMiB}, {kBase, 2 * kMiB}}));

  ASSERT_TRUE(ram_->Plug(area(), 8 * kMiB, 4 * kMiB).ok());
  EXPECT_EQ(listener.runs[kBase + 8 * kMiB], 4 * kMiB);
  ASSERT_TRUE(ram_->Unplug(area(), 8 * kMiB, 4 * kMiB).ok());
  EXPECT_EQ(listener.runs.size(), 2u);
  ram_->RemoveListener(listener);
  ASSERT_TRUE(ram_->Plug(area(), 8 * kMiB, 4 * kMiB).ok());
  EXPECT_EQ(listener.runs.size(), 2u);
}

// Whatever fails, nothing has changed.
TEST_F(RamMapTest, APlugThatFailsLeavesNothingBehind) {
  Listener first, second;
  ASSERT_TRUE(ram_->AddListener(first).ok());
  ASSERT_TRUE(ram_->AddListener(second).ok());
  auto unchanged = [&] {
    EXPECT_EQ(area().plug->plugged(), 0u);
    EXPECT_EQ(kvm_.vm().slots.size(), 1u);
    EXPECT_EQ(first.runs.size(), 1u);
    EXPECT_EQ(second.runs.size(), 1u);
  };

  second.refuse = true;
  EXPECT_EQ(ram_->Plug(area(), 0, 2 * kMiB).code(), StatusCode::kResourceExhausted);
  unchanged();
  second.refuse = false;
  for (uint32_t after : {0u, 1u}) {
    kvm_.FailCall(KvmCall::kSetMemorySlot, ENOMEM, after);
    EXPECT_FALSE(ram_->Plug(area(), 126 * kMiB, 4 * kMiB).ok());
    unchanged();
  }
  EXPECT_TRUE(ram_->Plug(area(), 126 * kMiB, 4 * kMiB).ok());
}

// What a device may still write to is neither given back nor taken for unplugged.
TEST_F(RamMapTest, AnUnplugThatADeviceRefusesLeavesTheMemoryAsItIs) {
  Listener first, second;
  ASSERT_TRUE(ram_->AddListener(first).ok());
  ASSERT_TRUE(ram_->AddListener(second).ok());
  ASSERT_TRUE(ram_->Plug(area(), 0, 2 * kMiB).ok());
  area().host[4096] = 0x5a;
  second.keep = true;

  EXPECT_FALSE(ram_->Unplug(area(), 0, 2 * kMiB).ok());

  EXPECT_EQ(area().plug->plugged(), 2 * kMiB);
  EXPECT_EQ(kvm_.vm().slots.size(), 2u);
  EXPECT_EQ(area().host[4096], 0x5a);
  EXPECT_EQ(first.runs.size(), 2u);  // was told again
  EXPECT_EQ(second.runs.size(), 2u);
  second.keep = false;
  EXPECT_TRUE(ram_->Unplug(area(), 0, 2 * kMiB).ok());
  EXPECT_EQ(area().host[4096], 0);
}

TEST_F(RamMapTest, NothingIsPluggedWhileItIsHeldStill) {
  std::thread plugger;
  const Status refused = ResourceExhausted("as the work says");
  EXPECT_EQ(ram_->Still([&] {
    std::promise<void> started;
    plugger = std::thread([&] {
      started.set_value();
      EXPECT_TRUE(ram_->Plug(area(), 0, 2 * kMiB).ok());
    });
    started.get_future().wait();
    for (int i = 0; i < 1000; ++i) {
      std::this_thread::yield();
      EXPECT_EQ(area().plug->plugged(), 0u);
    }
    return refused;
  }),
            refused);
  plugger.join();
  EXPECT_EQ(area().plug->plugged(), 2 * kMiB);
}

// Its guest would have touched it, and met a SIGBUS.
TEST_F(RamMapTest, NothingIsPluggedThatTheFileSystemHasNoRoomFor) {
  struct statfs info{};
  const bool tmpfs = ::statfs("/dev/shm", &info) == 0 && info.f_type == TMPFS_MAGIC && info.f_blocks > 0;
  if (!tmpfs) GTEST_SKIP() << "/dev/shm is no tmpfs with a limit: there is no file system to fill";
  const uint64_t total = (info.f_blocks * static_cast<uint64_t>(info.f_bsize) / kMiB + 1) / 2 * 2 * kMiB;
  MemoryZoneConfig zone;
  zone.id = "f";
  zone.size = MiB(2);
  zone.shared = true;
  zone.file = "/dev/shm/berth_ram_map_" + std::to_string(::getpid());
  zone.hotplug_size = ByteSize(2 * total);
  const auto memory = *ZonedMemory::Create({zone}, HotplugMethod::kVirtioMem);
  ::unlink(zone.file->c_str());
  RamMap ram(memory->memory(), *slots_);
  const MemoryRegion& area = memory->memory().hotplug_areas()[0];

  const Status status = ram.Plug(area, 0, total + 2 * kMiB);

  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_TRUE(status.message().ends_with("in the file of zone f: No space left on device"))
      << status.message();
  EXPECT_EQ(area.plug->plugged(), 0u);
  EXPECT_TRUE(ram.Plug(area, 0, 2 * kMiB).ok());
  EXPECT_TRUE(ram.Unplug(area, 0, 2 * kMiB).ok());
  struct stat file{};
  ASSERT_EQ(::fstat(area.fd, &file), 0);
  EXPECT_EQ(file.st_blocks, 2 * kMiB / 512);  // of the zone itself
}

TEST_F(RamMapTest, SlotsRunOutWithAMessage) {
  for (uint64_t chunk = 0; chunk < 7; ++chunk)
    ASSERT_TRUE(ram_->Plug(area(), chunk * 128 * kMiB, 2 * kMiB).ok());
  EXPECT_EQ(ram_->Plug(area(), 7 * 128 * kMiB, 2 * kMiB).message(), "all of KVM's 8 memory slots are taken");
  ASSERT_TRUE(ram_->Unplug(area(), 0, 2 * kMiB).ok());
  EXPECT_TRUE(ram_->Plug(area(), 7 * 128 * kMiB, 2 * kMiB).ok());
}

}  // namespace
}  // namespace berth::vmm
