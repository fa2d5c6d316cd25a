#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "common/status.h"

namespace berth {

// Reads a whole file, at most `limit` bytes (a larger one is kOutOfRange: the caller would read a truncated
// truth). Works for files of /proc and /sys, whose size the kernel does not tell. Errors name the path.
Result<std::string> ReadFile(const std::string& path, size_t limit = 1 << 20);

// Replaces a file durably: temporary file beside it, fsync, rename, fsync of the folder. Mode 0600 unless
// given.
Status WriteFileAtomically(const std::string& path, std::string_view content, unsigned mode = 0600);

// Writes to an existing file in one write(2), as /proc and /sys want it.
Status WriteToFile(const std::string& path, std::string_view content);

}  // namespace berth
