#include "placement/wire/fields.h"

#include "placement/wire/limits.h"

namespace berth::wire {

Result<std::string> ReadText(const std::string& text, size_t limit, std::string field) {
  if (text.size() > limit) {
    return InvalidArgument("text of " + std::to_string(text.size()) + " bytes", std::move(field),
                           "allowed: up to " + std::to_string(limit) + " bytes");
  }
  if (text.find('\0') != std::string::npos) return InvalidArgument("text with a NUL byte", std::move(field));
  return text;
}

Result<std::string> ReadName(const std::string& text, std::string field) {
  if (text.empty()) return InvalidArgument("no name", std::move(field), "expected 1 to 255 bytes");
  TRY(ReadText(text, kMaxName, field));
  for (char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      return InvalidArgument("name with a control character", std::move(field));
    }
  }
  return text;
}

Result<Uuid> ReadUuid(const std::string& text, std::string field) {
  Result<Uuid> uuid = Uuid::Parse(text);
  if (!uuid) return std::move(uuid).error().WithField(std::move(field));
  if (uuid->is_nil()) return InvalidArgument("the nil UUID names nothing", std::move(field));
  return uuid;
}

Result<PciAddress> ReadAddress(const std::string& text, std::string field) {
  TRY(ReadText(text, 32, field));
  Result<PciAddress> address = PciAddress::Parse(text);
  if (address) return address;
  Status status = std::move(address).error().WithField(std::move(field));
  return InvalidArgument(status.message(), status.field(), status.hint());
}

namespace {

// Numbers never go back: "0-3,8" yes, "8,0-3" and "1,1" no. Other faults are left to CpuSet::Parse.
bool Ascends(std::string_view text) {
  int64_t last = -1;
  for (size_t at = 0; at < text.size();) {
    int64_t number = 0;
    size_t first = at;
    while (at < text.size() && text[at] >= '0' && text[at] <= '9' && number <= CpuSet::kMaxCpu) {
      number = number * 10 + (text[at++] - '0');
    }
    if (at == first) {
      ++at;
      continue;
    }
    bool ends_range = first > 0 && text[first - 1] == '-';
    if (ends_range ? number < last : number <= last) return false;
    last = number;
  }
  return true;
}

}  // namespace

Result<CpuSet> ReadCpus(const std::string& text, std::string field) {
  TRY(ReadText(text, kMaxCpuList, field));
  if (!Ascends(text)) {
    return InvalidArgument("CPU list \"" + text.substr(0, 64) + "\" does not ascend", std::move(field),
                           "expected a list such as 0-3,8");
  }
  Result<CpuSet> cpus = CpuSet::Parse(text);
  if (cpus) return cpus;
  std::string message = cpus.error().message().substr(0, 256);
  return InvalidArgument(std::move(message), std::move(field), cpus.error().hint());
}

Status CheckCount(int count, int limit, std::string_view what, std::string field) {
  if (count <= limit) return OkStatus();
  return InvalidArgument(std::to_string(count) + " " + std::string(what), std::move(field),
                         "allowed: up to " + std::to_string(limit));
}

std::string Indexed(std::string_view name, int index) {
  return std::string(name) + "[" + std::to_string(index) + "]";
}

}  // namespace berth::wire
