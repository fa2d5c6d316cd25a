#include <gtest/gtest.h>

#include <random>
#include <thread>
#include <vector>

#include "tests/vmm/convert/fake_guest.h"
#include "vmm/convert/guest_requests.h"

// Eight vCPUs convert at the same time while devices use shared memory; runs under ThreadSanitizer.
namespace berth::vmm {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kSize = 16 << 20;
constexpr int kVcpus = 8;

class ConverterThreads : public testing::TestWithParam<DmaStrategy> {};

TEST_P(ConverterThreads, EightVcpusConvertWhileDevicesWork) {
  FakeGuest::Options options;
  options.regions = {{.base = 0, .size = kSize / 2, .host_node = 0},
                     {.base = kSize / 2, .size = kSize / 2, .host_node = 1}};
  options.strategy = GetParam();
  options.iommu.interface =
      GetParam() == DmaStrategy::kCut ? FakeIommu::Interface::kIommufdCut : FakeIommu::Interface::kType1;
  options.converter.drain_timeout = std::chrono::seconds(60);
  FakeGuest guest(options);
  GuestRequests requests(guest.converter, kVcpus, {});
  std::atomic<bool> stop = false;
  std::vector<std::thread> devices;
  for (int d = 0; d < 2; ++d) {
    devices.emplace_back([&, d] {
      std::mt19937 random(static_cast<uint32_t>(100 + d));
      while (!stop) {
        const MemoryUse use(&guest.pages);
        const uint64_t gpa = random() % (kSize / kPage) * kPage;
        if (guest.pages.Visible(gpa, kPage) != kPage) continue;
        // Whatever was shared when it was looked at stays mapped and has memory while it is used.
        EXPECT_TRUE(guest.DmaReaches(gpa));
        EXPECT_TRUE(guest.memory.At(gpa).has_shared);
      }
    });
  }
  std::vector<std::thread> vcpus;
  for (uint32_t v = 0; v < kVcpus; ++v) {
    vcpus.emplace_back([&, v] {
      std::mt19937 random(v);
      for (int i = 0; i < 200; ++i) {
        // A part of its own, or a place where all meet.
        const uint64_t part = random() % 4 == 0 ? 0 : kSize / kVcpus * v;
        const uint64_t gpa = part + random() % 200 * kPage;
        const uint64_t pages = 1 + random() % 32;
        const bool to_private = random() % 2 == 0;
        if (random() % 4 == 0) {
          EXPECT_TRUE(requests.MemoryFault(v, gpa, kPage, to_private).ok());
        } else {
          const auto result = requests.MapGpaRange(v, gpa, pages, to_private ? 16 : 0);
          ASSERT_TRUE(result.has_value());
          EXPECT_EQ(*result, 0u);
        }
      }
    });
  }
  for (std::thread& vcpu : vcpus) vcpu.join();
  stop = true;
  for (std::thread& device : devices) device.join();

  guest.ExpectConsistent(0, kSize);
  EXPECT_EQ(guest.converter.counters().undone, 0u);
}

INSTANTIATE_TEST_SUITE_P(Strategies, ConverterThreads,
                         testing::Values(DmaStrategy::kPages, DmaStrategy::kCut),
                         [](const auto& test) { return std::string(DmaStrategyName(test.param)); });

}  // namespace
}  // namespace berth::vmm
