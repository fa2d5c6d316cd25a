#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace berth {

// Names one series of changes to persistent containers, unique among all that share parts. What a series has
// copied it changes in place; what others can see it copies first. So a copy of a container (which costs
// nothing) stays as it is as long as later changes carry another number.
using EditId = uint64_t;
// A number that nobody has had.
inline EditId NewEditId() {
  static std::atomic<EditId> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

// A vector whose copies share all that does not differ: a tree of nodes of 32. Copying is O(1), a change
// copies the path to one leaf. Readers of a copy need no lock, whatever happens to other copies. T is
// copyable and default-constructible.
template <class T>
class PersistentVector {
 public:
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  // Valid as long as this copy lives and is not changed.
  const T& operator[](size_t i) const {
    const Base* node = root_.get();
    for (int shift = shift_; shift > 0; shift -= kBits) {
      node = static_cast<const Inner*>(node)->children[i >> shift & kMask].get();
    }
    return static_cast<const Leaf*>(node)->values[i & kMask];
  }

  // The element's place, to be changed at once.
  T& Edit(EditId edit, size_t i) {
    std::shared_ptr<Base>* at = &root_;
    for (int shift = shift_; shift > 0; shift -= kBits)
      at = &Own<Inner>(edit, *at).children[i >> shift & kMask];
    return Own<Leaf>(edit, *at).values[i & kMask];
  }

  void PushBack(EditId edit, T value) {
    if (!root_) root_ = std::make_shared<Leaf>(edit);
    if (size_ == size_t{kFan} << shift_) {
      auto inner = std::make_shared<Inner>(edit);
      inner->children[0] = std::move(root_);
      root_ = std::move(inner);
      shift_ += kBits;
    }
    std::shared_ptr<Base>* at = &root_;
    for (int shift = shift_; shift > 0; shift -= kBits) {
      at = &Own<Inner>(edit, *at).children[size_ >> shift & kMask];
      if (*at) continue;
      if (shift > kBits) {
        *at = std::make_shared<Inner>(edit);
      } else {
        *at = std::make_shared<Leaf>(edit);
      }
    }
    Own<Leaf>(edit, *at).values[size_ & kMask] = std::move(value);
    ++size_;
  }

  template <class F>
  void ForEach(F&& visit) const {
    for (size_t i = 0; i < size_;) {
      const Leaf& leaf = LeafOf(i);
      for (size_t j = 0; j < kFan && i < size_; ++i, ++j) visit(i, leaf.values[j]);
    }
  }

 private:
  static constexpr int kBits = 5;
  static constexpr size_t kFan = size_t{1} << kBits;
  static constexpr size_t kMask = kFan - 1;

  struct Base {
    explicit Base(EditId id) : edit(id) {}
    EditId edit;
  };
  struct Inner : Base {
    using Base::Base;
    std::array<std::shared_ptr<Base>, kFan> children{};
  };
  struct Leaf : Base {
    using Base::Base;
    std::array<T, kFan> values{};
  };

  template <class Node>
  static Node& Own(EditId edit, std::shared_ptr<Base>& at) {
    if (at->edit != edit) {
      auto copy = std::make_shared<Node>(static_cast<const Node&>(*at));
      copy->edit = edit;
      at = std::move(copy);
    }
    return static_cast<Node&>(*at);
  }
  const Leaf& LeafOf(size_t i) const {
    const Base* node = root_.get();
    for (int shift = shift_; shift > 0; shift -= kBits) {
      node = static_cast<const Inner*>(node)->children[i >> shift & kMask].get();
    }
    return static_cast<const Leaf&>(*node);
  }

  std::shared_ptr<Base> root_;
  size_t size_ = 0;
  int shift_ = 0;
};

}  // namespace berth
