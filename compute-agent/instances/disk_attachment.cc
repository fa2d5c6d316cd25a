#include "compute-agent/instances/disk_attachment.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>

namespace berth::agent {
namespace {

constexpr size_t kMaxId = 32;
constexpr size_t kMaxSerial = 20;  // virtio 1.2, 5.2.6.3: VIRTIO_BLK_ID_BYTES
constexpr size_t kMaxPath = 4095;

bool IsPlain(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  });
}

}  // namespace

Status CheckDisk(const DiskAttachment& disk) {
  constexpr std::string_view kCharacters = "letters, digits, '-', '_' and '.'";
  if (disk.id.empty() || disk.id.size() > kMaxId || !IsPlain(disk.id)) {
    return InvalidArgument("\"" + disk.id.substr(0, kMaxId) + "\" is not an id", "disk.id",
                           "1 to 32 " + std::string(kCharacters));
  }
  if (disk.serial.size() > kMaxSerial || !IsPlain(disk.serial)) {
    return InvalidArgument("\"" + disk.serial.substr(0, kMaxSerial) + "\" is not a serial number",
                           "disk.serial", "at most 20 " + std::string(kCharacters));
  }
  const bool odd = std::any_of(disk.path.begin(), disk.path.end(), [](char c) {
    return c == '"' || static_cast<unsigned char>(c) < ' ' || c == 0x7f;
  });
  if (!disk.path.starts_with('/') || disk.path.size() > kMaxPath || odd) {
    return InvalidArgument("\"" + disk.path.substr(0, 64) + "\" is not a path that can be used", "disk.path",
                           "an absolute path on the host, without quotation marks and control characters");
  }
  return OkStatus();
}

std::string DiskOption(const DiskAttachment& disk) {
  std::string text = "path=\"" + disk.path + "\",id=" + disk.vmm_id();
  if (disk.readonly) text += ",readonly=on";
  if (disk.direct) text += ",direct=on";
  if (!disk.serial.empty()) text += ",serial=" + disk.serial;
  return text;
}

std::string DiskJson(const DiskAttachment& disk) {
  nlohmann::json json = {
      {"path", disk.path}, {"id", disk.vmm_id()}, {"readonly", disk.readonly}, {"direct", disk.direct}};
  if (!disk.serial.empty()) json["serial"] = disk.serial;
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace berth::agent
