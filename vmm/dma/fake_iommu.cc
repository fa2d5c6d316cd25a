#include "vmm/dma/fake_iommu.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <optional>
#include <utility>

namespace berth::vmm {

struct FakeIommu::State {
  explicit State(Options o) : options(std::move(o)) {}

  // The error that was to be injected now, else 0.
  int NextFailure() {
    ++calls;
    if (!failure.has_value()) return 0;
    if (failure->first > 0) {
      --failure->first;
      return 0;
    }
    return std::exchange(failure, std::nullopt)->second;
  }
  // The mapping that holds `iova`.
  std::map<uint64_t, Mapping>::iterator Find(uint64_t iova) {
    auto it = mappings.upper_bound(iova);
    if (it == mappings.begin()) return mappings.end();
    --it;
    return iova - it->first < it->second.size ? it : mappings.end();
  }
  bool Splits(uint64_t at) {
    auto it = Find(at);
    return it != mappings.end() && it->first != at;
  }

  const Options options;
  std::mutex mutex;  // guards what follows
  std::map<uint64_t, Mapping> mappings;
  uint64_t pinned_bytes = 0;  // of mappings of memory
  std::optional<std::pair<uint32_t, int>> failure;
  uint64_t calls = 0;
  uint64_t faults = 0;
};

namespace {

class Backend final : public DmaBackend {
 public:
  explicit Backend(std::shared_ptr<FakeIommu::State> state) : state_(std::move(state)) {}

  std::string_view name() const override {
    return state_->options.interface == FakeIommu::Interface::kType1 ? "type1" : "iommufd";
  }

  Result<DmaLimits> Limits() override {
    std::lock_guard lock(state_->mutex);
    DmaLimits limits;
    limits.ranges = state_->options.ranges;
    limits.page_size = state_->options.page_size;
    if (state_->options.interface == FakeIommu::Interface::kType1) {
      limits.entries_left = state_->options.entry_limit - state_->mappings.size();
    }
    limits.can_cut = state_->options.interface == FakeIommu::Interface::kIommufdCut;
    limits.can_map_devices = state_->options.interface == FakeIommu::Interface::kType1;
    return limits;
  }

  Status Map(const DmaRun& run) override {
    std::lock_guard lock(state_->mutex);
    return Named("map", TryMap(run));
  }
  Status Unmap(uint64_t iova, uint64_t size) override {
    std::lock_guard lock(state_->mutex);
    return Named("unmap", TryUnmap(iova, size));
  }

 private:
  static Status Named(const char* what, int error) {
    return error == 0 ? OkStatus() : ErrnoStatus(what, error);
  }

  int TryMap(const DmaRun& run) {
    FakeIommu::State& s = *state_;
    if (int error = s.NextFailure(); error != 0) return error;
    const uint64_t bits = run.iova | run.size | reinterpret_cast<uintptr_t>(run.host);
    if (run.size == 0 || bits % s.options.page_size != 0 || run.iova > UINT64_MAX - run.size) return EINVAL;
    if (!run.readable && !run.writable) return EINVAL;
    auto next = s.mappings.upper_bound(run.iova);
    if (s.Find(run.iova) != s.mappings.end()) return EEXIST;
    if (next != s.mappings.end() && next->first < run.end()) return EEXIST;
    const bool type1 = s.options.interface == FakeIommu::Interface::kType1;
    if (type1 && s.mappings.size() >= s.options.entry_limit) return ENOSPC;
    if (!type1 && run.kind == DmaRun::Kind::kDevice) return EFAULT;
    auto allowed = [&run](const IovaRange& r) { return run.iova >= r.first && run.end() - 1 <= r.last; };
    if (std::none_of(s.options.ranges.begin(), s.options.ranges.end(), allowed)) return EINVAL;
    if (run.kind == DmaRun::Kind::kMemory) {
      if (run.size > s.options.memlock_bytes - s.pinned_bytes) return ENOMEM;
      s.pinned_bytes += run.size;
    }
    s.mappings[run.iova] = {run.size, run.host, run.readable, run.writable, run.kind};
    return 0;
  }

