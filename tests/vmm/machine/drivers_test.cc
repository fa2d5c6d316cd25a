#include <atomic>
#include <cstring>

#include "common/file.h"
#include "tests/vmm/machine/machine_fixture.h"
#include "vmm/machine/event_monitor.h"
#include "vmm/virtio/pci_transport.h"

namespace berth::vmm {
namespace {

// Devices, as a guest's drivers reach them.
class DriverTest : public ScriptedGuestTest {
 protected:
  uint64_t ConfigOf(const std::string& id) {
    for (const DeviceFacts& device : machine_->Facts().devices) {
      if (device.id != id) continue;
      const uint64_t slot = std::stoul(device.place.substr(8, 2), nullptr, 16);  // "0000:00:SS.F"
      return layout::kPciConfigBase + (slot << 15);
    }
    ADD_FAILURE() << "no device " << id;
    return 0;
  }
  uint32_t Read(uint64_t address) {
    Guest({ScriptedExit::MmioRead(address, 4)});
    const std::vector<uint8_t> bytes = kvm_.vm().vcpus.at(0).completed.at(done_ - 2);
    uint32_t value = 0;
    std::memcpy(&value, bytes.data(), std::min(bytes.size(), sizeof value));
    return value;
  }
  // The address of a BAR of 32 or 64 bits, with the device enabled.
  uint64_t Enable(const std::string& id, uint32_t bar) {
    const uint64_t config = ConfigOf(id), at = config + 0x10 + 4 * bar;
    Guest({ScriptedExit::MmioWrite(config + 4, {6, 0})});  // memory, bus master
    const uint32_t low = Read(at);
    return (low & ~15u) | ((low & 4) != 0 ? uint64_t{Read(at + 4)} << 32 : 0);
  }
};

TEST_F(DriverTest, APanicOfTheGuestIsAnEvent) {
  config_.pvpanic = true;
  const std::string path = directory_ + "/events";
  const auto monitor = *EventMonitor::Open(path);
  machine_ = *Machine::Create(kvm_, config_, *loop_, [](MachineEnd) {}, monitor.get());
  ASSERT_TRUE(machine_->Boot().ok());
  const uint64_t bar = Enable("pvpanic0", 0);
  EXPECT_EQ(ReadFile(path)->find("guest"), std::string::npos);

  Guest({ScriptedExit::MmioWrite(bar, {1}), ScriptedExit::MmioWrite(bar, {2})});
  loop_->Stop();
  ASSERT_TRUE(loop_->Run().ok());

  const std::string events = *ReadFile(path);
  const size_t panic = events.find(R"("source":"guest","event":"panic","properties":{"kind":"panic"})");
  const size_t loaded =
      events.find(R"("source":"guest","event":"panic","properties":{"kind":"crash_loaded"})");
  EXPECT_NE(panic, std::string::npos) << events;
  EXPECT_NE(loaded, std::string::npos) << events;
  EXPECT_LT(panic, loaded);
  EXPECT_EQ(machine_->Facts().state, VmState::kRunning) << "what to do is for others to decide";
}

TEST_F(DriverTest, ReadsOfADiskAreCounted) {
  std::ofstream(directory_ + "/image") << std::string(1 << 20, 'x');
  config_.disks.emplace_back();
  config_.disks[0].path = directory_ + "/image";
  config_.disks[0].id = "data";
  Start();
  EXPECT_EQ(machine_->Counters()["data"]["read_bytes"], 0u);
  // One request of 1024 bytes: header, data, status.
  constexpr uint64_t kTable = 0x2000000, kAvailable = 0x2001000, kUsed = 0x2002000, kHeader = 0x2003000,
                     kStatus = 0x2003100, kData = 0x2004000;
  uint8_t* ram = reinterpret_cast<uint8_t*>(machine_->Facts().memory_regions[0].host_address);
  struct Descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
  };
  const Descriptor table[] = {{kHeader, 16, 1, 1}, {kData, 1024, 3, 2}, {kStatus, 1, 2, 0}};
  std::memcpy(ram + kTable, table, sizeof table);
  const uint16_t available[] = {0, 1, 0};  // flags, index, head
  std::memcpy(ram + kAvailable, available, sizeof available);
  ram[kStatus] = 0xee;
  const uint64_t bar = Enable("data", 0);
  auto put = [bar](uint64_t offset, std::vector<uint8_t> bytes) {
    return ScriptedExit::MmioWrite(bar + offset, std::move(bytes));
  };
  Guest({put(20, {1}), put(20, {3}), put(8, Bytes(1)), put(12, Bytes(1)), put(20, {11}), put(22, {0, 0}),
         put(24, {8, 0}), put(32, Bytes(kTable)), put(40, Bytes(kAvailable)), put(48, Bytes(kUsed)),
         put(28, {1, 0}), put(20, {15}), put(VirtioPciTransport::kNotifyOffset, {0, 0})});
  std::atomic_ref<uint16_t> used(*reinterpret_cast<uint16_t*>(ram + kUsed + 2));
  for (int i = 0; i < 10'000 && used == 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  ASSERT_EQ(used, 1);

  EXPECT_EQ(ram[kStatus], 0);
  EXPECT_EQ(ram[kData + 1023], 'x');
  auto counters = machine_->Counters()["data"];
  EXPECT_EQ(counters["read_bytes"], 1024u);
  EXPECT_EQ(counters["write_bytes"], 0u);
}

}  // namespace
}  // namespace berth::vmm
