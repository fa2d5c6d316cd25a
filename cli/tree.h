#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace berth::cli {

// One line of a picture with what hangs below it. Cells of items under one parent are aligned in columns,
// among neighbours of the same `kind`.
struct TreeItem {
  enum class Tone { kPlain, kTitle, kQuiet, kBusy, kWarning };

  std::vector<std::string> cells;
  std::vector<TreeItem> children;
  Tone tone = Tone::kPlain;
  int kind = 0;

  TreeItem() = default;
  explicit TreeItem(std::vector<std::string> c, Tone t = Tone::kPlain, int k = 0)
      : cells(std::move(c)), tone(t), kind(k) {}

  TreeItem& Add(TreeItem child) { return children.emplace_back(std::move(child)); }
};

// Draws `root` and what is below it with box-drawing characters. A last cell that would pass `columns` goes
// on in further lines, broken at blanks and commas. `colors` adds ANSI colours by tone.
std::string DrawTree(const TreeItem& root, size_t columns, bool colors);

// "██████░░░░": `used` of `total` in `width` characters; anything used shows at least one full character.
std::string Bar(uint64_t used, uint64_t total, size_t width);

}  // namespace berth::cli
