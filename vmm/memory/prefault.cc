#include "vmm/memory/prefault.h"

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <string>
#include <thread>
#include <vector>

#include "common/file.h"
#include "vmm/jail/thread_filter.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace berth::vmm {
namespace {

constexpr uint64_t kSlice = uint64_t{64} << 20;
constexpr uint64_t kMaxThreads = 16;

int Populate(uint8_t* begin, uint64_t size) {
  while (::madvise(begin, size, MADV_POPULATE_WRITE) < 0) {
    if (errno != EAGAIN && errno != EINTR) return errno;
  }
  return 0;
}

// Where this thread may run. std::thread::hardware_concurrency asks in another way with each C library.
uint64_t AllowedProcessors() {
  std::vector<cpu_set_t> mask(1);
  // The kernel's mask may be larger than 1,024 CPUs.
  while (::sched_getaffinity(0, mask.size() * sizeof(cpu_set_t), mask.data()) != 0) {
    if (errno != EINVAL || mask.size() >= 64) return 1;
    mask.resize(mask.size() * 2);
  }
  return static_cast<uint64_t>(CPU_COUNT_S(mask.size() * sizeof(cpu_set_t), mask.data()));
}

// A hint: a thread that may not run there fills the memory from where it is.
void RunOn(const CpuSet& cpus) {
  if (cpus.empty()) return;
  cpu_set_t mask;
  CPU_ZERO(&mask);
  for (uint32_t cpu = cpus.First(); cpu != CpuSet::kNone && cpu < CPU_SETSIZE; cpu = cpus.NextAfter(cpu)) {
    CPU_SET(cpu, &mask);
  }
  ::sched_setaffinity(0, sizeof mask, &mask);
}

}  // namespace

CpuSet CpusOfHostNode(uint32_t node, const std::string& root) {
  Result<std::string> list =
      ReadFile(root + "/sys/devices/system/node/node" + std::to_string(node) + "/cpulist");
  if (!list.has_value()) return {};
  return CpuSet::Parse(*list).value_or(CpuSet());
}

Status Prefault(std::span<uint8_t> mapping, uint64_t page_size, const CpuSet& cpus) {
  const uint64_t slice = std::max(kSlice, page_size);
  const uint64_t slices = (mapping.size() + slice - 1) / slice;
  std::atomic<uint64_t> next{0};
  std::atomic<int> failure{0};
  auto work = [&] {
    for (uint64_t i = next++; i < slices && failure.load() == 0; i = next++) {
      uint64_t begin = i * slice;
      int error = Populate(mapping.data() + begin, std::min<uint64_t>(slice, mapping.size() - begin));
      int none = 0;
      if (error != 0) failure.compare_exchange_strong(none, error);
    }
  };
  const uint64_t processors = cpus.empty() ? AllowedProcessors() : cpus.Count();
  const uint64_t workers = std::min({kMaxThreads, processors, slices});
  // This thread keeps its own CPUs: it works only when it need not move.
  const uint64_t helpers = cpus.empty() && workers > 0 ? workers - 1 : workers;
  std::vector<std::thread> threads;
  threads.reserve(helpers);
  for (uint64_t i = 0; i < helpers; i++) {
    threads.emplace_back([&] {
      ::pthread_setname_np(::pthread_self(), "prefault");
      RunOn(cpus);
      EnterThread(ThreadKind::kPrefault);
      work();
    });
  }
  if (cpus.empty()) work();
  for (std::thread& thread : threads) thread.join();
  if (failure.load() == 0) return OkStatus();
  if (failure.load() == EFAULT || failure.load() == EHWPOISON) {
    return ResourceExhausted("the host ran out of pages while memory was prefaulted");
  }
  return ErrnoStatus("prefault memory", failure.load());
}

}  // namespace berth::vmm
