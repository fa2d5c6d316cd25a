#pragma once

#include "common/status.h"
#include "vmm/state/state_reader.h"
#include "vmm/state/state_writer.h"

namespace berth::vmm {

// A part of the machine that works by itself and whose state goes into a snapshot. Calls come from one
// thread, while no vCPU runs.
class Stateful {
 public:
  virtual ~Stateful() = default;
  // Ends what was begun and does nothing more, so that neither it nor guest memory changes until Resume. On
  // an error, which says why its state cannot be taken, it goes on.
  virtual Status Suspend() = 0;
  virtual void Resume() = 0;
  // While it is suspended.
  virtual void Save(StateWriter& out) = 0;
  // Into a new one like the one that was saved; it is suspended afterwards. What does not fit fails the
  // reader, and then it must not be used.
  virtual void Load(StateReader& in) = 0;
};

}  // namespace berth::vmm
