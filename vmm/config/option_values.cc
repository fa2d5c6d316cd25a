#include "vmm/config/option_values.h"

#include <algorithm>
#include <set>

namespace berth::vmm {
namespace {

std::string WordList(const OptionSpec& spec) {
  std::string list;
  for (const WordSpec& word : spec.words) {
    if (word.supported) list += (list.empty() ? "" : ", ") + std::string(word.name);
  }
  for (const KeySpec& key : spec.keys) {
    if (key.supported) list += (list.empty() ? "" : ", ") + std::string(key.name) + "=...";
  }
  return list;
}

// True when the whole text is a word, or can only have been meant as one.
bool ReadWord(const OptionSpec& spec, std::string_view text, OptionValues& result, ConfigErrors& errors) {
  if (spec.words.empty() || text.find('=') != std::string_view::npos) return false;
  for (const WordSpec& word : spec.words) {
    if (word.name != text) continue;
    result.word = text;
    if (!word.supported) {
      errors.push_back({"NotSupported", result.label, "", result.word, "not supported by this version",
                        WordList(spec), ""});
    }
    return true;
  }
  errors.push_back(
      {"InvalidValue", result.label, "", std::string(text), "unknown value", WordList(spec), ""});
  return true;
}

void ReadKey(const OptionSpec& spec, const KeyValue& pair, OptionValues& result, ConfigErrors& errors) {
  const KeySpec* key = FindKey(spec, pair.key);
  std::string at = " at column " + std::to_string(pair.column);
  if (key == nullptr) {
    errors.push_back({"UnknownOption", result.label, pair.key, pair.value, "unknown option: " + pair.key + at,
                      "", NearestKeyHint(spec, pair.key)});
    return;
  }
  if (pair.value.empty()) return;  // unset
  if (!key->supported) {
    errors.push_back({"NotSupported", result.label, pair.key, pair.value, "not supported by this version", "",
                      "leave the key out"});
    return;
  }
  Result<OptionValue> value = ParseValue(key->type, key->max, pair.value);
  if (!value.has_value()) {
    errors.push_back({"InvalidValue", result.label, pair.key, pair.value,
                      "unable to convert the value" + at + ": " + value.error().message(),
                      value.error().hint(), ""});
    return;
  }
  result.values.emplace(pair.key, *std::move(value));
}

template <class T>
void Set(const OptionValues& values, std::string_view key, T& target) {
  if constexpr (std::is_same_v<T, bool> || std::is_same_v<T, std::string> || std::is_same_v<T, CpuSet> ||
                std::is_same_v<T, std::vector<std::string>>) {
    if (const T* value = values.Get<T>(key)) target = *value;
  } else if constexpr (std::is_same_v<T, ByteSize> || std::is_integral_v<T>) {
    if (const uint64_t* value = values.Get<uint64_t>(key)) target = T(*value);
  } else {  // std::optional
    typename T::value_type value{};
    if (values.values.contains(key)) {
      Set(values, key, value);
      target = std::move(value);
    }
  }
}

void ApplyCpus(const OptionValues& values, CpusConfig& cpus) {
  Set(values, "boot", cpus.boot);
  Set(values, "max", cpus.max);
  if (const AffinityList* list = values.Get<AffinityList>("affinity"))
    cpus.affinity = {list->begin(), list->end()};
}

void ApplyMemory(const OptionValues& values, MemoryConfig& memory) {
  Set(values, "size", memory.size);
  Set(values, "mergeable", memory.mergeable);
  Set(values, "shared", memory.shared);
  Set(values, "hugepages", memory.hugepages);
  Set(values, "hugepage_size", memory.hugepage_size);
  Set(values, "prefault", memory.prefault);
}

MemoryZoneConfig MakeZone(const OptionValues& values, const MemoryConfig& memory) {
  MemoryZoneConfig zone;
  zone.mergeable = memory.mergeable;
  Set(values, "id", zone.id);
  Set(values, "size", zone.size);
  Set(values, "file", zone.file);
  Set(values, "mergeable", zone.mergeable);
  Set(values, "shared", zone.shared);
  Set(values, "hugepages", zone.hugepages);
  Set(values, "hugepage_size", zone.hugepage_size);
  Set(values, "host_numa_node", zone.host_numa_node);
  Set(values, "prefault", zone.prefault);
  return zone;
}

NumaConfig MakeNumaNode(const OptionValues& values, ConfigErrors& errors) {
  NumaConfig node;
  Set(values, "guest_numa_id", node.guest_numa_id);
  Set(values, "cpus", node.cpus);
  Set(values, "memory_zones", node.memory_zones);
  if (const TupleList* list = values.Get<TupleList>("distances")) {
    for (auto [destination, distance] : *list) {
      // A distance is one byte in the SLIT; what does not fit is reported here, the finer rules later.
      if (distance <= UINT8_MAX) {
        node.distances[destination] = static_cast<uint8_t>(distance);
      } else {
        errors.push_back({"InvalidDistance", values.label, "distances",
                          std::to_string(destination) + "@" + std::to_string(distance),
                          "distance out of range", "11 to 254", ""});
      }
    }
  }
  return node;
}

void ApplySerial(const OptionValues& values, SerialConfig& serial, ConfigErrors& errors) {
  using Mode = SerialConfig::Mode;
  if (values.word == "off") serial.mode = Mode::kOff;
  if (values.word == "null") serial.mode = Mode::kNull;
  if (values.word == "tty") serial.mode = Mode::kTty;
  const auto* file = values.Get<std::string>("file");
  const auto* socket = values.Get<std::string>("socket");
  if (file != nullptr && socket != nullptr) {
    errors.push_back(
        {"InvalidValue", values.label, "socket", *socket, "file and socket exclude each other", "", ""});
  }
  if (file != nullptr) serial = {Mode::kFile, *file};
  if (socket != nullptr) serial = {Mode::kSocket, *socket};
}

DiskConfig MakeDisk(const OptionValues& values) {
  DiskConfig disk;
  Set(values, "path", disk.path);
  Set(values, "readonly", disk.readonly);
  Set(values, "direct", disk.direct);
  Set(values, "id", disk.id);
  return disk;
}

NetConfig MakeNet(const OptionValues& values) {
  NetConfig net;
  Set(values, "tap", net.tap);
  Set(values, "mac", net.mac);
  Set(values, "id", net.id);
  return net;
}

// "disk0", "disk1", ...: the next that is not taken.
template <class Devices>
void GenerateIds(Devices& devices, std::string_view prefix, std::set<std::string>& taken) {
  size_t next = 0;
  for (auto& device : devices) {
    while (device.id.empty()) {
      std::string id = std::string(prefix) + std::to_string(next++);
      if (taken.insert(id).second) device.id = std::move(id);
    }
  }
}

void GenerateDeviceIds(VmConfig& config) {
  std::set<std::string> taken;
  for (const MemoryZoneConfig& zone : config.memory_zones) taken.insert(zone.id);
  for (const DiskConfig& disk : config.disks) taken.insert(disk.id);
  for (const NetConfig& net : config.nets) taken.insert(net.id);
  GenerateIds(config.disks, "disk", taken);
  GenerateIds(config.nets, "net", taken);
}

void ApplyOption(const OptionValues& values, VmConfig& config, ConfigErrors& errors) {
  std::string_view name = values.spec->name;
  if (name == "cpus") ApplyCpus(values, config.cpus);
  if (name == "memory") ApplyMemory(values, config.memory);
  if (name == "memory-zone") config.memory_zones.push_back(MakeZone(values, config.memory));
  if (name == "numa") config.numa.push_back(MakeNumaNode(values, errors));
  if (name == "disk") config.disks.push_back(MakeDisk(values));
  if (name == "net") config.nets.push_back(MakeNet(values));
  if (name == "rng" && values.word == "off") config.rng.clear();
  if (name == "rng") Set(values, "src", config.rng);
  if (name == "serial") ApplySerial(values, config.serial, errors);
}

}  // namespace

OptionValues ReadOptionString(const OptionSpec& spec, std::string label, std::string_view text,
                              ConfigErrors& errors) {
  OptionValues result;
  result.spec = &spec;
  result.label = std::move(label);
  if (ReadWord(spec, text, result, errors)) return result;
  Result<std::vector<KeyValue>> pairs = SplitKeyValues(text);
  if (!pairs.has_value()) {
    errors.push_back({"SyntaxError", result.label, "", std::string(text), pairs.error().message(),
                      "key=value,... with quotes and brackets closed and each key once", ""});
    return result;
  }
  for (const KeyValue& pair : *pairs) ReadKey(spec, pair, result, errors);
  // A key that was given, but badly, is not also "missing".
  for (const KeySpec& key : spec.keys) {
    bool given = std::any_of(pairs->begin(), pairs->end(), [&](const KeyValue& pair) {
      return pair.key == key.name && !pair.value.empty();
    });
    if (key.required && !given) {
      errors.push_back({"MissingKey", result.label, std::string(key.name), "", "required key is missing", "",
                        std::string(key.help)});
    }
  }
  return result;
}

void ApplyOptions(const std::vector<OptionValues>& options, VmConfig& config, ConfigErrors& errors) {
  for (const OptionSpec& spec : OptionTable()) {
    for (const OptionValues& values : options) {
      if (values.spec == &spec) ApplyOption(values, config, errors);
    }
  }
  GenerateDeviceIds(config);
}

}  // namespace berth::vmm
