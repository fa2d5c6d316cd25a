#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "scheduler/service/fleet.h"
#include "scheduler/service/score.h"

namespace berth::scheduler {

// The slots of a fleet by score: who is the best, and after a few scores changed, who is now. Among equals
// the first by name. A tree: each node names the best of its 16 parts, the lowest of the slots of one page.
// Not thread-safe.
class Tournament {
 public:
  static constexpr uint32_t kNobody = UINT32_MAX;

  size_t size() const { return scores_.size(); }
  // New slots have kNoScore. Call Rebuild before anything else is asked.
  void Resize(size_t slots) { scores_.resize(slots, kNoScore); }
  Score score(size_t slot) const { return scores_[slot]; }
  // Rebuild or Replay before anything else is asked. Scores from kUndecidedScore on do not take part.
  void SetScore(size_t slot, Score score) { scores_[slot] = score; }

  // `fleet`: of the names, here and below. Each slot with a score that takes part must hold a host.
  void Rebuild(const Fleet& fleet);

  struct Change {
    uint32_t slot;
    bool renamed;  // the slot holds another host now
  };
  // For all slots with another score or name than before. Reads scores as they are now, for all slots at
  // once: so no winner is compared with a score that is no longer true.
  void Replay(const Fleet& fleet, const std::vector<Change>& changes);

  uint32_t Best() const { return levels_.empty() ? kNobody : levels_.back().winners[0]; }
  // The best of those that are not among `excluded`, which ascends. Costs by how many of them are better.
  uint32_t BestExcept(const Fleet& fleet, const std::vector<size_t>& excluded) const;

  size_t MemoryBytes() const;

 private:
  static constexpr size_t kFan = FleetPage::kHosts;

  // Whether a node is to be played; where the winner's name may be another, those above it whatever comes
  // out.
  enum class Mark : uint8_t { kClean, kDirty, kRenamed };
  // Winners of the nodes of one level, with their scores beside them: a node is played within few cache
  // lines.
  struct Level {
    std::vector<Score> scores;
    std::vector<uint32_t> winners;
    std::vector<Mark> marks;  // all kClean but in Replay
  };
  struct Entry {
    Score score = kNoScore;
    uint32_t winner = kNobody;

    friend bool operator==(const Entry&, const Entry&) = default;
  };

  static void SetMark(Level& level, size_t node, Mark mark, std::vector<uint32_t>& dirty);
  Entry PlayPage(const Fleet& fleet, size_t node) const;
  Entry PlayAbove(const Fleet& fleet, const Level& below, size_t node) const;
  Entry Play(const Fleet& fleet, size_t level, size_t node) const {
    return level == 0 ? PlayPage(fleet, node) : PlayAbove(fleet, levels_[level - 1], node);
  }

  std::vector<Score> scores_;  // by slot
  // The first has the best slot of each page, the next the best of 16 of those, and so on up to one.
  std::vector<Level> levels_;
  // In Replay, kept for their memory: nodes of one level that are marked, and of the next.
  std::vector<uint32_t> dirty_;
  std::vector<uint32_t> dirty_above_;
};

}  // namespace berth::scheduler
