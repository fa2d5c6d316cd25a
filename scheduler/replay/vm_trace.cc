#include "scheduler/replay/vm_trace.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <utility>

#include "scheduler/replay/trace_table.h"

namespace berth::scheduler::replay {
namespace {

constexpr uint64_t kMib = uint64_t{1} << 20;
constexpr uint64_t kMaxCores = 655;  // a guest's CPUs are numbered up to CpuSet::kMaxCpu in hundredths

std::vector<std::string_view> LinesOf(std::string_view text) {
  std::vector<std::string_view> lines = SplitText(text, '\n');
  std::erase_if(lines, [](std::string_view line) { return line.empty(); });
  return lines;
}

Status BadLine(const std::string& file, size_t line, const std::string& what) {
  return InvalidArgument(file + ":" + std::to_string(line + 1) + ": " + what, "trace");
}

struct Size {
  uint32_t vcpus = 0;
  uint64_t memory_bytes = 0;
};

// "1,0.75 a": vCPUs and GiB of each letter.
Result<std::map<std::string, Size, std::less<>>> ReadSizes(const std::string& folder) {
  TRY_ASSIGN(std::string text, ReadTraceFile(folder + "/flav_map.txt"));
  std::map<std::string, Size, std::less<>> sizes;
  std::vector<std::string_view> lines = LinesOf(text);
  for (size_t i = 0; i < lines.size(); ++i) {
    std::vector<std::string_view> parts = SplitText(lines[i], ' ');
    std::vector<std::string_view> figures = SplitText(parts.front(), ',');
    auto vcpus = ParseNumber(figures.front(), kMaxCores);
    double gib = figures.size() == 2 ? std::strtod(std::string(figures[1]).c_str(), nullptr) : 0;
    if (parts.size() != 2 || !vcpus || *vcpus == 0 || !(gib > 0) || gib > 1e6)
      return BadLine("flav_map.txt", i, "is not \"VCPUS,GIB LETTER\"");
    sizes[std::string(parts[1])] = {static_cast<uint32_t>(*vcpus), static_cast<uint64_t>(gib * 1024) * kMib};
  }
  return sizes;
}

// Seconds of each bin of lifetimes: the middle of those that the file gives it.
Result<std::vector<double>> ReadLifetimes(const std::string& folder) {
  TRY_ASSIGN(std::string text, ReadTraceFile(folder + "/v1.interval_map.txt"));
  std::vector<double> least;
  std::vector<double> most;
  std::vector<std::string_view> lines = LinesOf(text);
  for (size_t i = 0; i < lines.size(); ++i) {
    size_t blank = lines[i].find(' ');
    auto seconds = ParseNumber(lines[i].substr(0, blank), uint64_t{1} << 40);
    auto bin = blank == std::string_view::npos ? std::nullopt : ParseNumber(lines[i].substr(blank + 1), 1000);
    if (!seconds || !bin) return BadLine("v1.interval_map.txt", i, "is not \"SECONDS BIN\"");
    if (*bin >= least.size()) {
      least.resize(*bin + 1, -1);
      most.resize(*bin + 1, -1);
    }
    auto value = static_cast<double>(*seconds);
    if (least[*bin] < 0 || value < least[*bin]) least[*bin] = value;
    most[*bin] = std::max(most[*bin], value);
  }
  for (size_t bin = 0; bin < least.size(); ++bin) least[bin] = (least[bin] + most[bin]) / 2;
  return least;
}

// The file of lifetimes beside a split: "v1.test.c2591400.txt".
std::string LifetimeFile(const std::string& split) {
  return split == "dev" ? "v1.dev.c2100000.txt" : "v1.test.c2591400.txt";
}

}  // namespace

Result<VmTrace> ReadPackingTrace(const std::string& folder) {
  const std::string name = "vm_sample_batched.csv.gz";
  TRY_ASSIGN(std::string text, ReadTraceFile(folder + "/" + name));
  TraceTable table(name, text);
  TRY_ASSIGN(size_t cores, table.Column("cores"));
  TRY_ASSIGN(size_t ram, table.Column("ram"));
  TRY_ASSIGN(size_t start, table.Column("starttime"));
  TRY_ASSIGN(size_t end, table.Column("endtime"));
  VmTrace out;
  out.vcpus_per_core = 100;
  while (table.Next()) {
    TraceVm vm;
    vm.batch = static_cast<uint32_t>(out.vms.size());
    TRY_ASSIGN(uint64_t units, table.Number(cores, kMaxCores * 100));
    if (units == 0) return table.Bad(cores, "a number above 0");
    vm.vcpus = static_cast<uint32_t>(units);
    TRY_ASSIGN(uint64_t eighths, table.Number(ram, 1 << 20));
    vm.memory_bytes = eighths * 128 * kMib;
    TRY_ASSIGN(std::optional<double> from, table.Time(start));
    TRY_ASSIGN(std::optional<double> to, table.Time(end));
    if (!from) return table.Bad(start, "a time");
    vm.start = *from;
    if (to) vm.end = *to;
    out.vms.push_back(vm);
  }
  std::stable_sort(out.vms.begin(), out.vms.end(),
                   [](const TraceVm& a, const TraceVm& b) { return a.start < b.start; });
  return out;
}

Result<VmTrace> ReadArrivalsTrace(const std::string& folder, const std::string& split) {
  TRY_ASSIGN(auto sizes, ReadSizes(folder));
  TRY_ASSIGN(std::vector<double> lifetimes, ReadLifetimes(folder));
  const std::string name = "v1." + split + ".txt";
  TRY_ASSIGN(std::string text, ReadTraceFile(folder + "/" + name));
  TRY_ASSIGN(std::string ends, ReadTraceFile(folder + "/" + LifetimeFile(split)));
  std::vector<std::string_view> lines = LinesOf(text);
  std::vector<std::string_view> end_lines = LinesOf(ends);
  VmTrace out;
  out.batches = true;
  uint32_t batch = 0;
  for (size_t i = 0; i < lines.size(); ++i) {
    auto tokens_of = [](std::string_view line) {
      size_t blank = line.find(' ');
      return blank == std::string_view::npos ? std::vector<std::string_view>()
                                             : SplitText(line.substr(blank + 1), ',');
    };
    auto second = ParseNumber(lines[i].substr(0, lines[i].find(' ')), uint64_t{1} << 40);
    std::vector<std::string_view> tokens = tokens_of(lines[i]);
    std::vector<std::string_view> life = i < end_lines.size() ? tokens_of(end_lines[i]) : tokens;
    if (!second) return BadLine(name, i, "does not begin with a number of seconds");
    if (life.size() != tokens.size()) return BadLine(name, i, "has other VMs than the file of lifetimes");
    for (size_t t = 0; t < tokens.size(); ++t) {
      if (tokens[t] == "|") ++batch;
      if (tokens[t] == "|" || tokens[t].empty()) continue;
      auto size = sizes.find(tokens[t]);
      if (size == sizes.end()) return BadLine(name, i, "\"" + std::string(tokens[t]) + "\" is no flavor");
      TraceVm vm;
      vm.batch = batch;
      vm.vcpus = size->second.vcpus;
      vm.memory_bytes = size->second.memory_bytes;
      vm.start = static_cast<double>(*second);
      auto bin = ParseNumber(life[t].substr(std::min<size_t>(1, life[t].size())), 1000);
      bool finished = life[t].starts_with('U');
      if (!bin || *bin >= lifetimes.size() || (!finished && !life[t].starts_with('C')))
        return BadLine(LifetimeFile(split), i, "\"" + std::string(life[t]) + "\" is no lifetime");
      if (finished) vm.end = vm.start + lifetimes[*bin];
      out.vms.push_back(vm);
    }
    ++batch;
  }
  return out;
}

double PeakCores(const VmTrace& trace) {
  std::vector<std::pair<double, int64_t>> changes;
  for (const TraceVm& vm : trace.vms) {
    changes.emplace_back(vm.start, int64_t{vm.vcpus});
    changes.emplace_back(vm.end, -int64_t{vm.vcpus});
  }
  std::sort(changes.begin(), changes.end());  // who goes makes room first
  int64_t now = 0;
  int64_t peak = 0;
  for (const auto& [time, vcpus] : changes) peak = std::max(peak, now += vcpus);
  return static_cast<double>(peak) / trace.vcpus_per_core;
}

}  // namespace berth::scheduler::replay
