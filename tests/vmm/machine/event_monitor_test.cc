#include "vmm/machine/event_monitor.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "common/file.h"

namespace berth::vmm {
namespace {

TEST(EventMonitor, WritesALineForEachEvent) {
  const std::string path = testing::TempDir() + "events.json";
  std::filesystem::remove(path);
  {
    auto monitor = *EventMonitor::Open(path);
    monitor->Write("vm", "booting");
    monitor->Write("vm", "device_added", {{"id", "disk\"1\n"}});
  }
  {
    (*EventMonitor::Open(path))->Write("vm", "again");
  }

  std::istringstream lines(*ReadFile(path));
  std::vector<nlohmann::json> events;
  for (std::string line; std::getline(lines, line);) events.push_back(nlohmann::json::parse(line));
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[0]["event"], "booting");
  EXPECT_TRUE(events[0]["properties"].is_null());
  EXPECT_TRUE(events[0]["timestamp"]["nanos"].is_number_unsigned());
  EXPECT_EQ(events[1]["properties"]["id"], "disk\"1\n");
  EXPECT_EQ(events[2]["event"], "again") << "a file is appended to";
}

TEST(EventMonitor, AReaderThatSleepsLosesEventsAndIsTold) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  auto monitor = *EventMonitor::Inherit(ends[1]);
  const std::string large(32 << 10, 'x');
  for (int i = 0; i < 20; ++i) monitor->Write("vm", "large", {{"text", large}});

  std::string all;
  auto read_all = [&] {
    std::vector<char> buffer(1 << 20);
    const ssize_t count = read(ends[0], buffer.data(), buffer.size());
    if (count > 0) all.append(buffer.data(), static_cast<size_t>(count));
  };
  for (int i = 0; i < 4; ++i) {
    read_all();
    monitor->Write("vm", "small");
  }
  read_all();
  close(ends[0]);

  std::istringstream lines(all);
  uint64_t whole = 0, lost = 0;
  for (std::string line; std::getline(lines, line);) {
    auto event = nlohmann::json::parse(line, nullptr, false);
    ASSERT_FALSE(event.is_discarded());
    ++whole;
    lost += event.value("lost", uint64_t{0});
  }
  EXPECT_GT(lost, 0u);
  EXPECT_EQ(whole + lost, 24u);
}

TEST(EventMonitor, NamesWhatCannotBeOpened) {
  EXPECT_EQ(EventMonitor::Open("/nonexistent/x").status().field(), "event-monitor.path");
  EXPECT_EQ(EventMonitor::Inherit(999).status().field(), "event-monitor.fd");
}

}  // namespace
}  // namespace berth::vmm
