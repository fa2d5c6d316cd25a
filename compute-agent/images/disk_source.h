#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/status.h"

namespace berth::agent {

// Where a disk of an instance comes from. A value type.
struct DiskSource {
  enum class Kind {
    kPath,   // a file or device that is there: the VMM's own key "path="
    kImage,  // "image=PATH,sha256=HEX[,size=20G]": a copy of an image, made once
    kSeed,   // "seed=FOLDER": cloud-init's user-data, meta-data and network-config from files of these names
  };
  Kind kind = Kind::kPath;
  std::string from;       // PATH or FOLDER
  std::string sha256;     // 64 lower-case hexadecimal digits
  uint64_t size = 0;      // bytes that the disk shall have; 0: as large as the image
  std::string remaining;  // the option's other keys, which are the VMM's

  friend bool operator==(const DiskSource&, const DiskSource&) = default;
};

// Reads a disk's option string. kInvalidArgument, field "disks": keys of two sources, a path that is not
// absolute, a checksum that is none, a size that is none or no multiple of 512. What the VMM's other keys
// mean is its own matter. Pure.
Result<DiskSource> ParseDiskSource(std::string_view option);

}  // namespace berth::agent
