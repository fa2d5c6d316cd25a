#pragma once

#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

namespace berth::placement {

// A hash map whose changes since the last Commit can be taken back. One thread.
template <class Key, class Value>
class UndoMap {
 public:
  // nullptr if absent; valid until the next change.
  const Value* Find(const Key& key) const {
    auto at = map_.find(key);
    return at == map_.end() ? nullptr : &at->second;
  }
  void Put(const Key& key, Value value) {
    auto [at, inserted] = map_.try_emplace(key, value);
    if (inserted) {
      undo_.emplace_back(key, std::nullopt);
    } else {
      undo_.emplace_back(key, std::exchange(at->second, std::move(value)));
    }
  }
  void Erase(const Key& key) {
    auto at = map_.find(key);
    if (at == map_.end()) return;
    undo_.emplace_back(key, std::move(at->second));
    map_.erase(at);
  }
  void Commit() { undo_.clear(); }
  void Rollback() {
    for (; !undo_.empty(); undo_.pop_back()) {
      auto& [key, old] = undo_.back();
      if (old) {
        map_[key] = *std::move(old);
      } else {
        map_.erase(key);
      }
    }
  }
  size_t size() const { return map_.size(); }
  const std::unordered_map<Key, Value>& map() const { return map_; }

 private:
  std::unordered_map<Key, Value> map_;
  std::vector<std::pair<Key, std::optional<Value>>> undo_;
};

}  // namespace berth::placement
