#include "scheduler/service/instance_source.h"

#include <optional>
#include <utility>
#include <vector>

#include "placement/wire/claim.h"

namespace berth::scheduler {
namespace {

void ChangeToProto(const InstanceChange& change, v1::InstanceEvent* out) {
  out->Clear();
  switch (change.kind) {
    case InstanceChange::Kind::kNone:
      return;
    case InstanceChange::Kind::kReset:
      out->set_kind(v1::INSTANCE_EVENT_KIND_RESET);
      return;
    case InstanceChange::Kind::kSynced:
      out->set_kind(v1::INSTANCE_EVENT_KIND_SYNCED);
      return;
    case InstanceChange::Kind::kChanged:
      out->set_kind(v1::INSTANCE_EVENT_KIND_CHANGED);
      wire::ClaimToProto(*change.claim, out->mutable_claim());
      return;
    case InstanceChange::Kind::kDeleted:
      out->set_kind(v1::INSTANCE_EVENT_KIND_DELETED);
      out->mutable_claim()->set_consumer(change.claim->consumer.ToString());
      out->mutable_claim()->set_name(change.claim->name);
      out->mutable_claim()->set_host(change.claim->host.ToString());
      return;
  }
}

class InstanceSource final : public wire::EventSource<v1::InstanceEvent> {
 public:
  InstanceSource(InstanceFeed& feed, std::shared_ptr<InstanceWatcher> watcher)
      : feed_(feed), watcher_(std::move(watcher)) {}
  ~InstanceSource() override { feed_.Unsubscribe(watcher_); }

  Result<bool> Next(v1::InstanceEvent* out) override {
    TRY_ASSIGN(const std::optional<InstanceChange> change, watcher_->Next());
    if (change) ChangeToProto(*change, out);
    return change.has_value();
  }

 private:
  InstanceFeed& feed_;
  const std::shared_ptr<InstanceWatcher> watcher_;  // shared with the feed
};

}  // namespace

Result<std::unique_ptr<wire::EventSource<v1::InstanceEvent>>> InstanceEvents(Scheduler& scheduler,
                                                                             const std::string& instance,
                                                                             std::function<void()> wake) {
  TRY(scheduler.CheckReady());
  auto present = [&scheduler] {
    std::vector<std::shared_ptr<const placement::Claim>> claims;
    for (Mirror::FoundClaim& found : scheduler.List()) claims.push_back(std::move(found.claim));
    return claims;
  };
  auto watcher = scheduler.feed().Subscribe(instance, present, std::move(wake));
  return std::make_unique<InstanceSource>(scheduler.feed(), std::move(watcher));
}

}  // namespace berth::scheduler
