#pragma once

#include <functional>
#include <utility>
#include <vector>

#include "vmm/convert/converter.h"

namespace berth::vmm {

// The steps of one change of page states, in whatever order the change needs them, and their undoing.
// Used on one thread, with the range locked.
class Converter::Transaction {
 public:
  explicit Transaction(Converter& converter) : c_(converter) {}

  // What undoes a step that is about to be done, even if that is done in part only.
  void OnUndo(std::function<Status()> undo) { undo_.push_back(std::move(undo)); }
  // Does a step. On an error everything so far is undone, the last first, and the error is returned;
  // kDataLoss when that failed too.
  Status Do(ConversionStep step, const std::function<Status()>& action);
  // A step that may fail without taking the change back.
  void Try(ConversionStep step, const std::function<Status()>& action);

  // ---- What steps are made of
  Status Populate(const std::vector<StateRun>& ranges, PageState side);
  // Gives back what it can of one side; the first error.
  Status Discard(const std::vector<StateRun>& ranges, PageState side);
  Status SetAttributes(const StateRun& range, bool is_private);
  // Tells each listener; when one fails, those before it hear the opposite.
  Status TellShared(const std::vector<StateRun>& runs);
  Status TellPrivate(const std::vector<StateRun>& runs);
  // Of the runs, the pages in `from` go to `to`.
  void Mark(const std::vector<StateRun>& runs, PageState from, PageState to);
  // The ranges of the shared side's memory that `runs` need no more, and nobody else does.
  std::vector<StateRun> Discardable(const std::vector<StateRun>& runs) const;

 private:
  Status UndoAll(Status reason);

  Converter& c_;
  std::vector<std::function<Status()>> undo_;
};

}  // namespace berth::vmm
