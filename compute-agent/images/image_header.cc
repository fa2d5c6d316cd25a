#include "compute-agent/images/image_header.h"

#include <algorithm>
#include <array>

namespace berth::agent {
namespace {

using namespace std::string_view_literals;

struct Magic {
  size_t offset;
  std::string_view bytes;
  const char* format;
};
constexpr std::array kHeads = {
    Magic{0, "QFI\xfb"sv, "qcow2"},
    Magic{0, "QED\0"sv, "QED"},
    Magic{0, "KDMV"sv, "VMDK"},
    Magic{0, "COWD"sv, "VMDK"},
    Magic{0, "# Disk DescriptorFile"sv, "VMDK"},
    Magic{0, "conectix"sv, "VHD"},
    Magic{0, "vhdxfile"sv, "VHDX"},
    Magic{0x40, "\x7f\x10\xda\xbe"sv, "VDI"},
    Magic{0, "WithoutFreeSpace"sv, "Parallels"},
    Magic{0, "WithouFreSpacExt"sv, "Parallels"},
    Magic{0, "Bochs Virtual HD Image"sv, "Bochs"},
    Magic{0, "\x1f\x8b\x08"sv, "gzip"},
    Magic{0,
          "\xfd"
          "7zXZ\0"sv,
          "xz"},
    Magic{0, "\x28\xb5\x2f\xfd"sv, "zstd"},
    Magic{0, "BZh"sv, "bzip2"},
};
constexpr std::array kTails = {
    Magic{0, "conectix"sv, "VHD"},
    Magic{0, "koly"sv, "DMG"},
};

bool Has(std::string_view text, const Magic& magic) {
  return text.size() >= magic.offset && text.substr(magic.offset).starts_with(magic.bytes);
}

uint64_t BigEndian(std::string_view text, size_t offset, size_t bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes; ++i) value = value << 8 | static_cast<unsigned char>(text[offset + i]);
  return value;
}

// The backing file that a qcow2 header names, as far as the header's first bytes show it.
std::string BackingFile(std::string_view head) {
  constexpr size_t kOffsetAt = 8, kSizeAt = 16, kLongest = 1023;
  if (head.size() < kSizeAt + 4) return {};
  const uint64_t offset = BigEndian(head, kOffsetAt, 8);
  const uint64_t size = BigEndian(head, kSizeAt, 4);
  if (offset == 0 || size == 0 || size > kLongest || offset >= head.size()) return {};
  std::string name(head.substr(offset, size));
  for (char& c : name) {
    if (static_cast<unsigned char>(c) < ' ' || static_cast<unsigned char>(c) >= 0x7f) c = '?';
  }
  return name;
}

Status NotRaw(const std::string& format, const std::string& more) {
  return InvalidArgument("the image is no raw image but of format " + format + more, "image",
                         "convert it: qemu-img convert -O raw IN OUT");
}

}  // namespace

Status CheckRawImage(std::string_view head, std::string_view tail) {
  for (const Magic& magic : kHeads) {
    if (!Has(head, magic)) continue;
    const std::string backing = magic.format == "qcow2"sv ? BackingFile(head) : std::string();
    return NotRaw(magic.format, backing.empty() ? "" : " with the backing file \"" + backing + "\"");
  }
  for (const Magic& magic : kTails) {
    if (Has(tail, magic)) return NotRaw(magic.format, "");
  }
  return OkStatus();
}

}  // namespace berth::agent
