#include "placement/grpc/watch_source.h"

#include <utility>

#include "placement/grpc/host_facts.h"
#include "placement/wire/claim.h"
#include "placement/wire/host.h"

namespace berth::placement {
namespace {

void EventToProto(const Event& event, const Fleet& fleet, v1::Event* out) {
  out->Clear();
  out->set_sequence(event.sequence);
  out->set_kind(static_cast<v1::EventKind>(event.kind));  // the same numbers
  if (event.kind != EventKind::kSynced) out->set_host(event.host.ToString());
  out->set_generation(event.generation);
  out->set_at_ms(event.at_ms);
  if (event.report) {
    wire::HostToProto(*event.report, out->mutable_host_state());
    out->mutable_host_state()->set_generation(event.generation);
    // As it is now: at least as new as the event, and whatever comes later is told again.
    HostFactsToProto(*fleet.resources(), event.host, out->mutable_host_state());
  }
  if (event.kind == EventKind::kClaimChanged) wire::ClaimToProto(*event.claim, out->mutable_claim());
  if (event.kind == EventKind::kClaimDeleted) {
    v1::Claim* claim = out->mutable_claim();
    claim->set_consumer(event.claim->consumer.ToString());
    claim->set_name(event.claim->name);
    claim->set_host(event.claim->host.ToString());
  }
}

class WatchSource final : public wire::EventSource<v1::Event> {
 public:
  WatchSource(EventHub& hub, const Fleet& fleet, std::shared_ptr<Watcher> watcher)
      : hub_(hub), fleet_(fleet), watcher_(std::move(watcher)) {}
  ~WatchSource() override { hub_.Unsubscribe(watcher_); }

  Result<bool> Next(v1::Event* out) override {
    TRY_ASSIGN(const std::shared_ptr<const Event> event, watcher_->Next());
    if (event) EventToProto(*event, fleet_, out);
    return event != nullptr;
  }

 private:
  EventHub& hub_;
  const Fleet& fleet_;
  const std::shared_ptr<Watcher> watcher_;  // shared with the hub
};

}  // namespace

Result<std::unique_ptr<wire::EventSource<v1::Event>>> WatchEvents(EventHub& hub, const Fleet& fleet,
                                                                  const WatchRequest& request,
                                                                  std::function<void()> wake) {
  TRY_ASSIGN(std::shared_ptr<Watcher> watcher, hub.Subscribe(request, std::move(wake)));
  return std::make_unique<WatchSource>(hub, fleet, std::move(watcher));
}

}  // namespace berth::placement
