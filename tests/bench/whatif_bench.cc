// What-if scenarios a second, from memory, on one thread and on all cores. Prints one JSON line for each.
//
//   whatif_bench [FILE [TIMES]]     FILE: scenarios, one per line; default: 2,000 small random ones. TIMES 10
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>

#include "scheduler/whatif/stream.h"
#include "tests/scheduler/whatif/random_scenario.h"

namespace {

using namespace berth;  // NOLINT(google-build-using-namespace)

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

int Bench(const std::string& text, int times, unsigned threads) {
  size_t at = 0;
  int round = 0;
  auto read = [&](char* buffer, size_t size) -> Result<size_t> {
    if (at == text.size() && ++round < times) at = 0;
    size_t count = std::min(size, text.size() - at);
    std::memcpy(buffer, text.data() + at, count);
    at += count;
    return count;
  };
  size_t bytes = 0;
  auto write = [&](std::string_view out) {
    bytes += out.size();
    return OkStatus();
  };
  double cpu = CpuSeconds();
  auto start = std::chrono::steady_clock::now();
  auto totals = scheduler::whatif::AnswerStream(read, write, {.threads = threads});
  std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  cpu = CpuSeconds() - cpu;
  if (!totals.has_value()) return 1;
  auto lines = static_cast<double>(totals->lines);
  std::printf(
      "{\"bench\":\"whatif\",\"cpus\":%u,\"threads\":%u,\"scenarios\":%.0f,\"bytes_per_scenario\":%.0f,"
      "\"bad\":%lu,\"undecided\":%lu,\"seconds\":%.3f,\"scenarios_per_s\":%.0f,\"cpu_us_per_scenario\":%.2f,"
      "\"answer_bytes\":%zu}\n",
      std::thread::hardware_concurrency(), threads, lines,
      static_cast<double>(text.size()) * times / lines, static_cast<unsigned long>(totals->bad_lines),
      static_cast<unsigned long>(totals->undecided), took.count(), lines / took.count(), cpu * 1e6 / lines,
      bytes);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::string text;
  if (argc > 1 && *argv[1] != '\0') {
    std::ifstream file(argv[1], std::ios::binary);
    text.assign(std::istreambuf_iterator<char>(file), {});
  } else {
    for (uint64_t seed = 1; seed <= 2000; ++seed) text += scheduler::whatif::RandomScenario(seed) + "\n";
  }
  if (text.empty()) return 1;
  if (text.back() != '\n') text += '\n';
  int times = argc > 2 ? std::max(1, std::atoi(argv[2])) : 10;
  unsigned cores = std::max(1u, std::thread::hardware_concurrency());
  return Bench(text, times, 1) + (cores > 1 ? Bench(text, times, cores) : 0);
}
