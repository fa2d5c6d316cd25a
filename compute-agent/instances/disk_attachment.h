#pragma once

#include <string>

#include "common/status.h"

namespace berth::agent {

// A disk that an instance was given while it existed, beside those of its claim. A value type.
struct DiskAttachment {
  std::string id;    // chosen by the client, unique among the attached disks of the instance
  std::string path;  // on the host
  bool readonly = false;
  bool direct = false;   // O_DIRECT
  std::string serial;    // shown to the guest; empty: none
  bool leaving = false;  // to be taken from the guest; gone when the guest has let go of it

  // Its id within the VMM; never one that the VMM or a claim chose.
  std::string vmm_id() const { return "vol-" + id; }

  friend bool operator==(const DiskAttachment&, const DiskAttachment&) = default;
};

// kInvalidArgument with the field ("disk.id"): an id of other than 1 to 32 letters, digits, '-', '_' or '.';
// a path that is not absolute or holds quotation marks or control characters; a serial of more than 20 such
// characters as an id may have. Pure.
Status CheckDisk(const DiskAttachment& disk);
// The value of the VMM's option --disk: "path=\"/x\",id=vol-data". For disks that CheckDisk accepts. Pure.
std::string DiskOption(const DiskAttachment& disk);
// The body of vm.add-disk. Pure.
std::string DiskJson(const DiskAttachment& disk);

}  // namespace berth::agent
