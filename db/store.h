#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "common/status.h"
#include "common/uuid.h"
#include "placement/model/claim.h"
#include "placement/model/consumer.h"
#include "placement/model/host.h"
#include "placement/model/provider_tree.h"

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

// The Placement model. Numbers of names (NameTable) are kept: providers and consumers are stored with them.
enum class NameKind : uint8_t {
  kResourceClass = 1,
  kTrait = 2,
  kAggregate = 3,  // its name is the UUID's text
  kProject = 4,
  kUser = 5,
  kConsumerType = 6,
};
struct NameRecord {
  NameKind kind = NameKind::kResourceClass;
  uint32_t id = 0;
  std::string name;
  uint64_t created_at_ms = 0;
  uint64_t updated_at_ms = 0;  // 0: never
};
// What lies of a provider in the store: `used` follows from the consumers and is empty here, `generation` is
// with its tree.
struct ProviderRecord {
  placement::Provider provider;
  placement::TreeOwner owner = placement::TreeOwner::kClients;
};
// Who changed what in the Placement model, one row for each command that changed something.
struct AuditRecord {
  uint64_t number = 0;  // ascending by one over the life of the store
  uint64_t at_ms = 0;
  std::string actor;    // as the command says
  std::string action;   // the command's name
  std::string subject;  // a UUID or a name
};

// Generations of a tree's providers in the order of the tree (ProviderTree::Make).
struct TreeGenerations {
  Uuid root;
  std::vector<uint64_t> generations;
};

struct PutName {
  NameRecord name;
};
struct DeleteName {
  NameKind kind = NameKind::kResourceClass;
  uint32_t id = 0;
};
// One provider of a tree, all but its generation and usage. Inserts or replaces by UUID.
struct PutProvider {
  std::shared_ptr<const placement::ProviderTree> tree;
  uint32_t index = 0;
};
// Generations of all providers of a tree, in its order. Follows whenever the tree's providers or names
// change.
struct PutGenerations {
  std::shared_ptr<const placement::ProviderTree> tree;
};
struct DeleteProvider {
  Uuid uuid;
};
// The root is one no more.
struct DeleteGenerations {
  Uuid root;
};
struct PutConsumer {
  std::shared_ptr<const placement::Consumer> consumer;
};
struct DeleteConsumer {
  Uuid consumer;
};
struct AddAudit {
  AuditRecord record;
};
using Change = std::variant<PutHost, PutGeneration, DeleteHost, PutClaim, DeleteClaim, AddEvent, PutName,
                            DeleteName, PutProvider, PutGenerations, DeleteProvider, DeleteGenerations,
                            PutConsumer, DeleteConsumer, AddAudit>;

// Applied in order, all or nothing.
struct Batch {
  std::vector<Change> changes;
  uint64_t sequence = 0;             // of the last event, this batch included
  uint64_t drop_events_through = 0;  // events up to this number are no longer kept
  uint64_t drop_audit_through = 0;   // audit rows likewise
};

// Everything that the store holds but the audit rows. Hosts ascend by UUID, claims by consumer, events by
// sequence.
struct Contents {
  std::vector<HostRecord> hosts;
  std::vector<std::shared_ptr<const placement::Claim>> claims;
  std::vector<std::shared_ptr<const Event>> events;
  uint64_t sequence = 0;
  // The Placement model: names by kind and number, providers by UUID, generations by root, consumers by UUID;
  // those that are instances follow from the claims and are not here.
  std::vector<NameRecord> names;
  std::vector<ProviderRecord> providers;
  std::vector<TreeGenerations> generations;
  std::vector<std::shared_ptr<const placement::Consumer>> consumers;
  uint64_t first_audit = 1;  // number of the oldest row kept (the next one's, if there is none)
  uint64_t audit = 0;        // of the last row
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
  // Whether what is stored is well-formed by the store's own rules. kDataLoss: it is not.
  virtual Status Verify() = 0;
  // The last `limit` audit rows, newest first.
  virtual Result<std::vector<AuditRecord>> ReadAudit(size_t limit) = 0;
  // For messages: "sqlite:/var/lib/berth/placement.db".
  virtual std::string Describe() const = 0;
};

}  // namespace berth::db
