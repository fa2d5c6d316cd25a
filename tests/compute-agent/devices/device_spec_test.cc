#include "compute-agent/devices/device_spec.h"

#include <gtest/gtest.h>

namespace berth::agent {
namespace {

using placement::Device;
using placement::DeviceType;

PciAddress At(std::string_view text) {
  return *PciAddress::Parse(text);
}

Device Dev(std::string_view address, DeviceType type, std::string product, std::string_view parent = {}) {
  Device device;
  device.address = At(address);
  device.type = type;
  device.vendor_id = "8086";
  device.product_id = std::move(product);
  if (!parent.empty()) device.parent = At(parent);
  return device;
}

Device Pci(std::string_view address, std::string product = "154d") {
  return Dev(address, DeviceType::kPci, std::move(product));
}
Device Pf(std::string_view address) {
  return Dev(address, DeviceType::kPf, "1572");
}
Device Vf(std::string_view address, std::string_view parent) {
  return Dev(address, DeviceType::kVf, "154c", parent);
}
// A PF with two VFs.
std::vector<Device> Card() {
  return {Pf("0000:41:00.0"), Vf("0000:41:02.0", "0000:41:00.0"), Vf("0000:41:02.1", "0000:41:00.0")};
}

Result<DeviceSpec> Parse(std::string_view yaml) {
  Result<YamlNode> node = ParseYaml(yaml, "test.yaml");
  if (!node.has_value()) return node.error();
  return ParseDeviceSpec(*node, "device_spec");
}

Result<AssignedDevices> Assign(std::string_view yaml, std::vector<Device> devices) {
  Result<DeviceSpec> spec = Parse(yaml);
  if (!spec.has_value()) return spec.error();
  return AssignDevices(*spec, std::move(devices));
}

// The assignable devices, blank-separated.
std::string Assignable(std::string_view yaml, std::vector<Device> devices) {
  Result<AssignedDevices> result = Assign(yaml, std::move(devices));
  if (!result.has_value()) return result.error().ToString();
  std::string text;
  for (const Device& device : result->devices) {
    if (device.assignable) text += (text.empty() ? "" : " ") + device.address.ToString();
  }
  return text;
}

std::string ErrorOf(std::string_view yaml, std::vector<Device> devices = {}) {
  Result<AssignedDevices> result = Assign(yaml, std::move(devices));
  return result.has_value() ? "accepted" : result.error().ToString();
}

TEST(DeviceSpec, AssumingOurSamplePciDeviceHasAPciAddressOf41_00_0) {
  EXPECT_EQ(Assignable("[{address: \"0000:41:00.0\"}]", {Pci("0000:41:00.0"), Pci("0000:42:00.0")}),
            "0000:41:00.0");
}

TEST(DeviceSpec, AllPciDevicesMatchingTheVendorIdAndProductIdAreAdded) {
  EXPECT_EQ(Assignable("[{vendor_id: \"8086\", product_id: 154D}]",
                       {Pci("0000:41:00.0"), Pci("0000:42:00.0"), Pci("0000:43:00.0", "0001")}),
            "0000:41:00.0 0000:42:00.0");
  EXPECT_EQ(Assignable("{vendor_id: \"*\", product_id: \"1\"}", {Pci("0000:43:00.0", "0001")}),
            "0000:43:00.0");
}

TEST(DeviceSpec, TheFirstMatchingEntrySuppliesTheTags) {
  auto result =
      Assign("[{address: \"0000:41:00.0\", physical_network: a}, {vendor_id: 8086, physical_network: b}]",
             {Pci("0000:41:00.0"), Pci("0000:42:00.0")});
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->devices[0].physical_network, "a");
  EXPECT_EQ(result->devices[1].physical_network, "b");
}

TEST(DeviceSpec, AnAddressStringIsAGlobByField) {
  std::vector<Device> devices = {Pci("0000:0a:00.0"), Pci("0000:0a:00.1"), Pci("0001:0a:00.0"),
                                 Pci("0000:00:0a.0")};
  EXPECT_EQ(Assignable("[{address: \":0a:00.\"}]", devices), "0000:0a:00.0 0000:0a:00.1 0001:0a:00.0");
  EXPECT_EQ(Assignable("[{address: \"0a:00\"}]", devices), "0000:0a:00.0 0000:0a:00.1 0001:0a:00.0");
  EXPECT_EQ(Assignable("[{address: \"*:0a:*.0\"}]", devices), "0000:0a:00.0 0001:0a:00.0");
  EXPECT_EQ(Assignable("[{address: \"0a.\"}]", devices), "0000:00:0a.0");
  EXPECT_EQ(Assignable("[{address: \"*\"}]", devices), "0000:00:0a.0 0000:0a:00.0 0000:0a:00.1 0001:0a:00.0");
  EXPECT_EQ(
      ErrorOf("[{address: \"0000:0*:00.0\"}]"),
      "INVALID_ARGUMENT: device_spec[0].address: the bus \"0*\" is neither a hexadecimal number nor \"*\"");
  EXPECT_EQ(
      ErrorOf("[{address: \"1:2:3:4.0\"}]"),
      "INVALID_ARGUMENT: device_spec[0].address: \"1:2:3:4.0\" has more than three fields before the dot "
      "([[[[domain]:]bus]:][slot][.[function]])");
}

TEST(DeviceSpec, AnAddressMapHoldsRegularExpressionsAnchoredAtTheStartOnly) {
  std::vector<Device> devices = {Pci("0000:04:00.0"), Pci("0000:41:01.0"), Pci("0000:41:02.1"),
                                 Pci("0000:41:03.2")};
  EXPECT_EQ(Assignable("[{address: {bus: \"4\"}}]", devices), "0000:41:01.0 0000:41:02.1 0000:41:03.2");
  EXPECT_EQ(Assignable("[{address: {bus: \"41\", slot: \"0[1-2]\", function: \"[0-1]\"}}]", devices),
            "0000:41:01.0 0000:41:02.1");
  EXPECT_EQ(ErrorOf("[{address: {slot: \"0[1\"}}]"),
            "INVALID_ARGUMENT: device_spec[0].address.slot: \"0[1\" is no regular expression: missing ]: [1");
}

TEST(DeviceSpec, NovaOnlySupportsPciAddressesWhereTheFieldsAreRestricted) {
  EXPECT_EQ(ErrorOf("[{address: \"10000:00:00.0\"}]"),
            "OUT_OF_RANGE: device_spec[0].address: the domain 10000 is out of range, 0 to ffff are allowed");
  EXPECT_EQ(ErrorOf("[{address: \"0000:100:00.0\"}]"),
            "OUT_OF_RANGE: device_spec[0].address: the bus 100 is out of range, 0 to ff are allowed");
  EXPECT_EQ(ErrorOf("[{address: \"0000:00:20.0\"}]"),
            "OUT_OF_RANGE: device_spec[0].address: the slot 20 is out of range, 0 to 1f are allowed");
  EXPECT_EQ(ErrorOf("[{address: \"0000:00:00.8\"}]"),
            "OUT_OF_RANGE: device_spec[0].address: the function 8 is out of range, 0 to 7 are allowed");
  EXPECT_EQ(ErrorOf("[{address: {bus: \"1ff\"}}]"),
            "OUT_OF_RANGE: device_spec[0].address.bus: the bus 1ff is out of range, 0 to ff are allowed");
}

TEST(DeviceSpec, TheAddressOfAPfMeansItsVfsTooUnlessTheProductIdTellsThemApart) {
  EXPECT_EQ(Assignable("[{address: \"0000:41:00.0\", product_id: 154c}]", Card()),
            "0000:41:02.0 0000:41:02.1");
  EXPECT_EQ(
      Assignable(
          "[{address: {domain: \"0000\", bus: \"41\", slot: \"00\", function: \"0\"}, product_id: 154c}]",
          Card()),
      "0000:41:02.0 0000:41:02.1");
  EXPECT_EQ(Assignable("[{address: \"0000:41:00.0\", product_id: 1572}]", Card()), "0000:41:00.0");
}

TEST(DeviceSpec, ThePfOfAssignableVfsIsReportedAsNotAssignable) {
  auto result = Assign("[{product_id: 154c}]", Card());
  ASSERT_TRUE(result.has_value());
  ASSERT_EQ(result->devices.size(), 3u);
  EXPECT_EQ(result->devices[0].address, At("0000:41:00.0"));
  EXPECT_FALSE(result->devices[0].assignable);
}

TEST(DeviceSpec, RefusesToStartIfBothTheParentPfAndItsChildrenVfsAreConfigured) {
  EXPECT_EQ(ErrorOf("[{product_id: 1572}, {product_id: 154c}]", Card()),
            "INVALID_ARGUMENT: device_spec: a PF and its VF are both configured: type-PF 0000:41:00.0 by "
            "device_spec[0] (line 1), type-VF 0000:41:02.0 by device_spec[1] (line 1) (an entry with the "
            "address of a "
            "PF means its VFs too: add the product_id of the one that is to be handed out)");
  EXPECT_NE(ErrorOf("[{address: \"0000:41:00.0\"}]", Card()), "accepted");
}

TEST(DeviceSpec, DifferentResourceClassOrTraitsForVfsUnderTheSamePfIsNotSupported) {
  EXPECT_EQ(
      ErrorOf("[{address: \"0000:41:02.0\", resource_class: gold}, {product_id: 154c}]", Card()),
      "INVALID_ARGUMENT: device_spec: VFs of PF 0000:41:00.0 differ in resource class or traits: type-VF "
      "0000:41:02.0 by device_spec[0] (line 1) has CUSTOM_GOLD, type-VF 0000:41:02.1 by device_spec[1] (line "
      "1) "
      "has CUSTOM_PCI_8086_154C");
  EXPECT_NE(ErrorOf("[{address: \"0000:41:02.0\", traits: blue}, {product_id: 154c}]", Card()), "accepted");
  EXPECT_EQ(
      ErrorOf("[{address: \"0000:41:02.0\", traits: blue}, {product_id: 154c, traits: [Blue]}]", Card()),
      "accepted");
}

TEST(DeviceSpec, RefusesToStartWithConfigurationThatUsesTheDevnameField) {
  EXPECT_EQ(ErrorOf("[{devname: eth0}]"),
            "INVALID_ARGUMENT: device_spec[0].devname: devname is refused: the name of a network device may "
            "change at "
            "a reboot (use the PCI address of the device)");
}

TEST(DeviceSpec, SpecifyingRemoteManagedTrueForPfsIsProhibited) {
  EXPECT_EQ(
      ErrorOf("[{product_id: 1572, remote_managed: \"true\"}]", Card()),
      "INVALID_ARGUMENT: device_spec: remote_managed: true is only valid for VFs, it is set for type-PF "
      "0000:41:00.0 by device_spec[0] (line 1) (add the product_id of its VFs)");
  auto result = Assign("[{address: \"0000:41:00.0\", product_id: 154c, remote_managed: true}]", Card());
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->devices[1].remote_managed, true);
}

