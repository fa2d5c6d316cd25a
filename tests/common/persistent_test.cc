#include <gtest/gtest.h>

#include <map>
#include <random>
#include <vector>

#include "common/persistent_hash.h"
#include "common/persistent_vector.h"

// Copies stay as they were, whatever happens to the others: against std::vector and std::map, over random
// changes with many copies alive.
namespace berth {
namespace {

TEST(PersistentVector, CopiesStayAsTheyWere) {
  std::mt19937 random(1);
  std::vector<std::pair<PersistentVector<int>, std::vector<int>>> versions(1);
  for (int step = 0; step < 400; ++step) {
    auto [vector, model] = versions[random() % versions.size()];
    const EditId edit = NewEditId();
    for (int n = 0; n < 40; ++n) {
      int value = static_cast<int>(random());
      if (model.empty() || random() % 2 == 0) {
        vector.PushBack(edit, value);
        model.push_back(value);
      } else {
        size_t i = random() % model.size();
        vector.Edit(edit, i) = value;
        model[i] = value;
      }
    }
    versions.emplace_back(std::move(vector), std::move(model));
  }
  size_t largest = 0;
  for (const auto& [vector, model] : versions) {
    ASSERT_EQ(vector.size(), model.size());
    largest = std::max(largest, model.size());
    size_t seen = 0;
    vector.ForEach([&](size_t i, int value) {
      ASSERT_EQ(i, seen++);
      ASSERT_EQ(value, model[i]);
    });
    ASSERT_EQ(seen, model.size());
    for (size_t i = 0; i < model.size(); i += 7) ASSERT_EQ(vector[i], model[i]);
  }
  EXPECT_GT(largest, 32U);
}

TEST(PersistentVector, GrowsOverSeveralLevels) {
  PersistentVector<uint32_t> vector;
  for (uint32_t i = 0; i < 40000; ++i) vector.PushBack(7, i);

  for (uint32_t i = 0; i < 40000; i += 31) ASSERT_EQ(vector[i], i);
}

struct Entry {
  uint32_t key = 0;
  int value = 0;
};
struct EntryHash {
  // Many keys share a hash.
  uint64_t operator()(const Entry& entry) const { return entry.key / 3; }
};
using Table = PersistentHash<Entry, EntryHash>;

const Entry* Find(const Table& table, uint32_t key) {
  return table.Find(key / 3, [key](const Entry& entry) { return entry.key == key; });
}

TEST(PersistentHash, CopiesStayAsTheyWere) {
  std::mt19937 random(2);
  std::vector<std::pair<Table, std::map<uint32_t, int>>> versions(1);
  for (int step = 0; step < 300; ++step) {
    auto [table, model] = versions[random() % 4 == 0 ? random() % versions.size() : versions.size() - 1];
    const EditId edit = NewEditId();
    for (int n = 0; n < 60; ++n) {
      const uint32_t key = static_cast<uint32_t>(random()) % 3000;
      const int value = static_cast<int>(random());
      auto same = [key](const Entry& entry) { return entry.key == key; };
      if (random() % 3 == 0) {
        ASSERT_EQ(table.Erase(edit, key / 3, same), model.erase(key) == 1);
      } else {
        table.Put(edit, {key, value}, same);
        model[key] = value;
      }
    }
    versions.emplace_back(std::move(table), std::move(model));
  }
  for (const auto& [table, model] : versions) {
    ASSERT_EQ(table.size(), model.size());
    size_t seen = 0;
    table.ForEach([&](const Entry& entry) {
      ++seen;
      ASSERT_EQ(model.at(entry.key), entry.value);
    });
    ASSERT_EQ(seen, model.size());
    for (uint32_t key = 0; key < 3000; key += 11) {
      const Entry* found = Find(table, key);
      ASSERT_EQ(found != nullptr, model.contains(key)) << key;
      if (found == nullptr) continue;
      ASSERT_EQ(found->value, model.at(key));
    }
  }
}

}  // namespace
}  // namespace berth
