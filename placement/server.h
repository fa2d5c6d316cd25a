#pragma once

#include <functional>
#include <memory>
#include <string>

#include "common/status.h"

namespace grpc {
class Service;
}

namespace berth::placement {

class EventHub;
class Fleet;
class Writer;

// A whole placement service without its listener: the store, the engine, its writer, and the gRPC service to
// register with a grpc::Server. For berth-placement and for the all-in-one program.
//
//   TRY_ASSIGN(auto placement, PlacementServer::Open({.store = "sqlite:/var/lib/berth/placement.db"}));
//   builder.RegisterService(placement->service());
//   ... on the way out: placement->PrepareShutdown(); server->Shutdown(); then let `placement` go.
class PlacementServer {
 public:
  struct Options {
    std::string store = {};       // "sqlite:PATH"
    size_t queue_limit = 8192;    // commands that may wait for the store
    size_t events_kept = 16384;   // events that a watcher may resume from
    int64_t store_max_pages = 0;  // limit of the database in pages of 4 KiB; 0: none
  };

  // Opens the store and loads the state. kInvalidArgument: field "store"; the rest as OpenSqliteStore and
  // Store::Load.
  static Result<std::unique_ptr<PlacementServer>> Open(const Options& options);
  // The grpc::Server must be shut down. Finishes what was accepted.
  ~PlacementServer();

  grpc::Service* service();
  // In-process handles, as safe for threads as they say.
  Writer& writer();
  const Fleet& fleet();
  EventHub& events();

  // After each commit, on the writer's thread: its commands, and how long the store took. One observer; {}:
  // none.
  void ObserveCommits(std::function<void(size_t commands, double seconds)> observer);

  // Ends the open Watch calls, which otherwise never end by themselves.
  void PrepareShutdown();

 private:
  struct Parts;
  explicit PlacementServer(std::unique_ptr<Parts> parts);

  std::unique_ptr<Parts> parts_;
};

}  // namespace berth::placement
