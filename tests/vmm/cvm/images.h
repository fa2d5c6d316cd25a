#pragma once

#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "vmm/cvm/bytes.h"
#include "vmm/cvm/firmware_table.h"
#include "vmm/cvm/igvm.h"

// Images of a few pages as firmware builders make them.
namespace berth::vmm {

template <class T>
void PutAt(std::vector<uint8_t>& bytes, size_t offset, const T& value) {
  std::memcpy(bytes.data() + offset, &value, sizeof value);
}

// The table of GUIDs at the end of an image: each entry a 32-bit number.
inline void PutFirmwareTable(std::vector<uint8_t>& image,
                             const std::vector<std::pair<Guid, uint32_t>>& entries) {
  size_t end = image.size() - 32;
  const auto total = static_cast<uint16_t>(18 + entries.size() * 22);
  PutAt(image, end - 18, total);
  PutAt(image, end - 16, MakeGuid("96b582de-1fb2-45f7-baea-a366c55a082d"));
  end -= 18;
  for (const auto& [guid, value] : entries) {
    PutAt(image, end - 22, value);
    PutAt(image, end - 18, uint16_t{22});
    PutAt(image, end - 16, guid);
    end -= 22;
  }
}

struct TdvfEntry {
  uint32_t data_offset, raw_size;
  uint64_t gpa, memory_size;
  uint32_t type, attributes;
};

// A TDX firmware of `size` bytes with this metadata; its other bytes count up.
inline std::vector<uint8_t> MakeTdvf(const std::vector<TdvfEntry>& sections, size_t size = 16384,
                                     uint32_t version = 1) {
  std::vector<uint8_t> image(size);
  for (size_t i = 0; i < size; ++i) image[i] = static_cast<uint8_t>(i * 7 + i / 256);
  constexpr uint32_t kFromEnd = 2048;
  size_t at = size - kFromEnd;
  const uint32_t header[4] = {0x46564454, static_cast<uint32_t>(16 + 32 * sections.size()), version,
                              static_cast<uint32_t>(sections.size())};
  PutAt(image, at, header);
  at += sizeof header;
  for (const TdvfEntry& section : sections) {
    PutAt(image, at, section);
    at += sizeof section;
  }
  PutFirmwareTable(image, {{MakeGuid("e47a6535-984a-4798-865e-4685a7bf8ec2"), kFromEnd}});
  return image;
}

// Boot firmware of two measured pages below 4 GiB, a page for the list of memory, and temporary memory.
inline std::vector<TdvfEntry> UsualTdvf() {
  return {{8192, 8192, 0xffffe000, 8192, 0, 1},  // BFV
          {4096, 4096, 0xffffd000, 4096, 1, 0},  // CFV
          {0, 0, 0x809000, 8192, 2, 0},          // TD_HOB
          {0, 0, 0x810000, 4096, 3, 0}};         // TEMP_MEM
}

struct SevEntry {
  uint32_t gpa, size, type;
};
inline std::vector<uint8_t> MakeSevFirmware(const std::vector<SevEntry>& sections,
                                            uint32_t reset_eip = 0x80b004, size_t size = 8192) {
  std::vector<uint8_t> image(size);
  for (size_t i = 0; i < size; ++i) image[i] = static_cast<uint8_t>(i * 11);
  constexpr uint32_t kFromEnd = 1024;
  size_t at = size - kFromEnd;
  const uint32_t header[4] = {0x56455341, static_cast<uint32_t>(16 + 12 * sections.size()), 1,
                              static_cast<uint32_t>(sections.size())};
  PutAt(image, at, header);
  at += sizeof header;
  for (const SevEntry& section : sections) {
    PutAt(image, at, section);
    at += sizeof section;
  }
  PutFirmwareTable(image, {{MakeGuid("00f771de-1a7e-4fcb-890e-68c77e2fb44e"), reset_eip},
                           {MakeGuid("dc886566-984a-4798-a75e-5585a7bf67cc"), kFromEnd}});
  return image;
}

// An IGVM file: headers one after the other, then data.
class IgvmBuilder {
 public:
  void Header(uint32_t type, std::vector<uint8_t> body) {
    const uint32_t length = static_cast<uint32_t>(body.size());
    Append(headers_, type);
    Append(headers_, length);
    body.resize((body.size() + 7) / 8 * 8);
    headers_.insert(headers_.end(), body.begin(), body.end());
  }
  void Platform(uint8_t type = 2, uint32_t mask = 1) {
    std::vector<uint8_t> body;
    Append(body, mask);
    Append(body, uint8_t{0});
    Append(body, type);
    Append(body, uint16_t{1});
    Append(body, uint64_t{1} << 46);
    Header(1, body);
  }
  void Policy(uint64_t policy) {
    std::vector<uint8_t> body;
    Append(body, policy);
    Append(body, uint32_t{1});
    Append(body, uint32_t{0});
    Header(0x101, body);
  }
  // `data`: an index of Data(), or -1 for zeros.
  void Page(uint64_t gpa, int data, uint16_t type = 0, uint32_t flags = 0) {
    std::vector<uint8_t> body;
    Append(body, gpa);
    Append(body, uint32_t{1});
    fixups_.push_back({headers_.size() + 8 + body.size(), data});
    Append(body, uint32_t{0});
    Append(body, flags);
    Append(body, type);
    Append(body, uint16_t{0});
    Header(0x302, body);
  }
  void Vp(uint64_t gpa, int data, uint16_t index) {
    std::vector<uint8_t> body;
    Append(body, gpa);
    Append(body, uint32_t{1});
    fixups_.push_back({headers_.size() + 8 + body.size(), data});
    Append(body, uint32_t{0});
    Append(body, index);
    Append(body, uint16_t{0});
    Header(0x304, body);
  }
  int Data(std::vector<uint8_t> bytes) {
    data_.push_back(std::move(bytes));
    return static_cast<int>(data_.size()) - 1;
  }
  std::vector<uint8_t> Build(uint32_t version = 1) {
    std::vector<uint32_t> places;
    uint32_t at = 24 + static_cast<uint32_t>(headers_.size());
    for (const auto& bytes : data_) {
      places.push_back(at);
      at += static_cast<uint32_t>(bytes.size());
    }
    for (const auto& [where, index] : fixups_) {
      if (index >= 0) PutAt(headers_, where, places[static_cast<size_t>(index)]);
    }
    std::vector<uint8_t> file;
    for (uint32_t word : {0x4d564749u, version, 24u, static_cast<uint32_t>(headers_.size()), at, 0u}) {
      Append(file, word);
    }
    file.insert(file.end(), headers_.begin(), headers_.end());
    PutAt(file, 20, IgvmChecksum(file));
    for (const auto& bytes : data_) file.insert(file.end(), bytes.begin(), bytes.end());
    return file;
  }
  template <class T>
  static void Append(std::vector<uint8_t>& to, T value) {
    const auto raw = BytesOf(value);
    to.insert(to.end(), raw.begin(), raw.end());
  }

 private:
  struct Fixup {
    size_t where;
    int data;
  };
  std::vector<uint8_t> headers_;
  std::vector<Fixup> fixups_;
  std::vector<std::vector<uint8_t>> data_;
};

}  // namespace berth::vmm
