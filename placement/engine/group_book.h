#pragma once

#include <cstdint>
#include <string>

#include "common/status.h"
#include "common/uuid.h"
#include "placement/engine/undo_map.h"
#include "placement/model/server_group.h"

namespace berth::placement {

// Which server groups have members, and how many on each host. Follows from the claims, so it is not stored.
// Check before Add, with nothing between them, is what keeps a group's promise under parallel requests: one
// thread commits all claims. Changes are kept by Commit or taken back by Rollback. One thread.
class GroupBook {
 public:
  // Whether one more member may be on the host. kAborted, field "group": it would break the group's promise,
  // and another host may do; kInvalidArgument: the group is there with other rules.
  Status Check(const ServerGroup& group, const Uuid& host) const;
  void Add(const ServerGroup& group, const Uuid& host);
  // Of a member that was added.
  void Remove(const ServerGroup& group, const Uuid& host);

  void Commit();
  void Rollback();

 private:
  struct Group {
    ServerGroup rules;  // the first member's
    uint64_t members = 0;
  };

  static std::string KeyOf(const ServerGroup& group, const Uuid& host);

  UndoMap<std::string, Group> groups_;       // by name
  UndoMap<std::string, uint32_t> on_hosts_;  // by KeyOf
};

}  // namespace berth::placement