TEST(DeviceSpec, ByDefaultDevicesAreImplicitlyTaggedAsNotRemoteManaged) {
  auto result = Assign("[{product_id: 154c}, {product_id: 154d}]",
                       {Pci("0000:01:00.0"), Pf("0000:41:00.0"), Vf("0000:41:02.0", "0000:41:00.0")});
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->devices[0].remote_managed, std::nullopt);  // type-PCI has no default
  EXPECT_EQ(result->devices[1].remote_managed, false);
  EXPECT_EQ(result->devices[2].remote_managed, false);
}

TEST(DeviceSpec, PhysicalNetworkNullIsAnOverlayNetwork) {
  auto result = Assign("[{product_id: 154d, physical_network: null}]", {Pci("0000:01:00.0")});
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->devices[0].physical_network, std::nullopt);
  result = Assign("[{product_id: 154d, physical_network: \"null\"}]", {Pci("0000:01:00.0")});
  EXPECT_EQ(result->devices[0].physical_network, "null");
}

TEST(DeviceSpec, TrustedAndManagedAcceptBooleansAndTheirNames) {
  for (const char* yes : {"true", "\"true\"", "\"True\"", "yes"}) {
    auto result = Assign("[{product_id: 154d, trusted: " + std::string(yes) + "}]", {Pci("0000:01:00.0")});
    ASSERT_TRUE(result.has_value()) << yes;
    EXPECT_EQ(result->devices[0].trusted, true) << yes;
    EXPECT_TRUE(result->unmanaged.empty());
  }
  auto result = Assign("[{product_id: 154d, managed: \"no\"}]", {Pci("0000:01:00.0")});
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->unmanaged, std::set<PciAddress>{At("0000:01:00.0")});
  EXPECT_NE(ErrorOf("[{trusted: perhaps}]"), "accepted");
}

