// A machine out of a snapshot whose state comes from the input: either all of it, or changes of a good one.
// It must be refused or taken, and neither crash nor hang.
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "common/log.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/vmm/boot/kernel_image.h"
#include "vmm/kvm/fake_kvm.h"
#include "vmm/machine/machine.h"
#include "vmm/virtio/tap.h"

namespace {

using namespace berth::vmm;

constexpr char kTap[] = "berthfuzz0";
constexpr int kTapNumber = 800;  // of the descriptor that a restored machine takes over

// In a network of this process's own. Without the right to make one the machine has no network device.
bool CanMakeTap() {
  if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return false;
  return OpenTap(kTap).has_value();
}

// A small machine with devices of all kinds that can be saved, disk and network behind a virtual IOMMU. Saved
// once.
struct Saved {
  Saved() {
    berth::InitLogging("fuzz", berth::LogLevel::kError);
    std::string name = (std::filesystem::temp_directory_path() / "berth-fuzz-XXXXXX").string();
    CHECK(mkdtemp(name.data()) != nullptr);
    folder = name;
    KernelImage image;
    std::ofstream(folder + "/vmlinuz", std::ios::binary)
        .write(reinterpret_cast<const char*>(image.bytes().data()), static_cast<long>(image.bytes().size()));
    std::ofstream(folder + "/disk") << std::string(8192, 'd');
    VmConfig config;
    config.kernel = folder + "/vmlinuz";
    config.cpus.boot = 2;
    config.memory.size = berth::MiB(24);
    config.memory.hotplug_method = HotplugMethod::kVirtioMem;
    config.memory.hotplug_size = berth::MiB(128);
    config.serial.mode = SerialConfig::Mode::kNull;
    config.console.mode = SerialConfig::Mode::kNull;
    config.balloon.emplace();
    config.pvpanic = true;
    config.disks.emplace_back();
    config.disks[0].path = folder + "/disk";
    config.disks[0].id = "root";
    config.disks[0].iommu = true;
    config.vsock.emplace();
    config.vsock->id = "vsock0";
    config.vsock->socket = folder + "/vsock";
    if (CanMakeTap()) {
      config.nets.emplace_back();
      config.nets[0].tap = kTap;
      config.nets[0].id = "net0";
      config.nets[0].iommu = true;
    }
    FakeKvm kvm;
    auto machine = Machine::Create(kvm, config, *loop, [](MachineEnd) {});
    CHECK(machine.has_value() && (*machine)->Boot().ok());
    CHECK((*machine)->Perform(VmAction::kPause).ok());
    CHECK((*machine)->Snapshot(folder + "/s").ok());
    machine->reset();
    if (!config.nets.empty()) tap = std::move(OpenTap(kTap)->fd);
  }
  ~Saved() { std::filesystem::remove_all(folder); }

  SnapshotContent Read() const {
    auto read = ReadSnapshot(folder + "/s");
    CHECK(read.has_value());
    SnapshotContent content = *std::move(read);
    if (tap.valid()) {
      // Where the last machine has left it open, if it was refused before it looked at its networks.
      CHECK(dup3(tap.get(), kTapNumber, O_CLOEXEC) == kTapNumber);
      content.config.nets[0].tap.clear();
      content.config.nets[0].fds = {kTapNumber};
    }
    return content;
  }

  std::string folder;
  std::unique_ptr<EventLoop> loop = *EventLoop::Create();
  berth::UniqueFd tap;  // opened once: making one takes long
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Saved saved;
  berth::FuzzInput input(data, size);
  SnapshotContent content = saved.Read();
  if ((input.Take<uint8_t>() & 3) == 0) {
    const auto bytes = input.TakeBytes(size);
    content.state.assign(bytes.begin(), bytes.end());
  } else {
    while (!input.empty()) {
      const size_t at = input.Take<uint32_t>() % content.state.size();
      const auto bytes = input.TakeBytes(input.Take<uint8_t>() % 9);
      const size_t count = std::min(bytes.size(), content.state.size() - at);
      std::copy_n(bytes.begin(), count, content.state.begin() + static_cast<long>(at));
    }
  }
  FakeKvm kvm;
  auto machine = Machine::Restore(kvm, std::move(content), {}, *saved.loop, [](MachineEnd) {});
  if (machine.has_value()) CHECK((*machine)->Facts().state == VmState::kPaused);
  // UnwrapState sees the input as a whole file.
  static_cast<void>(UnwrapState({data, data + size}).has_value());
  return 0;
}
