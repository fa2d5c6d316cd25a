#pragma once

#include <map>
#include <memory>
#include <vector>

#include "placement/engine/host_version.h"
#include "placement/engine/resource_engine.h"

namespace berth::placement {

// The exact side of one command of the Placement model: which claims go and come on hosts, worked out on
// copies of the hosts, so that a command that is refused leaves no trace.
class ClaimPlan final : public ClaimBinder {
 public:
  // What the plan needs of the engine's draft; pointers live until the next change.
  class Source {
   public:
    virtual ~Source() = default;
    virtual const HostVersion* HostOf(const Uuid& host) const = 0;
    // The host of the consumer's claim, or nullptr.
    virtual const Uuid* ClaimHostOf(const Uuid& consumer) const = 0;
    // The holder of an instance's name, or nullptr.
    virtual const Uuid* NameHolder(const std::string& name) const = 0;
  };

  ClaimPlan(const Source& source, const ResourceView& view, uint64_t at_ms)
      : source_(source), view_(view), at_ms_(at_ms) {}

  void Drop(const Uuid& consumer) override;
  Status Bind(const Consumer& consumer) override;

  // In order of the command. A consumer may be in both.
  const std::vector<std::shared_ptr<const Claim>>& dropped() const { return dropped_; }
  const std::vector<std::shared_ptr<const Claim>>& bound() const { return bound_; }

 private:
  HostVersion& Copy(const Uuid& host);

  const Source& source_;
  const ResourceView& view_;  // the draft's, as it changes
  const uint64_t at_ms_;
  std::map<Uuid, HostVersion> hosts_;
  std::vector<std::shared_ptr<const Claim>> dropped_;
  std::vector<std::shared_ptr<const Claim>> bound_;
};

}  // namespace berth::placement
