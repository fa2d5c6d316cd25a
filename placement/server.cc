#include "placement/server.h"

#include <chrono>
#include <mutex>

#include "common/log.h"
#include "placement/engine/writer.h"
#include "placement/grpc/placement_service.h"
#include "placement/store/open_store.h"

namespace berth::placement {
namespace {

uint64_t NowMs() {
  auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
}

}  // namespace

// In the order of their making; they go in the opposite one.
struct PlacementServer::Parts {
  std::mutex mutex;  // guards commit_observer
  std::function<void(size_t, double)> commit_observer;
  std::unique_ptr<db::Store> store;
  std::unique_ptr<Engine> engine;
  Fleet fleet;
  std::unique_ptr<EventHub> hub;
  std::unique_ptr<Writer> writer;
  std::unique_ptr<PlacementService> service;
};

Result<std::unique_ptr<PlacementServer>> PlacementServer::Open(const Options& options) {
  auto parts = std::make_unique<Parts>();
  TRY_ASSIGN(parts->store, OpenStore(options.store, options.store_max_pages));
  TRY_ASSIGN(db::Contents contents, parts->store->Load());
  TRY_ASSIGN(parts->engine, Engine::Restore(contents));
  parts->fleet.Load(parts->engine->Hosts(), parts->engine->resources());
  parts->hub = std::make_unique<EventHub>(parts->fleet, EventHub::Options{.kept = options.events_kept});
  parts->hub->Load(contents.events, contents.sequence);
  uint64_t first = contents.events.empty() ? contents.sequence + 1 : contents.events.front()->sequence;
  Writer::Options limits{.queue_limit = options.queue_limit, .events_kept = options.events_kept};
  limits.on_commit = [p = parts.get()](size_t commands, double seconds) {
    std::lock_guard lock(p->mutex);
    if (p->commit_observer) p->commit_observer(commands, seconds);
  };
  parts->writer = std::make_unique<Writer>(*parts->engine, *parts->store, *parts->hub, limits, first,
                                           contents.first_audit);
  parts->service = std::make_unique<PlacementService>(*parts->writer, parts->fleet, *parts->hub, NowMs);
  LOG(kInfo, "store_opened",
      {{"store", parts->store->Describe()},
       {"epoch", parts->store->epoch()},
       {"hosts", contents.hosts.size()},
       {"claims", contents.claims.size()},
       {"providers", parts->engine->resources().provider_count()},
       {"consumers", parts->engine->resources().consumer_count()},
       {"sequence", contents.sequence}});
  return std::unique_ptr<PlacementServer>(new PlacementServer(std::move(parts)));
}

PlacementServer::PlacementServer(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

PlacementServer::~PlacementServer() {
  parts_->writer->Stop();
}

grpc::Service* PlacementServer::service() {
  return parts_->service.get();
}

Writer& PlacementServer::writer() {
  return *parts_->writer;
}

const Fleet& PlacementServer::fleet() {
  return parts_->fleet;
}

EventHub& PlacementServer::events() {
  return *parts_->hub;
}

void PlacementServer::ObserveCommits(std::function<void(size_t, double)> observer) {
  std::lock_guard lock(parts_->mutex);
  parts_->commit_observer = std::move(observer);
}

void PlacementServer::PrepareShutdown() {
  parts_->service->EndWatches();
}

}  // namespace berth::placement
