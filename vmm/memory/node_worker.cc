#include "vmm/memory/node_worker.h"

#include <linux/mempolicy.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>
#include <vector>

namespace berth::vmm {
namespace {

Status BindThreadToNode(uint32_t node) {
  constexpr size_t kBits = 8 * sizeof(unsigned long);
  std::vector<unsigned long> mask(node / kBits + 2);
  mask[node / kBits] = 1UL << node % kBits;
  const unsigned long bits = (node / kBits + 1) * kBits + 1;  // the kernel reads one less
  if (::syscall(SYS_set_mempolicy, MPOL_BIND, mask.data(), bits) == 0) return OkStatus();
  if (errno == ENOSYS && node == 0) return OkStatus();  // a kernel of one node
  return ErrnoStatus("bind to host NUMA node " + std::to_string(node), errno);
}

}  // namespace

Result<std::unique_ptr<NodeWorker>> NodeWorker::Create(uint32_t node) {
  std::unique_ptr<NodeWorker> self(new NodeWorker());
  NodeWorker* raw = self.get();
  self->thread_ = std::thread([raw, node] { raw->Main(node); });
  std::unique_lock lock(self->mutex_);
  self->changed_.wait(lock, [raw] { return raw->result_.has_value(); });
  Status bound = *std::exchange(self->result_, std::nullopt);
  lock.unlock();
  if (!bound.ok()) return std::move(bound).WithField("host_numa_node");
  return self;
}

NodeWorker::~NodeWorker() {
  if (!thread_.joinable()) return;
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
    changed_.notify_all();
  }
  thread_.join();
}

Status NodeWorker::Run(const std::function<Status()>& work) {
  std::lock_guard turn(turn_);
  std::unique_lock lock(mutex_);
  work_ = &work;
  changed_.notify_all();
  changed_.wait(lock, [this] { return result_.has_value(); });
  return *std::exchange(result_, std::nullopt);
}

void NodeWorker::Main(uint32_t node) {
  ::pthread_setname_np(::pthread_self(), ("node" + std::to_string(node)).c_str());
  std::unique_lock lock(mutex_);
  result_ = BindThreadToNode(node);
  changed_.notify_all();
  while (true) {
    changed_.wait(lock, [this] { return stop_ || work_ != nullptr; });
    if (stop_) return;
    const std::function<Status()>* work = std::exchange(work_, nullptr);
    lock.unlock();
    Status status = (*work)();
    lock.lock();
    result_ = std::move(status);
    changed_.notify_all();
  }
}

}  // namespace berth::vmm
