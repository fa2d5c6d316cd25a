#pragma once

#include <map>
#include <string>

#include "common/status.h"

namespace berth::agent {

// The files of a seed by their names: "user-data", "meta-data", "network-config", "vendor-data".
using SeedFiles = std::map<std::string, std::string>;

inline constexpr size_t kMaxSeedBytes = size_t{4} << 20;  // of all files together

// Reads these files from a folder; meta-data is made of `instance_id` and `name` where there is none, since
// cloud-init takes no seed without it. kNotFound: the folder has no user-data; kOutOfRange: too large.
Result<SeedFiles> ReadSeed(const std::string& folder, const std::string& instance_id,
                           const std::string& name);

// A FAT12 file system labelled CIDATA that holds the files under their names: what cloud-init's NoCloud
// source looks for (cloud-init, doc/rtd/reference/datasources/nocloud.rst: "vfat or iso9660 ... volume label
// cidata"). The same files give the same bytes. kOutOfRange: too many or too large. Pure. Source: Microsoft's
// FAT specification of 2005.
Result<std::string> MakeSeedImage(const SeedFiles& files);

}  // namespace berth::agent
