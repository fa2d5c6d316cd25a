#include "scheduler/service/tournament.h"

#include <algorithm>
#include <utility>

namespace berth::scheduler {

Tournament::Entry Tournament::PlayPage(const Fleet& fleet, size_t node) const {
  const size_t first = node * kFan;
  const size_t count = std::min(kFan, scores_.size() - first);
  const Score* scores = scores_.data() + first;
  Entry best;
  for (size_t i = 0; i < count; ++i) best.score = std::min(best.score, scores[i]);
  if (best.score >= kUndecidedScore) return {};
  const FleetPage& page = *fleet.PageOf(first);
  uint32_t rank = UINT32_MAX;
  for (size_t i = 0; i < count; ++i) {
    if (scores[i] != best.score || page.ranks[i] >= rank) continue;
    rank = page.ranks[i];
    best.winner = static_cast<uint32_t>(first + i);
  }
  // Where many are equal it is asked for by the level above.
  __builtin_prefetch(&page.names[best.winner % kFan]);
  return best;
}

Tournament::Entry Tournament::PlayAbove(const Fleet& fleet, const Level& below, size_t node) const {
  Entry best;
  const size_t end = std::min(below.winners.size(), (node + 1) * kFan);
  for (size_t i = node * kFan; i < end; ++i) {
    const Entry one{below.scores[i], below.winners[i]};
    if (one.winner == kNobody || one.score > best.score) continue;
    if (one.score == best.score && !fleet.NameBefore(one.winner, best.winner)) continue;
    best = one;
  }
  return best;
}

void Tournament::Rebuild(const Fleet& fleet) {
  levels_.clear();
  for (size_t below = scores_.size(); levels_.empty() ? below > 0 : below > 1;) {
    below = (below + kFan - 1) / kFan;
    Level level;
    level.scores.resize(below);
    level.winners.resize(below);
    level.marks.resize(below, Mark::kClean);
    for (size_t node = 0; node < below; ++node) {
      const Entry entry = Play(fleet, levels_.size(), node);
      level.scores[node] = entry.score;
      level.winners[node] = entry.winner;
    }
    levels_.push_back(std::move(level));
  }
}

void Tournament::SetMark(Level& level, size_t node, Mark mark, std::vector<uint32_t>& dirty) {
  Mark& known = level.marks[node];
  if (known == Mark::kClean) dirty.push_back(static_cast<uint32_t>(node));
  known = std::max(known, mark);
}

void Tournament::Replay(const Fleet& fleet, const std::vector<Change>& changes) {
  dirty_.clear();
  for (const Change& change : changes) {
    const size_t node = change.slot / kFan;
    Level& level = levels_.front();
    // One that is worse than the winner changes nothing. If the winner got worse itself, it is among the
    // changes.
    if (level.winners[node] != change.slot && level.scores[node] < scores_[change.slot]) continue;
    SetMark(level, node, change.renamed ? Mark::kRenamed : Mark::kDirty, dirty_);
  }
  for (size_t number = 0; number < levels_.size() && !dirty_.empty(); ++number) {
    dirty_above_.clear();
    Level& level = levels_[number];
    for (uint32_t node : dirty_) {
      const Entry entry = Play(fleet, number, node);
      const Mark mark = std::exchange(level.marks[node], Mark::kClean);
      // A winner that stayed, but for its name, may lose above.
      if (mark != Mark::kRenamed && entry == Entry{level.scores[node], level.winners[node]}) continue;
      level.scores[node] = entry.score;
      level.winners[node] = entry.winner;
      if (number + 1 < levels_.size()) SetMark(levels_[number + 1], node / kFan, mark, dirty_above_);
    }
    dirty_.swap(dirty_above_);
  }
}

uint32_t Tournament::BestExcept(const Fleet& fleet, const std::vector<size_t>& excluded) const {
  // Parts of the tournament, the one with the best winner first; one whose winner is excluded is taken apart.
  struct Part {
    Entry best;
    size_t level;  // one more than that of the node; 0: the slot itself
    size_t node;
  };
  auto worse = [&](const Part& a, const Part& b) {
    if (a.best.score != b.best.score) return a.best.score > b.best.score;
    return a.best.winner != b.best.winner && fleet.NameBefore(b.best.winner, a.best.winner);
  };
  std::vector<Part> parts;
  auto push = [&](const Entry& best, size_t level, size_t node) {
    if (best.winner == kNobody || best.score >= kUndecidedScore) return;
    parts.push_back({best, level, node});
    std::push_heap(parts.begin(), parts.end(), worse);
  };
  if (!levels_.empty()) push({levels_.back().scores[0], levels_.back().winners[0]}, levels_.size(), 0);
  while (!parts.empty()) {
    std::pop_heap(parts.begin(), parts.end(), worse);
    const Part part = parts.back();
    parts.pop_back();
    if (!std::binary_search(excluded.begin(), excluded.end(), size_t{part.best.winner}))
      return part.best.winner;
    if (part.level == 0) continue;
    const bool slots = part.level == 1;
    const size_t below = slots ? scores_.size() : levels_[part.level - 2].winners.size();
    const size_t end = std::min(below, (part.node + 1) * kFan);
    for (size_t i = part.node * kFan; i < end; ++i) {
      const Level* level = slots ? nullptr : &levels_[part.level - 2];
      push(slots ? Entry{scores_[i], static_cast<uint32_t>(i)} : Entry{level->scores[i], level->winners[i]},
           part.level - 1, i);
    }
  }
  return kNobody;
}

size_t Tournament::MemoryBytes() const {
  size_t bytes = scores_.capacity() * sizeof(Score);
  for (const Level& level : levels_)
    bytes += level.scores.capacity() * sizeof(Score) + level.winners.capacity() * sizeof(uint32_t) +
             level.marks.capacity() * sizeof(Mark);
  return bytes;
}

}  // namespace berth::scheduler
