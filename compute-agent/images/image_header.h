#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/status.h"

namespace berth::agent {

// How much of an image CheckRawImage wants to see of its beginning and of its end.
inline constexpr size_t kImageHead = 4096;
inline constexpr size_t kImageTail = 512;

// A guest's disk is used as raw bytes: another format would show its guest a broken disk, and one that names
// other files (qcow2's backing file) would let who made the image read files of the host. `head` is the
// beginning of the image (all of it, if shorter than kImageHead), `tail` its last kImageTail bytes.
// kInvalidArgument names the format that it has instead, and of qcow2 the backing file. Of any bytes; pure.
// Sources: QEMU's docs/interop/qcow2.rst, the VHD and VHDX specifications, VMware's Virtual Disk Format 1.1.
Status CheckRawImage(std::string_view head, std::string_view tail);

}  // namespace berth::agent
