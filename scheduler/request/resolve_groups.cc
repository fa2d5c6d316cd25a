#include <algorithm>
#include <charconv>
#include <map>
#include <string>
#include <utility>

#include "placement/model/names.h"
#include "scheduler/request/group_key.h"
#include "scheduler/request/resolve.h"

namespace berth::scheduler {
namespace {

constexpr size_t kMaxSuffix = 64;
constexpr uint32_t kMaxDevices = 1024;  // of one class without suffix, as of one alias

bool IsSuffix(std::string_view text) {
  return text.size() <= kMaxSuffix && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
                  c == '-';
         });
}

Status Bad(const std::string& message, const std::string& key) {
  return InvalidArgument("InvalidInput: " + message, "extra_specs." + key);
}

// The group of one suffix.
struct Group {
  std::string key;  // the first extra spec of it, for errors
  std::string resources_key;
  uint32_t count = 1;
  DeviceMatch match;
};

Status AddResources(const std::string& key, const GroupKey& parsed, const std::string& value, Group& group) {
  auto name = placement::NormalizeResourceClass(parsed.name);
  if (!name.has_value()) return Bad(key + ": " + name.error().message(), key);
  if (!group.resources_key.empty())
    return Bad(key + " and " + group.resources_key + " stand in one group; a group asks for one class", key);
  // Those of a group with a suffix come from one provider, which is one device here.
  const uint32_t most = parsed.suffix.empty() ? kMaxDevices : 1;
  auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), group.count);
  if (error != std::errc() || end != value.data() + value.size() || group.count < 1 || group.count > most) {
    std::string allowed =
        most == 1 ? "1: a group asks for one device of its class" : "1 to " + std::to_string(most);
    return Bad(key + " is \"" + value + "\", must be " + allowed, key);
  }
  group.resources_key = key;
  group.match.resource_class = std::move(*name);
  return OkStatus();
}

Status AddTrait(const std::string& key, std::string_view name, bool required, Group& group) {
  auto trait = placement::NormalizeTrait(name);
  if (!trait.has_value()) return Bad(key + ": " + trait.error().message(), key);
  auto& wanted = required ? group.match.traits : group.match.forbidden_traits;
  auto& other = required ? group.match.forbidden_traits : group.match.traits;
  if (std::find(other.begin(), other.end(), *trait) != other.end())
    return Bad(key + ": trait " + *trait + " is both required and forbidden", key);
  auto at = std::lower_bound(wanted.begin(), wanted.end(), *trait);
  if (at == wanted.end() || *at != *trait) wanted.insert(at, std::move(*trait));
  return OkStatus();
}

// "CUSTOM_A,!CUSTOM_B".
Status AddTraits(const std::string& key, std::string_view list, Group& group) {
  while (true) {
    size_t comma = list.find(',');
    std::string_view item = list.substr(0, comma);
    bool forbidden = item.starts_with('!');
    TRY(AddTrait(key, forbidden ? item.substr(1) : item, !forbidden, group));
    if (comma == std::string_view::npos) return OkStatus();
    list.remove_prefix(comma + 1);
  }
}

Status AddSpec(const std::string& key, const GroupKey& parsed, const std::string& value, Group& group) {
  if (group.key.empty()) group.key = key;
  switch (parsed.kind) {
    case GroupKey::Kind::kResources:
      return AddResources(key, parsed, value, group);
    case GroupKey::Kind::kRequired:
      return AddTraits(key, value, group);
    case GroupKey::Kind::kTrait:
      if (value != "required" && value != "forbidden")
        return Bad(key + " is \"" + value + "\", must be required or forbidden", key);
      return AddTrait(key, parsed.name, value == "required", group);
  }
  return OkStatus();
}

}  // namespace

std::optional<GroupKey> GroupKey::Parse(std::string_view key) {
  constexpr std::string_view kHostClasses[] = {"VCPU", "PCPU", "MEMORY_MB", "DISK_GB",
                                               "MEM_ENCRYPTION_CONTEXT"};
  for (auto [word, kind] : {std::pair<std::string_view, Kind>("resources", Kind::kResources),
                            std::pair<std::string_view, Kind>("trait", Kind::kTrait),
                            std::pair<std::string_view, Kind>("required", Kind::kRequired)}) {
    if (!key.starts_with(word)) continue;
    std::string_view rest = key.substr(word.size());
    size_t colon = rest.find(':');
    std::string_view suffix = rest.substr(0, colon);
    if (!IsSuffix(suffix)) return std::nullopt;
    GroupKey out;
    out.kind = kind;
    out.suffix = suffix;
    if (kind == Kind::kRequired) {
      if (colon != std::string_view::npos || suffix.empty()) return std::nullopt;
      return out;
    }
    if (colon == std::string_view::npos) return std::nullopt;
    out.name = rest.substr(colon + 1);
    if (out.name.empty()) return std::nullopt;
    bool of_host =
        std::find(std::begin(kHostClasses), std::end(kHostClasses), out.name) != std::end(kHostClasses);
    if (kind == Kind::kResources && of_host) return std::nullopt;
    if (suffix.empty() && kind != Kind::kResources) return std::nullopt;
    return out;
  }
  return std::nullopt;
}

Result<std::vector<PciRequest>> ResolveResourceGroups(const Flavor& flavor) {
  std::map<std::string, Group> groups;  // by suffix; each class without suffix is a group of its own
  for (const auto& [key, value] : flavor.extra_specs) {
    std::optional<GroupKey> parsed = GroupKey::Parse(key);
    if (!parsed) continue;
    std::string id = parsed->suffix.empty() ? ":" + parsed->name : parsed->suffix;
    TRY(AddSpec(key, *parsed, value, groups[id]));
  }
  std::vector<PciRequest> out;
  for (auto& [id, group] : groups) {
    if (group.resources_key.empty()) {
      return Bad(group.key + " belongs to no resources" + id + ":CLASS=1", group.key);
    }
    PciRequest request;
    request.name = group.resources_key;
    request.count = group.count;
    request.alternatives.push_back(std::move(group.match));
    out.push_back(std::move(request));
  }
  return out;
}

Result<ViommuModel> ResolveViommu(const Flavor& flavor, const Properties& image) {
  auto find = [](const Properties& properties, const char* name) {
    auto it = properties.find(name);
    return it == properties.end() ? nullptr : &it->second;
  };
  const std::string* own = find(flavor.extra_specs, "hw:viommu_model");
  const std::string* text = own != nullptr ? own : find(image, "hw_viommu_model");
  if (text == nullptr) return ViommuModel::kNone;
  for (ViommuModel model :
       {ViommuModel::kVirtio, ViommuModel::kIntel, ViommuModel::kSmmuv3, ViommuModel::kAuto}) {
    if (*text == ViommuModelName(model)) return model;
  }
  return InvalidArgument(
      "InvalidInput: the vIOMMU model is \"" + *text + "\", must be virtio, intel, smmuv3 or auto",
      own != nullptr ? "extra_specs.hw:viommu_model" : "image_properties.hw_viommu_model");
}

}  // namespace berth::scheduler
