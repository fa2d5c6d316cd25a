#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

namespace berth {

// Memory for values of one size of which many come and go beside others that stay. In the common heap each
// that goes leaves a hole, part of which a small value takes for good, so that the next one does not fit
// there and the heap grows; here it gets the same block again. Blocks are cut from slabs that are kept.
// Thread-safe.
template <size_t kBytes, size_t kAlign>
class BlockPool {
 public:
  // Lasts as long as the process: values may outlive main.
  static BlockPool& OfProcess() {
    static auto* pool = new BlockPool;
    return *pool;
  }

  BlockPool() = default;
  // No block may be in use any more.
  ~BlockPool() {
    for (void* slab : slabs_) ::operator delete(slab, std::align_val_t(kAlign));
  }
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;

  void* Take() {
    std::lock_guard lock(mutex_);
    if (free_ == nullptr) AddSlab();
    Block* block = free_;
    free_ = block->next;
    return block;
  }
  void Give(void* memory) {
    std::lock_guard lock(mutex_);
    free_ = new (memory) Block{free_};
  }

 private:
  struct Block {
    Block* next;
  };
  static constexpr size_t kStep = (std::max(kBytes, sizeof(Block)) + kAlign - 1) / kAlign * kAlign;
  static constexpr size_t kBlocks = std::max<size_t>(1, (size_t{64} << 10) / kStep);

  void AddSlab() {
    auto* slab = static_cast<std::byte*>(::operator new(kBlocks * kStep, std::align_val_t(kAlign)));
    slabs_.push_back(slab);
    for (size_t i = kBlocks; i-- > 0;) free_ = new (slab + i * kStep) Block{free_};
  }

  std::mutex mutex_;  // guards all below
  Block* free_ = nullptr;
  std::vector<void*> slabs_;
};

// AddressSanitizer sees a value used after its end only in blocks of its own.
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BERTH_SANITIZES_ADDRESSES
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(BERTH_SANITIZES_ADDRESSES)
inline constexpr bool kBlocksArePooled = false;
#else
inline constexpr bool kBlocksArePooled = true;
#endif

// For std::allocate_shared: value and count in one block of the pool for their size.
template <class T>
struct PoolAllocator {
  using value_type = T;

  PoolAllocator() = default;
  template <class Other>
  PoolAllocator(const PoolAllocator<Other>& /*other*/) {}  // NOLINT(google-explicit-constructor)

  T* allocate(size_t count) {
    if (!kBlocksArePooled || count != 1) return std::allocator<T>().allocate(count);
    return static_cast<T*>(Pool::OfProcess().Take());
  }
  void deallocate(T* memory, size_t count) {
    if (!kBlocksArePooled || count != 1) return std::allocator<T>().deallocate(memory, count);
    Pool::OfProcess().Give(memory);
  }

  template <class Other>
  friend bool operator==(const PoolAllocator& /*a*/, const PoolAllocator<Other>& /*b*/) {
    return true;
  }

 private:
  using Pool = BlockPool<sizeof(T), std::max(alignof(T), alignof(void*))>;
};

}  // namespace berth
