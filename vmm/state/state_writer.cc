#include "vmm/state/state_writer.h"

namespace berth::vmm {

void StateWriter::PutPart(std::string_view name, uint16_t version,
                          const std::function<void(StateWriter&)>& write) {
  PutText(name);
  Put(version);
  const size_t length_at = bytes_.size();
  Put(uint64_t{0});
  write(*this);
  const uint64_t length = bytes_.size() - length_at - sizeof(uint64_t);
  for (size_t i = 0; i < sizeof length; ++i) bytes_[length_at + i] = static_cast<uint8_t>(length >> 8 * i);
}

}  // namespace berth::vmm
