#include "scheduler/fit/device_match.h"

#include <gtest/gtest.h>

#include "placement/model/secure_card.h"

namespace berth::scheduler {
namespace {

TEST(DeviceMatch, AFunctionOfACardInTheSecureWorldServesConfidentialGuestsOnly) {
  FitDevice device;
  device.kind = DeviceKind::kVf;
  RequestSpec spec;
  spec.pci.resize(2);
  for (PciRequest& request : spec.pci) request.alternatives.resize(1);
  EXPECT_EQ(ServableRequests(device, spec), 3u);

  device.traits = {"CUSTOM_BLUE", std::string(placement::kSecureCardTrait), "HW_NIC_SRIOV"};
  EXPECT_EQ(ServableRequests(device, spec), 0u);
  spec.encryption = Encryption::kAny;
  EXPECT_EQ(ServableRequests(device, spec), 3u);
  device.traits.clear();
  EXPECT_EQ(ServableRequests(device, spec), 3u);
}

}  // namespace
}  // namespace berth::scheduler
