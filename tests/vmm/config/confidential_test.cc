// Confidential guests: how they are asked for, what they need and what they cannot have.
#include <gtest/gtest.h>

#include "vmm/config/command_line.h"
#include "vmm/config/json_config.h"
#include "vmm/config/validate.h"

namespace berth::vmm {
namespace {

ConfigResult<CommandLine> Parse(std::vector<std::string> arguments) {
  return ParseCommandLine(arguments);
}

// Codes of all errors, in their order.
std::string Codes(std::vector<std::string> arguments) {
  auto line = Parse(std::move(arguments));
  if (line.has_value()) return "";
  std::string codes;
  for (const ConfigError& error : line.error()) codes += error.code + " ";
  return codes;
}

std::vector<std::string> Protected(std::vector<std::string> more = {}) {
  std::vector<std::string> arguments = {"--kernel", "/k", "--platform", "confidential=sw-protected"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

TEST(Confidential, IsAskedForByPlatform) {
  EXPECT_EQ(Parse(Protected())->config.platform.confidential, ConfidentialKind::kSwProtected);
  EXPECT_EQ(Parse({"--firmware", "/f", "--platform", "tdx=on"})->config.platform.confidential,
            ConfidentialKind::kTdx);
  EXPECT_EQ(Parse({"--igvm", "/i", "--platform", "sev_snp=on"})->config.platform.confidential,
            ConfidentialKind::kSevSnp);
  EXPECT_EQ(Parse({"--kernel", "/k", "--platform", "tdx=off"})->config.platform.confidential,
            ConfidentialKind::kNone);
  EXPECT_EQ(Codes({"--firmware", "/f", "--platform", "tdx=on,confidential=sev-snp"}).find("InvalidValue"),
            0u);
  EXPECT_EQ(Codes({"--kernel", "/k", "--platform", "confidential=magic"}), "InvalidValue ");
}

TEST(Confidential, IsTheSameInJson) {
  auto line = Parse({"--igvm", "/i", "--host-data", std::string(64, 'a'), "--cpus", "boot=1,max=1",
                     "--platform", "confidential=sev-snp,snp_policy=131072"});
  ASSERT_TRUE(line.has_value()) << ToText(line.error());

  auto again = ConfigFromJson(ConfigToJson(line->config));

  ASSERT_TRUE(again.has_value()) << ToText(again.error());
  EXPECT_EQ(*again, line->config);
  EXPECT_EQ(again->platform.snp_policy, 131072u);
}

TEST(Confidential, NeedsTheImagesOfItsPlatform) {
  EXPECT_EQ(Codes({"--platform", "confidential=tdx"}), "KernelMissing FirmwareMissing ");
  EXPECT_EQ(Codes({"--firmware", "/f", "--initramfs", "/r", "--platform", "confidential=tdx"}),
            "InitramfsUnused ");
  EXPECT_EQ(Codes({"--firmware", "/f", "--igvm", "/i", "--platform", "confidential=sev-snp"}),
            "FirmwareMissing ");
  EXPECT_EQ(Codes({"--kernel", "/k", "--igvm", "/i", "--platform", "confidential=sev-snp"}), "KernelUnused ");
  EXPECT_EQ(Codes(Protected({"--firmware", "/f"})), "FirmwareUnused ");
  EXPECT_EQ(Codes({"--kernel", "/k", "--igvm", "/i"}), "FirmwareUnused ");
  EXPECT_EQ(Codes({"--kernel", "/k", "--platform", "confidential=virtcca"}), "ConfidentialPlatform ");
}

TEST(Confidential, RefusesWhatTheHostCouldReadOrMove) {
  EXPECT_EQ(Codes(Protected({"--memory", "size=64M,mergeable=on"})), "ConfidentialMergeable ");
  EXPECT_EQ(
      Codes({"--firmware", "/f", "--memory", "size=64M,hugepages=on,shared=on", "--platform", "tdx=on"}),
      "ConfidentialHugePages ");
  EXPECT_EQ(Codes(Protected({"--memory", "size=64M,hugepages=on,shared=on"})), "");
  EXPECT_EQ(Codes(Protected({"--memory", "size=0", "--memory-zone", "id=m,size=64M,file=/dev/shm/x"})),
            "ConfidentialFile ");
  EXPECT_EQ(Codes(Protected({"--memory", "size=128M,hotplug_size=128M"})), "ConfidentialHotplug ");
  EXPECT_EQ(Codes(Protected({"--memory", "size=128M,hotplug_size=128M,hotplug_method=virtio-mem"})), "");
  EXPECT_EQ(Codes(Protected({"--balloon", "size=0"})), "ConfidentialBalloon ");
  EXPECT_EQ(Codes(Protected({"--device", "path=/sys/bus/pci/devices/0000:21:00.0"})), "");
  EXPECT_EQ(Codes(Protected({"--device", "path=/sys/bus/pci/devices/0000:21:00.0,iommu=on"})),
            "ConfidentialDevice ");
  EXPECT_EQ(Codes({"--firmware", "/f", "--cpus", "boot=1,max=2", "--platform", "confidential=tdx"}),
            "ConfidentialCpuHotplug ");
}

TEST(Confidential, ChecksWhatGoesIntoReports) {
  EXPECT_EQ(
      Codes({"--firmware", "/f", "--host-data", std::string(64, 'a'), "--platform", "confidential=tdx"}),
      "InvalidHostData ");
  EXPECT_EQ(
      Codes({"--firmware", "/f", "--host-data", std::string(96, 'F'), "--platform", "confidential=tdx"}), "");
  EXPECT_EQ(Codes(Protected({"--host-data", "00"})), "InvalidHostData ");
  EXPECT_EQ(Codes({"--igvm", "/i", "--platform", "confidential=sev-snp,snp_policy=1"}), "InvalidSnpPolicy ");
  EXPECT_EQ(Codes({"--igvm", "/i", "--platform", "confidential=sev-snp,quote_socket=/s"}),
            "QuoteSocketUnused ");
}

}  // namespace
}  // namespace berth::vmm
