#include "vmm/convert/page_plugger.h"

namespace berth::vmm {

Status PagePlugger::Plug(const MemoryRegion& area, uint64_t offset, uint64_t length) {
  TRY(converter_.Plug(Raw(area.base) + offset, length));
  area.plug->Set(offset, length, true);
  return OkStatus();
}

Status PagePlugger::Unplug(const MemoryRegion& area, uint64_t offset, uint64_t length) {
  // Until the pages are gone they are RAM: who uses shared ones is waited for.
  TRY(converter_.Unplug(Raw(area.base) + offset, length));
  area.plug->Set(offset, length, false);
  return OkStatus();
}

}  // namespace berth::vmm
