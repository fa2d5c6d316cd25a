#include "placement/engine/writer.h"

#include <algorithm>
#include <chrono>
#include <future>

#include "common/log.h"

namespace berth::placement {

Writer::Writer(Engine& engine, db::Store& store, EventHub& hub, Options options, uint64_t first_event,
               uint64_t first_audit)
    : engine_(engine),
      store_(store),
      hub_(hub),
      options_(options),
      first_event_(first_event),
      first_audit_(first_audit),
      startup_(engine.StartupChanges()) {
  thread_ = std::thread([this] { Run(); });
}

Writer::~Writer() {
  Stop();
}

void Writer::Submit(Command command, Done done) {
  Status refused;
  {
    std::unique_lock lock(mutex_);
    if (stopping_) {
      refused = Unavailable("placement is shutting down");
    } else if (queue_.size() >= options_.queue_limit) {
      refused = ResourceExhausted(std::to_string(queue_.size()) + " commands wait for the store", {},
                                  "try again later");
    } else {
      queue_.push_back({.command = std::move(command), .done = std::move(done)});
      const bool was_empty = queue_.size() == 1;  // otherwise the thread is awake, or will find it
      lock.unlock();
      if (was_empty) work_.notify_one();
      return;
    }
  }
  counters_.rejected.fetch_add(1, std::memory_order_relaxed);
  done(refused);
}

Result<Outcome> Writer::Execute(Command command) {
  std::promise<Result<Outcome>> promise;
  auto future = promise.get_future();
  Submit(std::move(command), [&promise](const Result<Outcome>& result) { promise.set_value(result); });
  return future.get();
}

Status Writer::health() const {
  std::lock_guard lock(mutex_);
  return failed_;
}

void Writer::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Writer::Run() {
  while (true) {
    std::deque<Pending> batch;
    {
      std::unique_lock lock(mutex_);
      work_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) return;
      if (queue_.size() <= options_.batch_limit) {
        batch.swap(queue_);
      } else {
        auto end = queue_.begin() + static_cast<ptrdiff_t>(options_.batch_limit);
        std::move(queue_.begin(), end, std::back_inserter(batch));
        queue_.erase(queue_.begin(), end);
      }
    }
    Process(batch);
  }
}

void Writer::Process(std::deque<Pending>& batch) {
  if (failed_.ok()) {
    for (Pending& pending : batch) pending.result = engine_.Apply(pending.command);
    Status committed = Commit(batch);
    if (!committed.ok()) {
      for (Pending& pending : batch) pending.result = committed;
    }
  } else {
    for (Pending& pending : batch) pending.result = failed_;
  }
  counters_.commands.fetch_add(batch.size(), std::memory_order_relaxed);
  for (Pending& pending : batch) pending.done(pending.result);
}

Status Writer::Commit(std::deque<Pending>& batch) {
  db::Batch changes;
  changes.sequence = engine_.sequence();
  for (Pending& pending : batch) {
    if (!pending.result) continue;
    auto& own = pending.result->changes;
    std::move(own.begin(), own.end(), std::back_inserter(changes.changes));
    own.clear();
  }
  if (changes.changes.empty()) return OkStatus();
  if (!startup_.empty()) changes.changes.insert(changes.changes.begin(), startup_.begin(), startup_.end());
  // Old events go a good many at a time.
  if (changes.sequence > first_event_ + options_.events_kept + options_.events_kept / 8) {
    changes.drop_events_through = changes.sequence - options_.events_kept;
  }
  if (engine_.audit() > first_audit_ + options_.audit_kept + options_.audit_kept / 8) {
    changes.drop_audit_through = engine_.audit() - options_.audit_kept;
  }
  const auto start = std::chrono::steady_clock::now();
  Status status = store_.Append(changes);
  if (options_.on_commit) {
    std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    options_.on_commit(batch.size(), took.count());
  }
  if (status.ok()) {
    counters_.commits.fetch_add(1, std::memory_order_relaxed);
    startup_.clear();
    if (changes.drop_events_through > 0) first_event_ = changes.drop_events_through + 1;
    if (changes.drop_audit_through > 0) first_audit_ = changes.drop_audit_through + 1;
    hub_.Publish(engine_.Commit());
    return status;
  }
  counters_.failed_commits.fetch_add(1, std::memory_order_relaxed);
  engine_.Rollback();
  LOG(kError, "commit_failed", {{"store", store_.Describe()}, {"commands", batch.size()}, {"error", status}});
  if (status.code() == StatusCode::kUnknown || status.code() == StatusCode::kFailedPrecondition) {
    std::lock_guard lock(mutex_);
    failed_ = Status(StatusCode::kUnavailable, "no further writes: " + status.message(), {},
                     "restart berth-placement");
    return status.code() == StatusCode::kUnknown ? status : failed_;
  }
  return status;
}

}  // namespace berth::placement
