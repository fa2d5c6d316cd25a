#include "vmm/cvm/command_error.h"

#include <cstdio>

namespace berth::vmm {

Status CommandError(std::string_view command, int error, std::initializer_list<ErrnoMeaning> meanings,
                    const std::string& detail) {
  Status status = ErrnoStatus(command, error);
  std::string message = status.message();
  for (const ErrnoMeaning& known : meanings) {
    if (known.error == error) message += ": " + std::string(known.meaning);
  }
  if (!detail.empty()) message += " (" + detail + ")";
  return Status(status.code(), std::move(message));
}

std::string HexNumber(uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof text, "%#llx", static_cast<unsigned long long>(value));
  return text;
}

}  // namespace berth::vmm
