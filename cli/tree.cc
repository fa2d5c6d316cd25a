#include "cli/tree.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>

#include "cli/table.h"

namespace berth::cli {
namespace {

constexpr size_t kMinLastCell = 24;

const char* ColorOf(TreeItem::Tone tone) {
  switch (tone) {
    case TreeItem::Tone::kPlain:
      return "";
    case TreeItem::Tone::kTitle:
      return "\x1b[1m";
    case TreeItem::Tone::kQuiet:
      return "\x1b[2m";
    case TreeItem::Tone::kBusy:
      return "\x1b[36m";
    case TreeItem::Tone::kWarning:
      return "\x1b[33m";
  }
  return "";
}

// Breaks `text` after blanks and commas into lines of at most `width` columns; what has no such place stays
// whole.
std::vector<std::string> Wrap(const std::string& text, size_t width) {
  std::vector<std::string> lines;
  std::string line;
  size_t at = 0;
  while (at < text.size()) {
    size_t end = text.find_first_of(" ,", at);
    std::string piece = text.substr(at, end == std::string::npos ? std::string::npos : end - at + 1);
    at += piece.size();
    size_t needed = DisplayWidth(piece) - (piece.ends_with(' ') ? 1 : 0);
    if (!line.empty() && DisplayWidth(line) + needed > width) {
      lines.push_back(std::move(line));
      line.clear();
    }
    line += piece;
  }
  lines.push_back(std::move(line));
  for (std::string& one : lines) one.erase(one.find_last_not_of(' ') + 1);
  return lines;
}

class Drawing {
 public:
  Drawing(size_t columns, bool colors) : columns_(columns), colors_(colors) {}

  // `first` stands before the item's first line, `rest` before all that follows.
  void Draw(const TreeItem& item, const std::string& first, const std::string& rest,
            const std::vector<size_t>& widths) {
    bool open = !item.children.empty();
    DrawCells(item, first, rest + (open ? "│" : " "), widths);
    std::map<int, std::vector<size_t>> widths_of_kind;
    for (const TreeItem& child : item.children) {
      std::vector<size_t>& w = widths_of_kind[child.kind];
      w.resize(std::max(w.size(), child.cells.size()));
      for (size_t i = 0; i + 1 < child.cells.size(); ++i) {
        w[i] = std::max(w[i], DisplayWidth(child.cells[i]));
      }
    }
    for (size_t i = 0; i < item.children.size(); ++i) {
      const TreeItem& child = item.children[i];
      bool last = i + 1 == item.children.size();
      Draw(child, rest + (last ? "└─ " : "├─ "), rest + (last ? "   " : "│  "), widths_of_kind[child.kind]);
    }
  }

  std::string Take() && { return std::move(out_); }

 private:
  void DrawCells(const TreeItem& item, const std::string& first, const std::string& rest,
                 const std::vector<size_t>& widths) {
    std::string line;
    for (size_t i = 0; i + 1 < item.cells.size(); ++i) {
      line += PadRight(item.cells[i], i < widths.size() ? widths[i] : 0) + "  ";
    }
    size_t before = DisplayWidth(first) + DisplayWidth(line);
    size_t room = before + kMinLastCell < columns_ ? columns_ - before : kMinLastCell;
    std::vector<std::string> wrapped = Wrap(item.cells.empty() ? "" : item.cells.back(), room);
    Emit(first, line + wrapped.front(), item.tone);
    size_t indent = before > DisplayWidth(rest) ? before - DisplayWidth(rest) : 0;
    for (size_t i = 1; i < wrapped.size(); ++i) {
      Emit(rest, std::string(indent, ' ') + wrapped[i], item.tone);
    }
  }

  void Emit(const std::string& prefix, std::string text, TreeItem::Tone tone) {
    text.erase(text.find_last_not_of(' ') + 1);
    if (colors_) {
      const char* color = ColorOf(tone);
      out_ += prefix.empty() ? "" : std::string(ColorOf(TreeItem::Tone::kQuiet)) + prefix + "\x1b[0m";
      out_ += *color == '\0' ? text : color + text + "\x1b[0m";
    } else {
      out_ += prefix + text;
    }
    out_.erase(out_.find_last_not_of(' ') + 1);
    out_ += "\n";
  }

  size_t columns_;
  bool colors_;
  std::string out_;
};

}  // namespace

std::string DrawTree(const TreeItem& root, size_t columns, bool colors) {
  Drawing drawing(columns, colors);
  drawing.Draw(root, "", "", {});
  return std::move(drawing).Take();
}

std::string Bar(uint64_t used, uint64_t total, size_t width) {
  double share = total == 0 ? 0.0 : static_cast<double>(std::min(used, total)) / static_cast<double>(total);
  auto full = static_cast<size_t>(std::lround(share * static_cast<double>(width)));
  if (used > 0) full = std::max<size_t>(full, 1);
  if (used < total) full = std::min(full, width - 1);
  std::string bar;
  for (size_t i = 0; i < width; ++i) bar += i < full ? "█" : "░";
  return bar;
}

}  // namespace berth::cli
