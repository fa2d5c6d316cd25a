#include <gtest/gtest.h>
#include <zlib.h>

#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "scheduler/replay/gpu_replay.h"
#include "scheduler/replay/trace_table.h"
#include "scheduler/replay/vm_replay.h"

namespace berth::scheduler::replay {
namespace {

// A folder of its own with files as a trace has them.
class TraceFolder {
 public:
  TraceFolder() {
    char name[] = "/tmp/berth-replay-XXXXXX";
    path_ = mkdtemp(name);
  }
  ~TraceFolder() {
    for (const std::string& file : files_) std::remove((path_ + "/" + file).c_str());
    rmdir(path_.c_str());
  }
  void Write(const std::string& file, const std::string& text) {
    files_.push_back(file);
    std::ofstream(path_ + "/" + file) << text;
  }
  void WriteZipped(const std::string& file, const std::string& text) {
    files_.push_back(file);
    gzFile out = gzopen((path_ + "/" + file).c_str(), "wb");
    gzwrite(out, text.data(), static_cast<unsigned>(text.size()));
    gzclose(out);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  std::vector<std::string> files_;
};

const char* kNodes = "sn,cpu_milli,memory_mib,gpu,model\nn0,8000,65536,2,A\nn1,8000,65536,2,B\n";

TEST(TraceTable, NamesFileLineAndColumnOfWhatIsNoNumber) {
  TraceTable table("pods.csv", "name,cpu\na,1\nb,-2\n");
  ASSERT_TRUE(table.Next());
  EXPECT_EQ(table.Number(1, 10).value(), 1u);
  ASSERT_TRUE(table.Next());

  auto number = table.Number(1, 10);

  ASSERT_FALSE(number.has_value());
  EXPECT_NE(number.error().ToString().find("pods.csv:3: cpu \"-2\" is not a number from 0 to 10"),
            std::string::npos);
  EXPECT_FALSE(table.Next());
}

TEST(TraceFile, IsReadWhetherZippedOrNot) {
  TraceFolder folder;
  folder.Write("plain", "text\n");
  folder.WriteZipped("zipped.gz", "text\n");

  EXPECT_EQ(ReadTraceFile(folder.path() + "/plain").value(), "text\n");
  EXPECT_EQ(ReadTraceFile(folder.path() + "/zipped.gz").value(), "text\n");
  EXPECT_FALSE(ReadTraceFile(folder.path() + "/none").has_value());
}

TEST(GpuTrace, RefusesSharesThatAreNoTenths) {
  TraceFolder folder;
  folder.Write("openb_node_list_gpu_node.csv", kNodes);
  folder.Write("openb_pod_list_default.csv", "name,cpu_milli,memory_mib,num_gpu,gpu_milli\np,1000,10,1,55\n");

  auto trace = ReadGpuTrace(folder.path(), "default");

  ASSERT_FALSE(trace.has_value());
  EXPECT_NE(trace.error().ToString().find("openb_pod_list_default.csv:2: gpu_milli"), std::string::npos);
}

GpuTrace SmallTrace(const std::string& pods) {
  TraceFolder folder;
  folder.Write("openb_node_list_gpu_node.csv", kNodes);
  folder.Write("openb_pod_list_default.csv", "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\n" + pods);
  return ReadGpuTrace(folder.path(), "default").value();
}

TEST(GpuReplay, FillsGpusWithSharesThatAddUp) {
  GpuTrace trace = SmallTrace("p,100,10,1,250,\n");

  GpuReplayResult result = ReplayGpuTrace(trace, {});

  // 4 GPUs take 16 quarters; 130 % of them arrive.
  EXPECT_EQ(result.arrived, 21u);
  EXPECT_EQ(result.refused, 5u);
  EXPECT_DOUBLE_EQ(result.allocated_percent, 100);
  EXPECT_EQ(result.faults, 0u);
}

TEST(GpuReplay, KeepsModelsAndWholeGpusApart) {
  // Only n0 has model A: two whole GPUs of it. Whole tasks find no room on a GPU that is shared.
  GpuTrace trace = SmallTrace("p,100,10,1,1000,A\n");

  GpuReplayResult result = ReplayGpuTrace(trace, {});

  EXPECT_DOUBLE_EQ(result.allocated_percent, 50);
  EXPECT_EQ(result.faults, 0u);
}

TEST(GpuReplay, CpusRunOutBeforeGpus) {
  GpuTrace trace = SmallTrace("p,8000,10,1,500,\n");

  GpuReplayResult result = ReplayGpuTrace(trace, {});

  EXPECT_DOUBLE_EQ(result.allocated_percent, 25);  // one task a node
  EXPECT_EQ(result.faults, 0u);
}

TEST(GpuReplay, ASeedGivesTheSameAnswerAgain) {
  GpuTrace trace = SmallTrace("p,100,10,1,250,\nq,900,100,1,1000,\nr,2000,9000,2,1000,B\ns,500,10,0,0,\n");
  GpuReplayOptions options;
  options.seed = 7;

  GpuReplayResult one = ReplayGpuTrace(trace, options);
  GpuReplayResult other = ReplayGpuTrace(trace, options);

  EXPECT_DOUBLE_EQ(one.allocated_percent, other.allocated_percent);
  EXPECT_EQ(one.refused, other.refused);
  EXPECT_EQ(one.faults, 0u);
}

TEST(GpuReplay, TheObjectiveKeepsWholeGpusForWholeTasks) {
  // Shares of 40 % are put together, two on a GPU, so that whole tasks find GPUs.
  std::string pods;
  for (int i = 0; i < 4; ++i) pods += "p,100,10,1,400,\n";
  for (int i = 0; i < 2; ++i) pods += "q,100,10,1,1000,\n";
  GpuTrace trace = SmallTrace(pods);
  GpuReplayOptions options;
  options.load = 0.9;
  for (options.seed = 0; options.seed < 20; ++options.seed) {
    GpuReplayResult result = ReplayGpuTrace(trace, options);
    EXPECT_EQ(result.refused, 0u) << options.seed;
  }
}

TEST(VmReplay, FillsHostsToTheLastCoreAndTellsTheFirstRefusal) {
  VmTrace trace;
  for (uint32_t i = 0; i < 5; ++i) trace.vms.push_back({i, 48, uint64_t{1} << 30, double(i), 100});
  VmReplayOptions options;
  options.hosts = 2;

  VmReplayResult result = ReplayVmTrace(trace, options);

  EXPECT_EQ(result.arrived, 5u);
  EXPECT_EQ(result.refused, 1u);
  ASSERT_TRUE(result.first_refusal.has_value());
  EXPECT_DOUBLE_EQ(result.first_refusal->cpu_percent, 100);
  EXPECT_EQ(result.faults, 0u);
}

TEST(VmReplay, SplitsAVmThatNoNodeTakes) {
  VmTrace trace;
  trace.vms.push_back({0, 64, uint64_t{100} << 30, 0, 100});
  VmReplayOptions options;
  options.hosts = 1;

  VmReplayResult result = ReplayVmTrace(trace, options);

  EXPECT_EQ(result.refused, 0u);
  EXPECT_EQ(result.split, 1u);
  EXPECT_EQ(result.faults, 0u);
}

TEST(VmReplay, ABatchIsAllOrNothing) {
  VmTrace trace;
  for (uint32_t i = 0; i < 3; ++i) trace.vms.push_back({0, 48, uint64_t{1} << 30, 0, 100});
  trace.vms.push_back({1, 48, uint64_t{1} << 30, 1, 100});
  VmReplayOptions options;
  options.hosts = 1;

  VmReplayResult result = ReplayVmTrace(trace, options);

  EXPECT_EQ(result.refused, 3u);
  EXPECT_DOUBLE_EQ(result.peak.cpu_percent, 50);
  EXPECT_EQ(result.faults, 0u);
}

TEST(VmReplay, WhoLeavesMakesRoom) {
  VmTrace trace;
  for (uint32_t i = 0; i < 10; ++i) trace.vms.push_back({i, 48, uint64_t{1} << 30, double(i), double(i) + 2});
  VmReplayOptions options;
  options.hosts = 1;

  EXPECT_EQ(ReplayVmTrace(trace, options).refused, 0u);
}

TEST(VmTrace, ReadsBatchesAndLifetimes) {
  TraceFolder folder;
  folder.Write("flav_map.txt", "1,0.75 a\n16,112 d\n");
  folder.Write("v1.interval_map.txt", "0 0\n300 1\n600 1\n");
  folder.Write("v1.test.txt", "2100000 a,a,|,d,|\n");
  folder.Write("v1.test.c2591400.txt", "2100000 U0,U1,|,C1,|\n");

  VmTrace trace = ReadArrivalsTrace(folder.path(), "test").value();

  ASSERT_EQ(trace.vms.size(), 3u);
  EXPECT_EQ(trace.vms[0].batch, trace.vms[1].batch);
  EXPECT_NE(trace.vms[1].batch, trace.vms[2].batch);
  EXPECT_EQ(trace.vms[0].end, 2100000);
  EXPECT_EQ(trace.vms[1].end, 2100450);
  EXPECT_TRUE(std::isinf(trace.vms[2].end));
  EXPECT_EQ(trace.vms[2].memory_bytes, uint64_t{112} << 30);
  EXPECT_DOUBLE_EQ(PeakCores(trace), 17);
}

TEST(VmTrace, RefusesFilesThatDoNotGoTogether) {
  TraceFolder folder;
  folder.Write("flav_map.txt", "1,0.75 a\n");
  folder.Write("v1.interval_map.txt", "0 0\n");
  folder.Write("v1.test.txt", "2100000 a,a,|\n");
  folder.Write("v1.test.c2591400.txt", "2100000 U0,|\n");

  EXPECT_FALSE(ReadArrivalsTrace(folder.path(), "test").has_value());
}

}  // namespace
}  // namespace berth::scheduler::replay
