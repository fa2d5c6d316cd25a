#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/cpu_set.h"
#include "common/pci_address.h"
#include "common/status.h"
#include "common/uuid.h"

// Reading of single fields of a message. Each error is kInvalidArgument with `field` as its field.
namespace berth::wire {

// At most `limit` bytes and no NUL byte.
Result<std::string> ReadText(const std::string& text, size_t limit, std::string field);
// 1 to kMaxName bytes, no control characters.
Result<std::string> ReadName(const std::string& text, std::string field);
// A UUID that is not nil.
Result<Uuid> ReadUuid(const std::string& text, std::string field);
Result<PciAddress> ReadAddress(const std::string& text, std::string field);
// A list in ascending order, as CpuSet::ToString writes it: so that reading costs no more than the set's
// size.
Result<CpuSet> ReadCpus(const std::string& text, std::string field);
// `count` of at most `limit` things.
Status CheckCount(int count, int limit, std::string_view what, std::string field);

// "cells[3]"
std::string Indexed(std::string_view name, int index);

}  // namespace berth::wire
