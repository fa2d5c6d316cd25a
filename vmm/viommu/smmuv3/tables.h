#pragma once

#include <cstdint>

#include "vmm/memory/guest_memory.h"
#include "vmm/viommu/smmuv3/spec.h"

// The guest's tables: stream table entries, context descriptors, and both stages of translation with granules
// of 4 KiB (chapters 3.3, 5 and 3.4; the formats of stages are those of VMSAv8-64). Everything is read from
// guest memory, once, and trusted in nothing.
namespace berth::vmm::smmuv3 {

// Sizes that the model has (IDR1, IDR5).
inline constexpr uint32_t kStreamBits = 16;
inline constexpr uint32_t kOutputBits = 48;

// The stream table as the registers tell it.
struct StreamTable {
  uint64_t base = 0;       // guest-physical
  uint32_t log2_size = 0;  // of stream numbers
  bool two_levels = false;
  uint32_t split = 6;  // bits of the second level: 6, 8 or 10
};

// One stage of translation.
struct Stage {
  uint64_t table = 0;
  uint32_t input_bits = 48;  // addresses above are not translated
  uint32_t start_level = 0;
  uint32_t output_bits = kOutputBits;
  bool access_flag = true;  // entries without the flag fault (AFFD is 0)
  bool second = false;      // the formats of stage 2
};

// What a stream table entry makes of a device.
struct Stream {
  enum class Kind { kAbort, kBypass, kTranslate };
  Kind kind = Kind::kAbort;
  bool first_stage = false;
  bool second_stage = false;
  uint64_t contexts = 0;  // address of the context descriptor: guest-physical, or of stage 2's input
  Stage stage2;
  bool record = true;  // faults of stage 2 are told (S2R)
};

template <class T>
struct Found {
  T value{};
  Event event = Event::kNone;
};

Found<Stream> FindStream(const GuestMemory& memory, const StreamTable& table, uint32_t stream);

// Where an access ends, and how far it goes on from there.
struct Place {
  // What a fault met (CLASS): the SMMU's read of a context descriptor, of a table, or the access itself.
  enum class Class : uint8_t { kContext = 0, kTable = 1, kInput = 2 };
  uint64_t gpa = 0;
  uint64_t length = 0;
  bool stage2 = false;  // of a fault: which stage it is of
  uint64_t ipa = 0;     // and there at which address
  Class met = Class::kInput;
  bool quiet = false;  // it is not to be told

  friend bool operator==(const Place&, const Place&) = default;
};
// An unprivileged access of a stream that translates.
Found<Place> Translate(const GuestMemory& memory, const Stream& stream, uint64_t address, bool write);

}  // namespace berth::vmm::smmuv3
