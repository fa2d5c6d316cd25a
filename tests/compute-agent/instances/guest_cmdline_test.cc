#include "compute-agent/instances/guest_cmdline.h"

#include <gtest/gtest.h>

namespace berth::agent {
namespace {

Result<GuestCmdline> Compose(const std::string& cmdline, uint64_t memory_mib, uint32_t vcpus = 2,
                             bool x86 = true) {
  placement::InstanceSpec spec;
  spec.cmdline = cmdline;
  spec.memory_bytes = memory_mib << 20;
  spec.vcpus = vcpus;
  return ConfidentialCmdline(spec, x86);
}

std::string Text(const std::string& cmdline, uint64_t memory_mib, uint32_t vcpus = 2, bool x86 = true) {
  auto composed = Compose(cmdline, memory_mib, vcpus, x86);
  return composed.has_value() ? composed->text : composed.error().ToString();
}

TEST(GuestCmdline, TheSwiotlbBufferIs64MbByDefaultAndHas32768Fragments) {
  EXPECT_EQ(Text("console=ttyS0", 1024), "console=ttyS0 swiotlb=32768,force");
  EXPECT_EQ(Text("", 65536, 2, false), "swiotlb=32768,force");  // arm64 has no rule of 6 %
}

TEST(GuestCmdline, X86GuestsGetSixPercentRoundedUpAsTheirKernelDoes) {
  EXPECT_EQ(Text("", 2048), "swiotlb=65536,force");
  EXPECT_EQ(Text("", 8192), "swiotlb=262144,force");
  EXPECT_EQ(Text("", 65536), "swiotlb=524288,force");
  EXPECT_EQ(Text("", 1024, 512), "swiotlb=65536,force");  // 128 slabs a vCPU
}

TEST(GuestCmdline, IfXIs262144TheSwiotlbBufferIs512Mb) {
  auto composed = Compose("swiotlb=262144 root=/dev/vda", 8192, 4, false);
  ASSERT_TRUE(composed.has_value());
  EXPECT_EQ(composed->text, "root=/dev/vda swiotlb=262144,force");
  EXPECT_EQ(composed->note,
            "swiotlb=262144 is 512 MiB, of which 64.0 MiB were counted when the host was chosen: keep "
            "confidential.nonsecure_headroom above the rest");
  EXPECT_EQ(Compose("swiotlb=262144,force", 8192)->note, "");
}

TEST(GuestCmdline, EnsureThatTheBufferSizeIsAMultipleOf64Mb) {
  EXPECT_EQ(
      Text("swiotlb=1000,force", 2048),
      "INVALID_ARGUMENT: cmdline: \"swiotlb=1000,force\" of a confidential guest is 1.95 MiB, not a multiple "
      "of 64 MiB (swiotlb=x,force with x a multiple of 32768 (64 MiB), or leave it out)");
  EXPECT_EQ(Compose("swiotlb=98304,force", 16384)->note, "swiotlb=98304,force becomes 256 MiB in the guest");
}

TEST(GuestCmdline, WhatWouldBreakTheGuestIsRefused) {
  for (const char* bad :
       {"swiotlb=noforce", "swiotlb=x", "swiotlb=1,2,3", "swiotlb=99999999999999999999", "swiotlb=-1"}) {
    EXPECT_FALSE(Compose(bad, 2048).has_value()) << bad;
  }
  EXPECT_EQ(Text("swiotlb=force", 2048), "swiotlb=force");
  EXPECT_EQ(Text("swiotlb=65536,4", 2048), "swiotlb=65536,4,force");
  EXPECT_EQ(Text("swiotlb=noforce swiotlb=65536", 2048), "swiotlb=65536,force");  // the last one counts
}

TEST(GuestCmdline, AFullBufferIsDoubled) {
  EXPECT_EQ(LargerSwiotlb(32768), "swiotlb=65536,force");
  EXPECT_EQ(LargerSwiotlb(262144), "swiotlb=524288,force");
  EXPECT_EQ(LargerSwiotlb(98304), "swiotlb=262144,force");
  EXPECT_EQ(LargerSwiotlb(0), "swiotlb=32768,force");
}

TEST(SwiotlbAdvice, ComparesWhatDevicesHaveInFlightWithTheBuffer) {
  constexpr uint64_t kMiB = 1 << 20;
  constexpr uint32_t kNic = 0x020000, kNvme = 0x010802, kGpu = 0x030200;
  EXPECT_EQ(SwiotlbAdvice(64 * kMiB, 8, {}), "");
  EXPECT_EQ(SwiotlbAdvice(64 * kMiB, 8, {kNic}), "");  // 16 queues of 512 times 2 KiB, and a quarter: 20 MiB
  EXPECT_EQ(SwiotlbAdvice(20 * kMiB, 8, {kNic}), "");
  EXPECT_NE(SwiotlbAdvice(20 * kMiB - 1, 8, {kNic}), "");
  EXPECT_EQ(SwiotlbAdvice(64 * kMiB, 64, {kNic, kNic, kNic}), "");  // no more queues than eight vCPUs use
  EXPECT_EQ(SwiotlbAdvice(64 * kMiB, 8, {kNvme, kNic, kGpu}),
            "its devices may have 120 MiB in flight, the guest's swiotlb buffer is 64.0 MiB: use "
            "swiotlb=65536,force in its kernel command line if it says that the buffer is full");
  EXPECT_NE(SwiotlbAdvice(1 << 18, 1, {0x0c0330}), "");
}

}  // namespace
}  // namespace berth::agent
