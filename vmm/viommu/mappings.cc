#include "vmm/viommu/mappings.h"

#include <iterator>
#include <string>

namespace berth::vmm {

Status IommuMappings::Map(const IommuMapping& mapping) {
  if (mapping.first > mapping.last) return InvalidArgument("an empty range of I/O virtual addresses");
  auto next = mappings_.upper_bound(mapping.last);
  if (next != mappings_.begin() && std::prev(next)->second.last >= mapping.first) {
    return InvalidArgument("a range of I/O virtual addresses is mapped already");
  }
  if (mappings_.size() >= kMax) {
    return ResourceExhausted("a domain has at most " + std::to_string(kMax) + " mappings");
  }
  mappings_.emplace_hint(next, mapping.first, mapping);
  return OkStatus();
}

Result<std::vector<IommuMapping>> IommuMappings::Unmap(uint64_t first, uint64_t last) {
  if (first > last) return InvalidArgument("an empty range of I/O virtual addresses");
  auto begin = mappings_.lower_bound(first);
  if (begin != mappings_.begin() && std::prev(begin)->second.last >= first) {
    return OutOfRange("an unmap would cut a mapping");
  }
  auto end = mappings_.upper_bound(last);
  if (end != mappings_.begin() && std::prev(end)->second.last > last) {
    return OutOfRange("an unmap would cut a mapping");
  }
  std::vector<IommuMapping> removed;
  for (auto it = begin; it != end; ++it) removed.push_back(it->second);
  mappings_.erase(begin, end);
  return removed;
}

const IommuMapping* IommuMappings::Find(uint64_t address) const {
  auto it = mappings_.upper_bound(address);
  if (it == mappings_.begin()) return nullptr;
  --it;
  return it->second.last >= address ? &it->second : nullptr;
}

std::vector<IommuMapping> IommuMappings::all() const {
  std::vector<IommuMapping> list;
  list.reserve(mappings_.size());
  for (const auto& [first, mapping] : mappings_) list.push_back(mapping);
  return list;
}

std::vector<IommuMapping> IommuMappings::In(uint64_t first, uint64_t last) const {
  auto it = mappings_.upper_bound(first);
  if (it != mappings_.begin() && std::prev(it)->second.last >= first) --it;
  std::vector<IommuMapping> list;
  for (; it != mappings_.end() && it->first <= last; ++it) list.push_back(it->second);
  return list;
}

}  // namespace berth::vmm
