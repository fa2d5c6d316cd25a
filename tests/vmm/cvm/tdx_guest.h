#pragma once

#include <fstream>
#include <memory>
#include <string>

#include "tests/vmm/cvm/fake_tdx.h"
#include "tests/vmm/cvm/images.h"
#include "vmm/config/vm_config.h"
#include "vmm/kvm/fake_kvm.h"

namespace berth::vmm {

// A host with TDX, and a guest that starts from a usual TDVF, which is written to the path `firmware`.
inline std::shared_ptr<FakeTdx> UseTdx(FakeKvm& kvm, VmConfig& config, const std::string& firmware) {
  auto tdx = std::make_shared<FakeTdx>();
  kvm.AddPlatform(tdx);
  kvm_cpuid_entry2 one{};
  one.function = 1;
  one.ecx = 1 << 21;
  kvm.SetSupportedCpuid({one});
  const auto image = MakeTdvf(UsualTdvf());
  std::ofstream(firmware, std::ios::binary)
      .write(reinterpret_cast<const char*>(image.data()), static_cast<long>(image.size()));
  config.kernel.clear();
  config.cmdline.clear();
  config.firmware = firmware;
  config.platform.confidential = ConfidentialKind::kTdx;
  return tdx;
}

}  // namespace berth::vmm
