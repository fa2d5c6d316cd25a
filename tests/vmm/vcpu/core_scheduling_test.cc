#include "vmm/vcpu/core_scheduling.h"

#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <string>
#include <thread>

namespace berth::vmm {
namespace {

TEST(CoreScheduling, AHostWithoutItIsToldApartFromOneThatNeedsNone) {
  EXPECT_TRUE(CoreSchedulingStatus(0).ok());
  EXPECT_TRUE(CoreSchedulingStatus(ENODEV).ok()) << "no core has two hardware threads";
  const Status missing = CoreSchedulingStatus(EINVAL);
  EXPECT_EQ(missing.code(), StatusCode::kUnimplemented);
  EXPECT_EQ(missing.field(), "cpus.core_scheduling");
  EXPECT_EQ(CoreSchedulingStatus(ENOMEM).code(), StatusCode::kResourceExhausted);
}

// The group that the kernel has this thread in, which is none when it is 0.
unsigned long Cookie() {
  unsigned long cookie = 0;
  constexpr int kSchedCore = 62, kGet = 0, kThread = 0;
  return ::prctl(kSchedCore, kGet, 0, kThread, &cookie) == 0 ? cookie : 0;
}

TEST(CoreScheduling, AThreadHasItsOwnGroupAndAProcessOne) {
  std::string active;
  std::ifstream("/sys/devices/system/cpu/smt/active") >> active;
  if (active != "1") GTEST_SKIP() << "cores of this machine have one hardware thread";
  if (const Status status = KeepCoreFromOthers(CoreGroup::kThread, ::gettid()); !status.ok()) {
    GTEST_SKIP() << "no group of threads can be made here: " << status.message();
  }
  const unsigned long own = Cookie();
  EXPECT_NE(own, 0u);
  unsigned long other = 0;
  std::thread([&other] {
    ASSERT_TRUE(KeepCoreFromOthers(CoreGroup::kThread, ::gettid()).ok());
    other = Cookie();
  }).join();
  EXPECT_NE(other, own);

  ASSERT_TRUE(KeepCoreFromOthers(CoreGroup::kProcess, 0).ok());

  EXPECT_NE(Cookie(), own);
  std::thread([&other] { other = Cookie(); }).join();
  EXPECT_EQ(other, Cookie());
}

}  // namespace
}  // namespace berth::vmm
