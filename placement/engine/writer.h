#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "db/store.h"
#include "placement/engine/engine.h"
#include "placement/engine/event_hub.h"

namespace berth::placement {

// The one thread that changes the state. Commands wait in a bounded queue; the thread takes all that are
// there, applies them in order, makes them durable in one transaction of the store, shows the result to the
// readers, and only then answers all of them. A batch closes when the commit before it ends: nobody waits for
// a timer.
//
// If the store refuses the batch, the state goes back to what is durable and every command of the batch gets
// the error; the next batch is tried anew. If it is unknown whether the batch is durable (kUnknown), or the
// store was taken over, all later commands are refused until a restart. Thread-safe.
class Writer {
 public:
  struct Options {
    size_t queue_limit = 8192;   // commands that wait; more are refused
    size_t batch_limit = 512;    // commands of one transaction
    size_t events_kept = 16384;  // rows of the event table, give or take an eighth
    size_t audit_kept = 65536;   // rows of the audit table, likewise
    // After each commit, on the writer's thread: its commands and how long the store took. Must not block.
    std::function<void(size_t commands, double seconds)> on_commit = {};
  };
  // Called once, on the writer's thread (or the caller's, if the queue is full). Must not block.
  using Done = std::function<void(const Result<Outcome>&)>;

  // `engine` is the state of `store`; both, and `hub`, are the writer's alone from now on and outlive it.
  Writer(Engine& engine, db::Store& store, EventHub& hub, Options options, uint64_t first_event,
         uint64_t first_audit = 1);
  ~Writer();  // Stop
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  // kResourceExhausted: too many commands wait. kUnavailable: stopped, or the store failed for good.
  void Submit(Command command, Done done);
  // The same for callers that may wait.
  Result<Outcome> Execute(Command command);
  // Finishes what was accepted, then ends the thread. Later commands are refused.
  void Stop();

  // OK, or why all commands are refused until a restart.
  Status health() const;

  struct Counters {
    std::atomic<uint64_t> commands{0};
    std::atomic<uint64_t> commits{0};
    std::atomic<uint64_t> failed_commits{0};
    std::atomic<uint64_t> rejected{0};  // by the full queue
  };
  const Counters& counters() const { return counters_; }

 private:
  struct Pending {
    Command command;
    Done done;
    Result<Outcome> result = Outcome{};
  };

  void Run();
  void Process(std::deque<Pending>& batch);
  // Makes the batch durable and visible, or takes it back.
  Status Commit(std::deque<Pending>& batch);

  Engine& engine_;
  db::Store& store_;
  EventHub& hub_;
  const Options options_;
  uint64_t first_event_;             // oldest row of the event table
  uint64_t first_audit_;             // likewise
  std::vector<db::Change> startup_;  // what the restore has added: stored with the first batch
  Status failed_;                    // not OK: refuse all; changed by the writer's thread, under mutex_
  Counters counters_;

  mutable std::mutex mutex_;
  std::condition_variable work_;
  std::deque<Pending> queue_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace berth::placement
