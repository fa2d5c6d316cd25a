#pragma once

#include <optional>
#include <string>

#include "tests/vmm/machine/machine_fixture.h"

namespace berth::vmm {

class HotplugTest : public ScriptedGuestTest {
 protected:
  HotplugFacts Request(const std::string& subject) {
    for (const HotplugFacts& facts : machine_->Facts().hotplug) {
      if (facts.subject == subject) return facts;
    }
    return {};
  }
  Status Resize(std::optional<uint32_t> vcpus, std::optional<uint64_t> ram) {
    ResizeRequest request;
    request.vcpus = vcpus;
    request.ram = ram;
    return machine_->Resize(request);
  }
  static uint64_t Bytes64(uint64_t mebibytes) { return mebibytes << 20; }
};

}  // namespace berth::vmm
