#include "cli/pci_names.h"

#include <array>
#include <cstdio>

namespace berth::cli {
namespace {

struct Name {
  uint16_t code;  // base class and subclass; the subclass 0xff stands for all others of the base class
  const char* text;
};

constexpr std::array kNames = {
    Name{0x0100, "scsi"},          Name{0x0101, "ide"},           Name{0x0104, "raid"},
    Name{0x0106, "sata"},          Name{0x0107, "sas"},           Name{0x0108, "nvme"},
    Name{0x01ff, "storage"},       Name{0x0200, "ethernet"},      Name{0x0207, "infiniband"},
    Name{0x0208, "fabric"},        Name{0x02ff, "network"},       Name{0x0300, "vga"},
    Name{0x0302, "3d controller"}, Name{0x03ff, "display"},       Name{0x04ff, "multimedia"},
    Name{0x0502, "cxl memory"},    Name{0x05ff, "memory"},        Name{0x0600, "host bridge"},
    Name{0x0601, "isa bridge"},    Name{0x0604, "pci bridge"},    Name{0x06ff, "bridge"},
    Name{0x0700, "serial port"},   Name{0x07ff, "communication"}, Name{0x0806, "iommu"},
    Name{0x08ff, "system"},        Name{0x09ff, "input"},         Name{0x0bff, "processor"},
    Name{0x0c03, "usb"},           Name{0x0c05, "smbus"},         Name{0x0c04, "fibre channel"},
    Name{0x0cff, "serial bus"},    Name{0x0dff, "wireless"},      Name{0x10ff, "crypto"},
    Name{0x11ff, "signal"},        Name{0x12ff, "accelerator"},   Name{0x13ff, "instrumentation"},
    Name{0xffff, "unassigned"},
};

}  // namespace

std::string PciClassName(uint32_t class_code) {
  uint32_t code = class_code >> 8 & 0xffff;
  for (uint32_t wanted : {code, code | 0xffu}) {
    for (const Name& name : kNames) {
      if (name.code == wanted) return name.text;
    }
  }
  std::array<char, 24> text;
  std::snprintf(text.data(), text.size(), "class 0x%06x", class_code & 0xffffff);
  return text.data();
}

bool IsPlatformDevice(uint32_t class_code) {
  uint32_t base = class_code >> 16 & 0xff;
  return base == 0x06 || base == 0x08 || base == 0x11;
}

}  // namespace berth::cli
