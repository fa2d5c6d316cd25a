#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "scheduler/service/candidates.h"
#include "scheduler/service/scheduler.h"

namespace berth::scheduler {

// One batch of creates, from requests to durable claims. Each place is assumed in the mirror before the next
// is looked for, then all claims go to placement in one call; what lost a race is decided again. One thread.
class MultiCreate {
 public:
  // Both must outlive it.
  MultiCreate(Scheduler& scheduler, const BatchRequest& batch) : scheduler_(scheduler), batch_(batch) {}

  BatchAnswer Run();

 private:
  struct Item {
    const InstanceRequest* request = nullptr;
    std::shared_ptr<const RequestSpec> spec;  // shared by requests that ask the same
    std::optional<placement::ServerGroup> group;
    Uuid consumer;
    bool done = false;  // has its answer
    // Assumed in the mirror.
    std::optional<placement::Claim> claim;
    std::string host_name;
    uint64_t decided_on = 0;
  };
  // The hosts of one class that a group with a promise may still use.
  struct GroupHosts {
    std::string group;
    std::shared_ptr<const RequestSpec> spec;
    std::unique_ptr<Candidates> candidates;
    std::map<Uuid, uint32_t> members;  // by host
  };

  Status Prepare();
  Status CheckNames() const;
  // Finds and assumes a place for each item that has none, in this order. The first that gets none, with
  // all_or_nothing; they have their answers.
  std::optional<size_t> Place(const std::vector<size_t>& order);
  // False: there is none; the answer says why.
  bool PlaceOne(size_t number);
  bool AssumeOn(size_t number, const Choice& choice);
  Result<Decision> Decide(const Item& item);
  Decision DecideApart(const Item& item);
  Decision DecideTogether(const Item& item);
  bool HoldsAll(const HostView& view, const std::string& group) const;
  GroupHosts& HostsOf(const Item& item);
  // Strikes the host off if it has as many members of the group as it may.
  void StrikeIfFull(GroupHosts& hosts, const Uuid& host, uint32_t most);
  // Sends what is assumed. True: what was refused may be decided again.
  bool Claim();
  void Refused(size_t number, const Status& status);
  void AbandonAll();
  void NameAlternates();
  void FinishDry();
  std::vector<size_t> BySize() const;

  Scheduler& scheduler_;
  const BatchRequest& batch_;
  BatchAnswer answer_;
  std::vector<Item> items_;
  std::map<std::string, std::shared_ptr<const RequestSpec>> plain_;  // by flavor: requests without more
  std::list<GroupHosts> groups_;
  std::vector<size_t> assumed_;  // items, in order
};

}  // namespace berth::scheduler