TEST(DeviceSpec, ResourceClassAndTraitsAreNormalisedAsPlacementWants) {
  auto result = Assign("[{product_id: 154d, resource_class: my-gpu, traits: \"blue, hw_gpu_api_vulkan\"}]",
                       {Pci("0000:01:00.0")});
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->devices[0].resource_class, "CUSTOM_MY_GPU");
  EXPECT_EQ(result->devices[0].traits, (std::vector<std::string>{"CUSTOM_BLUE", "HW_GPU_API_VULKAN"}));
}

TEST(DeviceSpec, UnknownKeysAreRefusedWithTheNearestKnownOne) {
  EXPECT_EQ(ErrorOf("[{vendorid: 8086}]"),
            "INVALID_ARGUMENT: device_spec[0].vendorid: unknown key \"vendorid\" (line 1) (did you mean "
            "\"vendor_id\"?)");
  EXPECT_NE(ErrorOf("[{address: {busses: \"1\"}}]"), "accepted");
}

TEST(DeviceSpec, AllErrorsAreReportedAtOnce) {
  EXPECT_EQ(
      ErrorOf("[{vendor_id: 80867}, {address: \"zz\"}, 7]"),
      "INVALID_ARGUMENT: 3 errors:\n"
      "  device_spec[0].vendor_id: \"80867\" is no PCI id (0 to ffff in hexadecimal, or \"*\")\n"
      "  device_spec[1].address: the slot \"zz\" is neither a hexadecimal number nor \"*\"\n"
      "  device_spec[2]: is not a map (line 1) (for example {vendor_id: \"8086\", product_id: \"154d\"})");
}

