#include "scheduler/fit/device_match.h"

#include <algorithm>
#include <cctype>

#include "placement/model/secure_card.h"

namespace berth::scheduler {
namespace {

bool EqualIgnoringCase(const std::string& a, const std::string& b) {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(),
                    [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

bool KindMatches(const FitDevice& device, const DeviceMatch& match) {
  if (match.kind) return device.kind == *match.kind;
  // A whole PF, or a vDPA device, is given only to those who ask for one.
  return device.kind == DeviceKind::kPci || device.kind == DeviceKind::kVf;
}

bool NetworkMatches(const FitDevice& device, const DeviceMatch& match) {
  if (match.off_networks && device.network) return false;
  if (!match.network) return true;
  if (!match.network->name || !device.network) return !match.network->name && !device.network;
  return EqualIgnoringCase(*match.network->name, *device.network);
}

bool TagsMatch(const FitDevice& device, const DeviceMatch& match) {
  if (match.trusted && device.trusted != match.trusted) return false;
  if (match.remote_managed) return device.remote_managed == match.remote_managed;
  return !device.remote_managed.value_or(false);
}

}  // namespace

bool Matches(const FitDevice& device, const DeviceMatch& match) {
  if (!match.vendor_id.empty() && device.vendor_id != match.vendor_id) return false;
  if (!match.product_id.empty() && device.product_id != match.product_id) return false;
  if (!KindMatches(device, match) || !NetworkMatches(device, match) || !TagsMatch(device, match))
    return false;
  if (!match.resource_class.empty() && device.resource_class != match.resource_class) return false;
  for (const std::string& trait : match.forbidden_traits) {
    if (std::binary_search(device.traits.begin(), device.traits.end(), trait)) return false;
  }
  return std::includes(device.traits.begin(), device.traits.end(), match.traits.begin(), match.traits.end());
}

uint64_t ServableRequests(const FitDevice& device, const RequestSpec& spec) {
  // A card of a virtCCA host is in the secure world as a whole.
  if (!spec.encrypted() && !device.traits.empty() &&
      std::binary_search(device.traits.begin(), device.traits.end(), placement::kSecureCardTrait))
    return 0;
  uint64_t mask = 0;
  for (size_t r = 0; r < spec.pci.size(); ++r) {
    const auto& alternatives = spec.pci[r].alternatives;
    bool serves = std::any_of(alternatives.begin(), alternatives.end(),
                              [&](const DeviceMatch& match) { return Matches(device, match); });
    if (serves) mask |= uint64_t{1} << r;
  }
  return mask;
}

}  // namespace berth::scheduler
