#include "compute-agent/instances/process.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>

namespace berth::agent {
namespace {

// This process, as a record of it would say.
ProcessId Self() {
  std::ifstream stat("/proc/self/stat");
  std::string text((std::istreambuf_iterator<char>(stat)), std::istreambuf_iterator<char>());
  std::istringstream fields(text.substr(text.rfind(')') + 2));
  std::string field;
  for (int number = 3; number <= 22; ++number) fields >> field;
  return {::getpid(), std::stoull(field), ReadBootId().value_or("")};
}

TEST(ProcessAdopt, FindsAProcessThatRuns) {
  Result<Process> process = Process::Adopt(Self());
  ASSERT_TRUE(process.has_value()) << process.error().ToString();
  EXPECT_FALSE(process->Ended());
}

TEST(ProcessAdopt, ANumberThatAnotherProcessHasNowIsNotFound) {
  ProcessId other = Self();
  ++other.start_time;
  Result<Process> process = Process::Adopt(other);
  ASSERT_FALSE(process.has_value());
  EXPECT_EQ(process.error().code(), StatusCode::kNotFound);
}

TEST(ProcessAdopt, WithoutAFreeDescriptorARunningProcessIsNotTakenForAnEndedOne) {
  const ProcessId self = Self();
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{0, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  Result<Process> process = Process::Adopt(self);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);

  ASSERT_FALSE(process.has_value());
  EXPECT_NE(process.error().code(), StatusCode::kNotFound) << process.error().ToString();
}

}  // namespace
}  // namespace berth::agent
