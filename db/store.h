#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "common/status.h"
#include "common/uuid.h"
#include "placement/model/claim.h"
#include "placement/model/host.h"

// What the placement engine keeps across restarts, as plain values, and the interface to where it is kept.
// Values are shared and immutable: a batch costs no copies.
namespace berth::db {

enum class EventKind : uint8_t {
  kHostChanged = 1,
  kHostDeleted = 2,
  kClaimChanged = 3,
  kClaimDeleted = 4,
  kSynced = 5,  // end of a snapshot in a stream; never stored
};

// One change of the state, for those who follow it. Sequence numbers ascend by one over the life of the
// store.
struct Event {
  uint64_t sequence = 0;
  EventKind kind = EventKind::kHostChanged;
  Uuid host;
  uint64_t generation = 0;  // of the host after the event; its last one after kHostDeleted
  uint64_t at_ms = 0;       // Unix time, from the command
  std::shared_ptr<const placement::HostReport> report;  // of kHostChanged
  std::shared_ptr<const placement::Claim> claim;        // of kClaimChanged; as it was last, of kClaimDeleted
};

struct HostRecord {
  uint64_t generation = 0;
  std::shared_ptr<const placement::HostReport> reported;   // what the agent said
  std::shared_ptr<const placement::HostReport> effective;  // with what claims keep; may be the same object
};

struct PutHost {
  HostRecord host;
};
struct PutGeneration {
  Uuid host;
  uint64_t generation = 0;
};
// Claims of the host must be gone by then.
struct DeleteHost {
  Uuid host;
};
// Inserts or replaces by consumer. The host must be there.
struct PutClaim {
  std::shared_ptr<const placement::Claim> claim;
};
struct DeleteClaim {
  Uuid consumer;
};
struct AddEvent {
  std::shared_ptr<const Event> event;
};
using Change = std::variant<PutHost, PutGeneration, DeleteHost, PutClaim, DeleteClaim, AddEvent>;

// Applied in order, all or nothing.
struct Batch {
  std::vector<Change> changes;
  uint64_t sequence = 0;             // of the last event, this batch included
  uint64_t drop_events_through = 0;  // events up to this number are no longer kept
};

// Everything that the store holds. Hosts ascend by UUID, claims by consumer, events by sequence.
struct Contents {
  std::vector<HostRecord> hosts;
  std::vector<std::shared_ptr<const placement::Claim>> claims;
  std::vector<std::shared_ptr<const Event>> events;
  uint64_t sequence = 0;
};

// Where the engine's state outlives the process. Opening (by the implementation's factory) takes the store
// over: it raises the epoch, and every Append of an older opening fails. One thread at a time.
class Store {
 public:
  virtual ~Store() = default;

  // kDataLoss: something stored cannot be read; the message names it.
  virtual Result<Contents> Load() = 0;

  // Makes the batch durable before it returns OK. Errors:
  //   kUnknown             it is not known whether the batch is durable (a sync failed): every later Append
  //   fails too,
  //                        and only a new opening tells;
  //   kFailedPrecondition  another opening has a newer epoch: nothing was written, nor ever will be by this
  //   one; kResourceExhausted   no space: nothing was written, a later Append may succeed; others nothing was
  //   written.
  virtual Status Append(const Batch& batch) = 0;

  virtual uint64_t epoch() const = 0;
  // For messages: "sqlite:/var/lib/berth/placement.db".
  virtual std::string Describe() const = 0;
};

}  // namespace berth::db
