#include "scheduler/service/tournament.h"

#include <algorithm>

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
    for (size_t node = 0; node < below; ++node) {
      const Entry entry = Play(fleet, levels_.size(), node);
      level.scores[node] = entry.score;
      level.winners[node] = entry.winner;
    }
    levels_.push_back(std::move(level));
  }
}

void Tournament::Replay(const Fleet& fleet, const std::vector<Change>& changes) {
  dirty_.clear();
  for (const Change& change : changes) {
    const auto node = static_cast<uint32_t>(change.slot / kFan);
    const Level& level = levels_.front();
    // One that is worse than the winner changes nothing. If the winner got worse itself, it is among the
    // changes.
    if (level.winners[node] != change.slot && level.scores[node] < scores_[change.slot]) continue;
    dirty_.push_back({node, change.renamed});
  }
  for (size_t number = 0; number < levels_.size() && !dirty_.empty(); ++number) {
    dirty_above_.clear();
    for (const Dirty& dirty : dirty_) {
      Level& level = levels_[number];
      const Entry entry = Play(fleet, number, dirty.node);
      // A winner that stayed, but for its name, may lose above.
      if (!dirty.renamed && entry == Entry{level.scores[dirty.node], level.winners[dirty.node]}) continue;
      level.scores[dirty.node] = entry.score;
      level.winners[dirty.node] = entry.winner;
      dirty_above_.push_back({static_cast<uint32_t>(dirty.node / kFan), dirty.renamed});
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
    bytes += level.scores.capacity() * sizeof(Score) + level.winners.capacity() * sizeof(uint32_t);
  return bytes;
}

}  // namespace berth::scheduler
