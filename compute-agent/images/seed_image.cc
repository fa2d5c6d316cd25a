#include "compute-agent/images/seed_image.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>

#include "common/file.h"

namespace berth::agent {
namespace {

constexpr size_t kSector = 512;
constexpr size_t kClusterSectors = 4;
constexpr size_t kCluster = kSector * kClusterSectors;
constexpr size_t kRootEntries = 64;
constexpr size_t kRootSectors = kRootEntries * 32 / kSector;
constexpr size_t kMinClusters = 64;
constexpr size_t kMaxClusters = 4084;  // of FAT12
constexpr size_t kNameUnits = 13;      // UTF-16 units of a name in one entry
constexpr std::string_view kLabel = "CIDATA     ";
constexpr uint16_t kDate = (1 << 5) | 1;  // 1 January 1980, the first that there is

void Put16(std::string& out, size_t at, size_t value) {
  out[at] = static_cast<char>(value & 0xff);
  out[at + 1] = static_cast<char>(value >> 8 & 0xff);
}
void Put32(std::string& out, size_t at, size_t value) {
  Put16(out, at, value & 0xffff);
  Put16(out, at + 2, value >> 16);
}
void PutText(std::string& out, size_t at, std::string_view text) {
  out.replace(at, text.size(), text);
}

// Where things are, in sectors.
struct Layout {
  size_t clusters = 0;
  size_t fat_sectors = 0;