  int TryUnmap(uint64_t iova, uint64_t size) {
    FakeIommu::State& s = *state_;
    if (int error = s.NextFailure(); error != 0) return error;
    if (size == 0 || (iova | size) % s.options.page_size != 0) return EINVAL;
    switch (s.options.interface) {
      case FakeIommu::Interface::kType1:
        if (s.Splits(iova) || s.Splits(iova + size)) return EINVAL;
        break;
      case FakeIommu::Interface::kIommufd:
        if (s.Splits(iova)) return ENOENT;
        if (s.Splits(iova + size)) {
          EraseFrom(iova, s.Find(iova + size)->first);  // what is before is gone already
          return ENOENT;
        }
        break;
      case FakeIommu::Interface::kIommufdCut:
        CutAt(iova);
        CutAt(iova + size);
        break;
    }
    const bool any = EraseFrom(iova, iova + size);
    return any || s.options.interface != FakeIommu::Interface::kIommufd ? 0 : ENOENT;
  }

  bool EraseFrom(uint64_t iova, uint64_t end) {
    auto first = state_->mappings.lower_bound(iova);
    auto last = state_->mappings.lower_bound(end);
    const bool any = first != last;
    for (auto it = first; it != last; ++it) {
      if (it->second.kind == DmaRun::Kind::kMemory) state_->pinned_bytes -= it->second.size;
    }
    state_->mappings.erase(first, last);
    return any;
  }

  void CutAt(uint64_t at) {
    auto it = state_->Find(at);
    if (it == state_->mappings.end() || it->first == at) return;
    FakeIommu::Mapping right = it->second;
    const uint64_t left_size = at - it->first;
    right.host += left_size;
    right.size -= left_size;
    it->second.size = left_size;
    state_->mappings[at] = right;
  }

  const std::shared_ptr<FakeIommu::State> state_;
};

}  // namespace

FakeIommu::FakeIommu() : FakeIommu(Options()) {}
FakeIommu::FakeIommu(Options options) : state_(std::make_shared<State>(std::move(options))) {}

std::unique_ptr<DmaBackend> FakeIommu::MakeBackend() {
  return std::make_unique<Backend>(state_);
}

void FakeIommu::FailCall(uint32_t after, int error_number) {
  std::lock_guard lock(state_->mutex);
  state_->failure = {after, error_number};
}

void FakeIommu::ForgetFailures() {
  std::lock_guard lock(state_->mutex);
  state_->failure.reset();
}

uint8_t* FakeIommu::Translate(uint64_t iova, bool write) {
  std::lock_guard lock(state_->mutex);
  auto it = state_->Find(iova);
  if (it == state_->mappings.end() || !(write ? it->second.writable : it->second.readable)) {
    ++state_->faults;
    return nullptr;
  }
  return it->second.host + (iova - it->first);
}

bool FakeIommu::Read(uint64_t iova, void* to, uint64_t size) {
  for (uint64_t done = 0; done < size;) {
    const uint64_t piece = std::min(size - done, 4096 - (iova + done) % 4096);
    const uint8_t* from = Translate(iova + done, false);
    if (from == nullptr) return false;
    std::memcpy(static_cast<uint8_t*>(to) + done, from, piece);
    done += piece;
  }
  return true;
}

bool FakeIommu::Write(uint64_t iova, const void* from, uint64_t size) {
  for (uint64_t done = 0; done < size;) {
    const uint64_t piece = std::min(size - done, 4096 - (iova + done) % 4096);
    uint8_t* to = Translate(iova + done, true);
    if (to == nullptr) return false;
    std::memcpy(to, static_cast<const uint8_t*>(from) + done, piece);
    done += piece;
  }
  return true;
}

std::map<uint64_t, FakeIommu::Mapping> FakeIommu::mappings() const {
  std::lock_guard lock(state_->mutex);
  return state_->mappings;
}

uint64_t FakeIommu::faults() const {
  std::lock_guard lock(state_->mutex);
  return state_->faults;
}

uint64_t FakeIommu::calls() const {
  std::lock_guard lock(state_->mutex);
  return state_->calls;
}

}  // namespace berth::vmm