TEST(DeviceSpec, AnEntryThatMatchesNothingOrEverythingIsAWarning) {
  auto result = Assign("[{product_id: ffff}, {}]", {Pci("0000:01:00.0")});
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(
      result->warnings,
      (std::vector<std::string>{
          "device_spec[0] (line 1) matches no device of this host",
          "device_spec[1] (line 1) matches every device: it names no vendor_id, product_id or address"}));
}

TEST(DeviceSpec, NoEntriesMakeNoDeviceAssignable) {
  EXPECT_EQ(Assignable("", Card()), "");
  EXPECT_EQ(Assignable("[]", Card()), "");
  EXPECT_NE(ErrorOf("text"), "accepted");
}

TEST(DeviceSpec, LiveMigratableAndOneTimeUseBecomeTraits) {
  auto result = Assign("[{product_id: 154d, live_migratable: yes, one_time_use: \"true\", traits: blue}]",
                       {Pci("0000:01:00.0")});
  ASSERT_TRUE(result.has_value()) << result.error().ToString();
  EXPECT_EQ(result->devices[0].traits,
            (std::vector<std::string>{"CUSTOM_BLUE", kLiveMigratableTrait, kOneTimeUseTrait}));
  EXPECT_EQ(result->one_time_use, std::set<PciAddress>{At("0000:01:00.0")});
  result = Assign("[{product_id: 154d, live_migratable: no, one_time_use: no}]", {Pci("0000:01:00.0")});
  ASSERT_TRUE(result.has_value());
  EXPECT_TRUE(result->devices[0].traits.empty());
  EXPECT_TRUE(result->one_time_use.empty());
  EXPECT_NE(ErrorOf("[{one_time_use: perhaps}]"), "accepted");
  EXPECT_NE(ErrorOf("[{live_migratable: 7}]"), "accepted");
}

TEST(DeviceSpec, OneTimeUseIsOnlyForTypePciAndTypePf) {
  EXPECT_EQ(
      ErrorOf("[{product_id: 154c, one_time_use: false}]",
              {Pf("0000:41:00.0"), Vf("0000:41:02.0", "0000:41:00.0")}),
      "INVALID_ARGUMENT: device_spec: one_time_use is only valid for type-PCI and type-PF, it is set for "
      "type-VF 0000:41:02.0 by device_spec[0] (line 1) (take it out, or add the product_id of the PF)");
  EXPECT_EQ(Assignable("[{product_id: 1572, one_time_use: true}]", Card()), "0000:41:00.0");
}

}  // namespace
}  // namespace berth::agent
