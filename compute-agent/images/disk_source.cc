#include "compute-agent/images/disk_source.h"

#include <algorithm>
#include <vector>

#include "common/byte_size.h"

namespace berth::agent {
namespace {

// The parts between commas that stand outside of quotation marks.
std::vector<std::string_view> Split(std::string_view option) {
  std::vector<std::string_view> parts;
  bool quoted = false;
  size_t begin = 0;
  for (size_t i = 0; i <= option.size(); ++i) {
    if (i < option.size() && option[i] == '"') quoted = !quoted;
    if (i < option.size() && (option[i] != ',' || quoted)) continue;
    parts.push_back(option.substr(begin, i - begin));
    begin = i + 1;
  }
  return parts;
}

std::string Unquoted(std::string_view text) {
  std::string plain(text);
  std::erase(plain, '"');
  return plain;
}

bool IsSha256(const std::string& text) {
  return text.size() == 64 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

Status Check(const DiskSource& source, int sources, bool sized, bool summed) {
  if (sources > 1) return InvalidArgument("a disk has one of path=, image= and seed=", "disks");
  if (source.kind == DiskSource::Kind::kPath) {
    if (!sized && !summed) return OkStatus();
    return InvalidArgument("sha256= and size= belong to image=", "disks");
  }
  if (!source.from.starts_with('/')) {
    return InvalidArgument("\"" + source.from + "\" is not an absolute path", "disks");
  }
  if (source.kind == DiskSource::Kind::kSeed) {
    return sized || summed ? InvalidArgument("sha256= and size= belong to image=", "disks") : OkStatus();
  }
  if (!IsSha256(source.sha256)) {
    return InvalidArgument("image= needs sha256=, 64 lower-case hexadecimal digits", "disks",
                           "sha256sum " + source.from);
  }
  return OkStatus();
}

}  // namespace

Result<DiskSource> ParseDiskSource(std::string_view option) {
  DiskSource source;
  int sources = 0;
  bool sized = false, summed = false;
  for (std::string_view part : Split(option)) {
    const size_t equals = part.find('=');
    const std::string_view key = part.substr(0, equals);
    const std::string value = equals == std::string_view::npos ? "" : Unquoted(part.substr(equals + 1));
    if (key == "image" || key == "seed") {
      source.kind = key == "image" ? DiskSource::Kind::kImage : DiskSource::Kind::kSeed;
      source.from = value;
      ++sources;
      continue;
    }
    if (key == "sha256") {
      source.sha256 = value;
      summed = true;
      continue;
    }
    if (key == "size") {
      Result<ByteSize> size = ByteSize::Parse(value);
      if (!size.has_value() || size->bytes() == 0 || size->bytes() % 512 != 0) {
        return InvalidArgument("size \"" + value + "\" is no multiple of 512 bytes such as 20G", "disks");
      }
      source.size = size->bytes();
      sized = true;
      continue;
    }
    if (key == "path") ++sources;
    source.remaining += (source.remaining.empty() ? "" : ",") + std::string(part);
  }
  TRY(Check(source, sources, sized, summed));
  return source;
}

}  // namespace berth::agent
