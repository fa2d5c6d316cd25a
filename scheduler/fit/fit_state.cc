#include "scheduler/fit/fit_state.h"

#include <bit>
#include <utility>

#include "common/varint.h"

namespace berth::scheduler {
namespace {

// Fields one after the other; lists with their length before them, so that equal texts mean equal states.
class Writer {
 public:
  explicit Writer(std::string& out) : out_(out) {}
  void Add(uint64_t value) { AppendVarint(out_, value); }
  void Add(double value) { Add(std::bit_cast<uint64_t>(value)); }
  void Add(bool value) { out_.push_back(value ? 1 : 0); }
  void Add(uint32_t value) { Add(uint64_t{value}); }
  void Add(int32_t value) { Add(uint64_t{static_cast<uint32_t>(value)}); }
  void Add(const std::string& text) {
    Add(uint64_t{text.size()});
    out_ += text;
  }

 private:
  std::string& out_;
};

void AddCell(const FitCell& cell, Writer& out) {
  out.Add(cell.socket.has_value());
  out.Add(cell.socket.value_or(0));
  out.Add(cell.single_pool);
  const CpuCounts& counts = cell.counts;
  for (uint32_t count :
       {counts.shared, counts.free, counts.on_paired_cores, counts.whole_cores, counts.touched_cores})
    out.Add(count);
  out.Add(counts.smt);
  out.Add(counts.overlap);
  out.Add(cell.shared_vcpus);
  out.Add(cell.cpus_per_byte);
  for (uint64_t bytes :
       {cell.memory_bytes, cell.memory_used_bytes, cell.base_room_bytes, cell.largest_base_bytes,
        cell.largest_pinned_base_bytes, cell.secure_room_bytes, cell.nonsecure_room_bytes})
    out.Add(bytes);
  out.Add(uint64_t{cell.pages.size()});
  for (const FitPages& pages : cell.pages) {
    out.Add(pages.size_bytes);
    out.Add(pages.total);
    out.Add(pages.free);
  }
  out.Add(cell.pages_known);
  out.Add(uint64_t{cell.physical_networks.size()});
  for (const std::string& name : cell.physical_networks) out.Add(name);
  out.Add(cell.tunneled);
}

void WriteKey(const FitHost& host, std::string& key) {
  Writer out(key);
  out.Add(host.rules == FitRules::kClaims);
  out.Add(host.can_run_guests);
  out.Add(host.cpu_ratio);
  out.Add(host.ram_ratio);
  out.Add(host.smt);
  out.Add(host.sockets_known);
  out.Add(host.pools_overlap);
  out.Add(host.floating_vcpus);
  out.Add(host.base_room_bytes);
  out.Add(host.disk_room_bytes);
  out.Add(uint64_t{host.cells.size()});
  for (const FitCell& cell : host.cells) AddCell(cell, out);
  out.Add(uint64_t{host.devices.size()});
  for (const DeviceGroup& group : host.groups) {
    out.Add(group.type);
    out.Add(group.cell);
    out.Add(group.family);
    out.Add(group.count);
    out.Add(group.is_parent);
  }
  // Types have numbers within their table.
  out.Add(uint64_t{std::bit_cast<uintptr_t>(host.types)});
}

}  // namespace

FitStatePtr FitStates::Of(const FitHost& host) {
  static thread_local std::string key;  // kept for its memory
  key.clear();
  WriteKey(host, key);
  std::lock_guard lock(mutex_);
  if (auto known = known_.find(key); known != known_.end()) {
    if (FitStatePtr state = known->second.lock()) return state;
    // About to be forgotten, and its text with it.
    known_.erase(known);
  }
  auto fresh = std::make_unique<FitState>(FitState{++last_, std::string(key)});
  FitStatePtr state(fresh.release(), [this](const FitState* gone) { Forget(gone); });
  known_.emplace(state->key, state);
  return state;
}

void FitStates::Forget(const FitState* state) {
  std::unique_ptr<const FitState> owned(state);
  std::lock_guard lock(mutex_);
  // Another one with the same text may be known since.
  auto known = known_.find(state->key);
  if (known != known_.end() && known->first.data() == state->key.data()) known_.erase(known);
}

size_t FitStates::size() const {
  std::lock_guard lock(mutex_);
  return known_.size();
}

FitStates& FitStates::OfProcess() {
  static FitStates* states = new FitStates;  // views may outlive main
  return *states;
}

}  // namespace berth::scheduler
