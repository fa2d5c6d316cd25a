// Lists of hand-off blocks, and answers of a quote service: read from any bytes; what was read can be built
// and is then read as the same.
#include <cstdint>
#include <vector>

#include "common/status.h"
#include "vmm/cvm/quote_client.h"
#include "vmm/cvm/td_hob.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace berth::vmm;
  static_cast<void>(ParseQuoteAnswer({data, size}).has_value());
  auto read = ParseTdHob(0x809000, {data, data + size});
  if (!read.has_value()) return 0;
  auto built = BuildTdHob(0x809000, 1 << 20, *read);
  if (!built.has_value()) return 0;
  auto again = ParseTdHob(0x809000, *built);
  CHECK(again.has_value() && again->ranges == read->ranges && again->acpi_tables == read->acpi_tables);
  return 0;
}
