#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/cpu_set.h"
#include "common/status.h"
#include "scheduler/request/request_spec.h"

namespace berth::scheduler {

// Extra specs of a flavor, or properties of an image: names and values as text.
using Properties = std::map<std::string, std::string, std::less<>>;

// Refuses what this version does not honour, so that nothing asked for is silently dropped: unknown names
// with the nearest known one as hint, and names of Nova that this version does not support yet. Fields are
// "extra_specs.NAME" and "image_properties.NAME"; image properties that do not begin with "hw_" describe the
// image itself and pass.
bool IsKnownExtraSpec(std::string_view name);
bool IsKnownImageProperty(std::string_view name);
std::vector<Status> UnknownExtraSpecs(const Properties& specs);  // all of them
Status CheckExtraSpecNames(const Properties& specs);
Status CheckImagePropertyNames(const Properties& properties);

// Nova's CPU list: "0-3,^2,8": ranges, and exclusions with a caret that win over everything else. Members are
// 0..4095. Errors: kInvalidArgument without field.
Result<CpuSet> ParseCpuSpec(std::string_view text);

// "small", "large", "any", a number of KiB, or a number with unit: "4KB", "2MB", "1GB" (binary).
// Errors: "MemoryPageSizeInvalid: ...".
Result<PageRequest> ParsePageSize(std::string_view text);

// "name:count[,name:count...]" with blanks around commas. Counts are 1..1024.
// Errors: kInvalidArgument without field.
using AliasItems = std::vector<std::pair<std::string, uint32_t>>;
Result<AliasItems> ParseAliasItems(std::string_view text);

// A whole decimal number without sign in [min, max]; kInvalidArgument without field.
Result<uint64_t> ParseWhole(std::string_view text, uint64_t min, uint64_t max);

}  // namespace berth::scheduler