  size_t fat() const { return 1; }
  size_t root() const { return fat() + 2 * fat_sectors; }
  size_t data() const { return root() + kRootSectors; }
  size_t total() const { return data() + clusters * kClusterSectors; }
};

void PutBootSector(std::string& out, const Layout& layout) {
  PutText(out, 0,
          "\xeb\x3c\x90"
          "BERTH   ");
  Put16(out, 11, kSector);
  out[13] = kClusterSectors;
  Put16(out, 14, 1);  // reserved sectors: this one
  out[16] = 2;        // FATs
  Put16(out, 17, kRootEntries);
  Put16(out, 19, layout.total());
  out[21] = '\xf8';
  Put16(out, 22, layout.fat_sectors);
  Put16(out, 24, 32);  // sectors of a track
  Put16(out, 26, 64);  // heads
  out[36] = '\x80';
  out[38] = '\x29';
  Put32(out, 39, 0x42525448);
  PutText(out, 43, kLabel);
  PutText(out, 54, "FAT12   ");
  PutText(out, 510, "\x55\xaa");
}

// Entry `cluster` of both FATs: 12 bits each.
void PutFat(std::string& out, const Layout& layout, size_t cluster, size_t value) {
  for (size_t copy = 0; copy < 2; ++copy) {
    const size_t at = (layout.fat() + copy * layout.fat_sectors) * kSector + cluster * 3 / 2;
    const size_t low = static_cast<unsigned char>(out[at]), high = static_cast<unsigned char>(out[at + 1]);
    if (cluster % 2 == 0) {
      out[at] = static_cast<char>(value & 0xff);
      out[at + 1] = static_cast<char>((high & 0xf0) | (value >> 8 & 0x0f));
    } else {
      out[at] = static_cast<char>((low & 0x0f) | (value << 4 & 0xf0));
      out[at + 1] = static_cast<char>(value >> 4 & 0xff);
    }
  }
}

// "user-data" as the second file: "USER-D~2   ".
std::string ShortName(std::string_view name, size_t number) {
  std::string base;
  for (char c : name.substr(0, 6)) base += c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  base += "~" + std::to_string(number);
  base.resize(11, ' ');
  return base;
}

uint8_t Checksum(std::string_view short_name) {
  uint8_t sum = 0;
  for (char c : short_name) {
    sum = static_cast<uint8_t>(((sum & 1) << 7) + (sum >> 1) + static_cast<unsigned char>(c));
  }
  return sum;
}

// One entry of a long name: `part` counts from 0 at the name's beginning.
std::string LongEntry(std::string_view name, size_t part, bool last, uint8_t checksum) {
  constexpr std::array<size_t, kNameUnits> kPlaces = {1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30};
  std::string entry(32, '\0');
  entry[0] = static_cast<char>((part + 1) | (last ? 0x40 : 0));
  entry[11] = 0x0f;
  entry[13] = static_cast<char>(checksum);
  for (size_t i = 0; i < kNameUnits; ++i) {
    const size_t at = part * kNameUnits + i;
    const size_t unit = at < name.size()    ? static_cast<unsigned char>(name[at])
                        : at == name.size() ? 0
                                            : 0xffff;
    Put16(entry, kPlaces[i], unit);
  }
  return entry;
}

// All entries of a file in the root folder.
std::string Entries(std::string_view name, size_t number, size_t first_cluster, size_t bytes) {
  const std::string short_name = ShortName(name, number);
  const size_t parts = (name.size() + kNameUnits - 1) / kNameUnits;
  std::string entries;
  for (size_t part = parts; part-- > 0;) {
    entries += LongEntry(name, part, part + 1 == parts, Checksum(short_name));
  }
  std::string entry(32, '\0');
  PutText(entry, 0, short_name);
  entry[11] = 0x20;
  for (size_t at : {16, 18, 24}) Put16(entry, at, kDate);
  Put16(entry, 26, first_cluster);
  Put32(entry, 28, bytes);
  return entries + entry;
}

size_t ClustersOf(size_t bytes) {
  return (bytes + kCluster - 1) / kCluster;
}

}  // namespace

Result<SeedFiles> ReadSeed(const std::string& folder, const std::string& instance_id,
                           const std::string& name) {
  SeedFiles files;
  for (const char* file : {"user-data", "meta-data", "network-config", "vendor-data"}) {
    Result<std::string> text = ReadFile(folder + "/" + file, kMaxSeedBytes);
    if (text.has_value()) {
      files[file] = *std::move(text);
    } else if (text.error().code() != StatusCode::kNotFound) {
      return text.error();
    }
  }
  if (!files.contains("user-data")) return NotFound("the seed " + folder + " has no file user-data", "disks");
  files.try_emplace("meta-data", "instance-id: " + instance_id + "\nlocal-hostname: " + name + "\n");
  return files;
}

Result<std::string> MakeSeedImage(const SeedFiles& files) {
  size_t used = 0, bytes = 0, entries = 1;
  for (const auto& [name, text] : files) {
    used += ClustersOf(text.size());
    bytes += text.size();
    entries += (name.size() + kNameUnits - 1) / kNameUnits + 1;
  }
  if (bytes > kMaxSeedBytes || entries > kRootEntries || used > kMaxClusters) {
    return Status{StatusCode::kOutOfRange, "the seed has " + std::to_string(bytes) + " bytes in " +
                                               std::to_string(files.size()) + " files, at most " +
                                               std::to_string(kMaxSeedBytes) + " bytes are allowed"};
  }
  Layout layout;
  layout.clusters = std::max(kMinClusters, used);
  layout.fat_sectors = ((layout.clusters + 2) * 3 / 2 + kSector) / kSector;
  std::string out(layout.total() * kSector, '\0');
  PutBootSector(out, layout);
  PutFat(out, layout, 0, 0xff8);
  PutFat(out, layout, 1, 0xfff);
  std::string root(kLabel);
  root.resize(32, '\0');
  root[11] = 0x08;
  Put16(root, 24, kDate);
  size_t next = 2, number = 0;
  for (const auto& [name, text] : files) {
    const size_t clusters = ClustersOf(text.size());
    root += Entries(name, ++number, clusters == 0 ? 0 : next, text.size());
    PutText(out, (layout.data() + (next - 2) * kClusterSectors) * kSector, text);
    for (size_t i = 0; i < clusters; ++i, ++next)
      PutFat(out, layout, next, i + 1 < clusters ? next + 1 : 0xfff);
  }
  PutText(out, layout.root() * kSector, root);
  return out;
}

}  // namespace berth::agent
