#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "common/persistent_vector.h"

namespace berth {

// A hash table of small entries whose copies share all that does not differ (see PersistentVector). It grows
// by one bucket at a time (linear hashing), so that no change ever rebuilds it. `Hash` gives an entry's hash;
// which entry is meant, the caller's predicate says, so that entries may refer to keys that lie elsewhere.
template <class Entry, class Hash>
class PersistentHash {
 public:
  size_t size() const { return size_; }

  // The first entry with this hash that `matches`, or nullptr. Valid until this copy changes.
  template <class F>
  const Entry* Find(uint64_t hash, F&& matches) const {
    if (buckets_.empty()) return nullptr;
    const auto& bucket = buckets_[BucketOf(hash)];
    if (!bucket) return nullptr;
    for (const Entry& entry : *bucket) {
      if (Hash()(entry) == hash && matches(entry)) return &entry;
    }
    return nullptr;
  }

  // All entries with this hash.
  template <class F>
  void FindAll(uint64_t hash, F&& visit) const {
    Find(hash, [&](const Entry& entry) {
      visit(entry);
      return false;
    });
  }

  // Replaces the first entry that `matches`, or adds one.
  template <class F>
  void Put(EditId edit, Entry entry, F&& matches) {
    const uint64_t hash = Hash()(entry);
    if (!buckets_.empty()) {
      const auto& bucket = buckets_[BucketOf(hash)];
      for (size_t i = 0; bucket && i < bucket->size(); ++i) {
        if (Hash()((*bucket)[i]) != hash || !matches((*bucket)[i])) continue;
        auto copy = std::make_shared<Bucket>(*bucket);
        (*copy)[i] = std::move(entry);
        buckets_.Edit(edit, BucketOf(hash)) = std::move(copy);
        return;
      }
    }
    Add(edit, std::move(entry));
  }

  // Adds without looking for an equal one.
  void Add(EditId edit, Entry entry) {
    if (buckets_.empty()) buckets_.PushBack(edit, nullptr);
    const size_t at = BucketOf(Hash()(entry));
    Append(edit, at, std::move(entry));
    if (++size_ > kLoad * buckets_.size()) Split(edit);
  }

  // False if there is none.
  template <class F>
  bool Erase(EditId edit, uint64_t hash, F&& matches) {
    if (buckets_.empty()) return false;
    const auto& bucket = buckets_[BucketOf(hash)];
    for (size_t i = 0; bucket && i < bucket->size(); ++i) {
      if (Hash()((*bucket)[i]) != hash || !matches((*bucket)[i])) continue;
      std::shared_ptr<Bucket> copy;
      if (bucket->size() > 1) {
        copy = std::make_shared<Bucket>();
        copy->reserve(bucket->size() - 1);
        for (size_t j = 0; j < bucket->size(); ++j) {
          if (j != i) copy->push_back((*bucket)[j]);
        }
      }
      buckets_.Edit(edit, BucketOf(hash)) = std::move(copy);
      --size_;
      return true;
    }
    return false;
  }

  // In no order.
  template <class F>
  void ForEach(F&& visit) const {
    buckets_.ForEach([&](size_t, const auto& bucket) {
      if (!bucket) return;
      for (const Entry& entry : *bucket) visit(entry);
    });
  }

 private:
  using Bucket = std::vector<Entry>;
  static constexpr size_t kLoad = 6;

  // Hashes are mixed, as the low bits decide.
  static uint64_t Mix(uint64_t hash) { return (hash ^ hash >> 32) * 0x9E3779B97F4A7C15U >> 16; }
  size_t BucketOf(uint64_t hash) const {
    uint64_t mixed = Mix(hash);
    size_t at = mixed & (2 * level_ - 1);
    return at < buckets_.size() ? at : mixed & (level_ - 1);
  }

  void Append(EditId edit, size_t at, Entry entry) {
    const auto& bucket = buckets_[at];
    auto copy = std::make_shared<Bucket>();
    copy->reserve((bucket ? bucket->size() : 0) + 1);
    if (bucket) copy->insert(copy->end(), bucket->begin(), bucket->end());
    copy->push_back(std::move(entry));
    buckets_.Edit(edit, at) = std::move(copy);
  }

  // The oldest bucket not yet divided at this level gives half of its entries to a new one.
  void Split(EditId edit) {
    if (buckets_.size() == 2 * level_) level_ *= 2;
    const size_t from = buckets_.size() - level_;
    std::shared_ptr<const Bucket> old = buckets_[from];
    buckets_.PushBack(edit, nullptr);
    if (!old) return;
    auto stays = std::make_shared<Bucket>();
    auto moves = std::make_shared<Bucket>();
    for (const Entry& entry : *old) (BucketOf(Hash()(entry)) == from ? stays : moves)->push_back(entry);
    const size_t last = buckets_.size() - 1;
    stays->shrink_to_fit();
    moves->shrink_to_fit();
    buckets_.Edit(edit, from) = stays->empty() ? nullptr : std::move(stays);
    buckets_.Edit(edit, last) = moves->empty() ? nullptr : std::move(moves);
  }

  PersistentVector<std::shared_ptr<const Bucket>> buckets_;
  size_t size_ = 0;
  size_t level_ = 1;  // a power of two: level_ <= buckets < 2 * level_, but for the moment before a split
};

}  // namespace berth
