#include "vmm/config/json_config.h"

#include <functional>
#include <nlohmann/json.hpp>
#include <set>

#include "vmm/config/option_values.h"
#include "vmm/config/validate.h"
#include "vmm/config/validate_rules.h"

namespace berth::vmm {
namespace {

using Json = nlohmann::json;

std::string Shown(const Json& value) {
  constexpr size_t kLongest = 80;
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  return text.size() <= kLongest ? text : text.substr(0, kLongest) + "...";
}

Result<uint64_t> ToInteger(const Json& value, uint64_t max) {
  if (!value.is_number_unsigned()) return InvalidArgument("not an unsigned integer");
  uint64_t number = value.get<uint64_t>();
  if (number > max) return OutOfRange("above " + std::to_string(max));
  return number;
}

Result<CpuSet> ToCpuSet(const Json& value) {
  if (!value.is_array() || value.empty()) return InvalidArgument("not a list of numbers with at least one");
  CpuSet set;
  for (const Json& item : value) {
    TRY_ASSIGN(uint64_t cpu, ToInteger(item, CpuSet::kMaxCpu));
    set.Add(static_cast<uint32_t>(cpu));
  }
  return set;
}

// The two members of a tuple's object, and nothing else.
Status TakeTuple(const Json& item, const char* left, const char* right, uint32_t& key, Json& value) {
  if (!item.is_object() || item.size() != 2 || !item.contains(left) || !item.contains(right))
    return InvalidArgument(std::string("not an object of ") + left + " and " + right);
  TRY_ASSIGN(uint64_t number, ToInteger(item[left], UINT32_MAX));
  key = static_cast<uint32_t>(number);
  value = item[right];
  return OkStatus();
}

Result<OptionValue> ToTuples(const Json& value, uint64_t max) {
  if (!value.is_array() || value.empty()) return InvalidArgument("not a list with at least one item");
  TupleList list;
  for (const Json& item : value) {
    uint32_t key = 0;
    Json right;
    TRY(TakeTuple(item, "destination", "distance", key, right));
    TRY_ASSIGN(uint64_t number, ToInteger(right, max));
    list.emplace_back(key, static_cast<uint32_t>(number));
  }
  return OptionValue(std::move(list));
}

Result<OptionValue> ToAffinity(const Json& value) {
  if (!value.is_array() || value.empty()) return InvalidArgument("not a list with at least one item");
  AffinityList list;
  for (const Json& item : value) {
    uint32_t key = 0;
    Json right;
    TRY(TakeTuple(item, "vcpu", "host_cpus", key, right));
    TRY_ASSIGN(CpuSet cpus, ToCpuSet(right));
    list.emplace_back(key, std::move(cpus));
  }
  return OptionValue(std::move(list));
}

Result<OptionValue> ToStrings(const Json& value) {
  if (!value.is_array() || value.empty()) return InvalidArgument("not a list of texts with at least one");
  std::vector<std::string> list;
  for (const Json& item : value) {
    if (!item.is_string()) return InvalidArgument("not a list of texts");
    list.push_back(item.get<std::string>());
  }
  return OptionValue(std::move(list));
}

Result<OptionValue> ToValue(const KeySpec& key, const Json& value) {
  switch (key.type) {
    case ValueType::kToggle:
      if (!value.is_boolean()) return InvalidArgument("not true or false");
      return OptionValue(value.get<bool>());
    case ValueType::kBytes:
    case ValueType::kInteger: {
      TRY_ASSIGN(uint64_t number, ToInteger(value, key.type == ValueType::kBytes ? UINT64_MAX : key.max));
      return OptionValue(number);
    }
    case ValueType::kString:
      if (!value.is_string()) return InvalidArgument("not a text");
      return OptionValue(value.get<std::string>());
    case ValueType::kIntegerList: {
      TRY_ASSIGN(CpuSet set, ToCpuSet(value));
      return OptionValue(std::move(set));
    }
    case ValueType::kTupleList:
      return ToTuples(value, key.max);
    case ValueType::kAffinityList:
      return ToAffinity(value);
    case ValueType::kStringList:
      return ToStrings(value);
    case ValueType::kDescriptorLists:
      return InvalidArgument("descriptors do not travel in a text");
  }
  CHECK(false);
}

// Reads the document's sections into option values.
class Reader {
 public:
  explicit Reader(ConfigErrors& errors) : errors_(errors) {}

  void Read(const Json& document, VmConfig& config) {
    for (const auto& [name, value] : document.items()) ReadSection(name, value, config);
    ApplyOptions(options_, config, errors_);
  }

  void ReadDevice(std::string_view option, const Json& value, VmConfig& config) {
    ReadObject(option, std::string(option), value);
    ApplyOptions(options_, config, errors_);
  }

 private:
  void ReadSection(const std::string& name, const Json& value, VmConfig& config) {
    if (name == "rng" && value.is_null()) {
      OptionValues off{FindOption("rng"), "rng", "off", {}};
      options_.push_back(std::move(off));
      return;
    }
    if (value.is_null()) return;
    if (name == "payload") return ReadPayload(value, config);
    if (name == "cpus") return ReadCpus(value);
    if (name == "memory") return ReadMemory(value);
    if (name == "platform") return ReadObject("platform", "platform", value);
    if (name == "pci_segments") return ReadList("pci-segment", value);
    if (name == "sgx_epc") return ReadList("sgx-epc", value);
    if (name == "numa") return ReadList("numa", value);
    if (name == "disks") return ReadList("disk", value);
    if (name == "net") return ReadList("net", value);
    if (name == "devices") return ReadList("device", value);
    if (name == "rng") return ReadObject("rng", "rng", value);
    if (name == "serial" || name == "console") return ReadPort(name.c_str(), value);
    if (name == "balloon") return ReadObject("balloon", "balloon", value);
    if (name == "vsock") return ReadObject("vsock", "vsock", value);
    if (name == "landlock_rules") return ReadList("landlock-rules", value);
    if (name == "pvpanic") return ReadToggle(name, value, config.pvpanic);
    if (name == "landlock_enable") return ReadToggle(name, value, config.landlock.enable);
    ReadRefusedSection(name, value);
  }

  void ReadToggle(const std::string& name, const Json& value, bool& target) {
    if (!value.is_boolean())
      return Report("InvalidValue", name, "", value, "not a truth value", "true or false");
    target = value.get<bool>();
  }

  // A section that is known: refused, unless it asks for nothing.
  void ReadRefusedSection(const std::string& name, const Json& value) {
    struct Section {
      std::string_view name;
      std::string_view option;  // of the table, which has the reason
      std::string_view reason = {};
    };
    static constexpr Section kSections[] = {
        {"fs", "fs"},
        {"generic_vhost_user", "generic-vhost-user"},
        {"pmem", "pmem"},
        {"user_devices", "user-device"},
        {"vdpa", "vdpa"},
        {"watchdog", "watchdog"},
        {"debug_console", "debug-console"},
        {"tpm", "tpm"},
        {"rtc", "rtc"},
        {"gdb", "gdb"},
        {"ivshmem", "ivshmem"},
        {"pvmemcontrol", "pvmemcontrol"},
        {"rate_limit_groups", "rate-limit-group"},
        {"iommu", "", "give iommu to the devices that are to be behind the virtual IOMMU"},
    };
    for (const Section& section : kSections) {
      if (section.name != name) continue;
      const bool off = value.is_object() && value.contains("mode") && value["mode"] == "Off";
      if (off || value == false || (value.is_array() && value.empty())) return;
      const std::string_view reason =
          section.option.empty() ? section.reason : FindOption(section.option)->refusal;
      return Report("NotSupported", name, "", value, "not supported: " + std::string(reason), "");
    }
    Report("UnknownOption", name, "", value, "unknown option", "");
  }

  void ReadPayload(const Json& value, VmConfig& config) {
    if (!IsObject("payload", value)) return;
    for (const auto& [name, text] : value.items()) {
      if (text.is_null()) continue;
      std::optional<std::string>* target = nullptr;
      if (name == "initramfs") target = &config.initramfs;
      if (name == "firmware") target = &config.firmware;
      if (name == "igvm") target = &config.igvm;
      if (name == "host_data") target = &config.host_data;
      if (name != "kernel" && name != "cmdline" && target == nullptr) {
        Report("UnknownOption", "payload", name, text, "unknown option: " + name,
               "kernel, initramfs, cmdline, firmware, igvm, host_data");
      } else if (!text.is_string()) {
        Report("InvalidValue", name, "", text, "not a text", "text");
      } else if (name == "kernel") {
        config.kernel = text.get<std::string>();
      } else if (target != nullptr) {
        *target = text.get<std::string>();
      } else {
        config.cmdline = text.get<std::string>();
      }
    }
  }

  // {threads_per_core, cores_per_die, dies_per_package, packages} as the text of the option.
  void ReadCpus(const Json& value) {
    Json cpus = value;
    if (cpus.is_object() && cpus.contains("topology") && cpus["topology"].is_object()) {
      const Json topology = cpus["topology"];
      std::string text;
      for (const char* level : {"threads_per_core", "cores_per_die", "dies_per_package", "packages"})
        text += (text.empty() ? "" : ":") + (topology.contains(level) ? topology[level].dump() : "missing");
      if (topology.size() != 4) text += " and more";
      cpus["topology"] = text;
    }
    if (cpus.is_object() && cpus.contains("core_scheduling")) {
      Json& mode = cpus["core_scheduling"];
      for (const auto& [json_name, name] : {std::pair{"Off", "off"}, {"Vm", "vm"}, {"Vcpu", "vcpu"}}) {
        if (mode == json_name) mode = name;
      }
    }
    ReadObject("cpus", "cpus", cpus);
  }

  void ReadMemory(const Json& value) {
    if (!IsObject("memory", value)) return;
    Json memory = value;
    if (auto method = memory.find("hotplug_method"); method != memory.end()) {
      if (*method == "Acpi") *method = "acpi";
      if (*method == "VirtioMem") *method = "virtio-mem";
    }
    if (auto zones = memory.find("zones"); zones != memory.end()) {
      if (!zones->is_null()) ReadList("memory-zone", *zones);
      memory.erase(zones);
    }
    ReadObject("memory", "memory", memory);
  }

  void ReadList(const char* option, const Json& value) {
    if (!value.is_array()) {
      Report("InvalidValue", option, "", value, "not a list", "a list of objects");
      return;
    }
    for (size_t i = 0; i < value.size(); ++i)
      ReadObject(option, std::string(option) + "[" + std::to_string(i) + "]", value[i]);
  }

  void ReadObject(std::string_view option, const std::string& label, const Json& value) {
    const OptionSpec& spec = *FindOption(option);
    OptionValues result{&spec, label, "", {}};
    if (IsObject(label, value)) {
      for (const auto& [name, item] : value.items()) {
        if (name == "rate_limiter_config" && FindKey(spec, "bw_size") != nullptr)
          ReadLimits(spec, item, result);
      }
      for (const auto& [name, item] : value.items()) ReadKey(spec, name, item, result);
      for (const KeySpec& key : spec.keys) {
        auto given = value.find(key.json_name);
        if (key.required && (given == value.end() || given->is_null()))
          errors_.push_back({"MissingKey", label, key.name, "", "required key is missing", "", key.help});
      }
    }
    options_.push_back(std::move(result));
  }

  // `shown`: the field's place where that is not its name alone.
  void ReadKey(const OptionSpec& spec, const std::string& name, const Json& value, OptionValues& result,
               std::string shown = {}) {
    if (value.is_null() || (name == "rate_limiter_config" && FindKey(spec, "bw_size") != nullptr)) return;
    const KeySpec* key = nullptr;
    for (const KeySpec& candidate : spec.keys) {
      if (candidate.json_name == name || (candidate.old_json_name == name && !name.empty())) key = &candidate;
    }
    if (shown.empty()) shown = name;
    if (key == nullptr)
      return Report("UnknownOption", result.label, shown, value, "unknown option: " + shown, "");
    // Errors go by the option's key, as those of the rules do.
    const std::string label(key->name);
    const std::string field = shown == label ? "" : shown + ": ";
    if (!key->supported()) {
      if (IsHarmless(*key, value.is_string() ? value.get<std::string>() : value.dump())) return;
      return Report("NotSupported", result.label, label, value,
                    field + "not supported: " + std::string(key->refusal), key->harmless);
    }
    Result<OptionValue> typed = ToValue(*key, value);
    if (!typed.has_value())
      return Report("InvalidValue", result.label, label, value, field + typed.error().message(), "");
    if (!TakeAllowedWord(*key, *typed))
      return Report("InvalidValue", result.label, label, value, field + "unknown value", key->allowed_words);
    if (!result.values.emplace(key->name, *std::move(typed)).second)
      Report("DuplicateKey", result.label, label, value, field + "stands there by another name, too", "once");
  }

  // {bandwidth: {size, one_time_burst, refill_time}, ops: {...}} as the keys of the option.
  void ReadLimits(const OptionSpec& spec, const Json& value, OptionValues& result) {
    if (value.is_null() || !IsObject(result.label, value)) return;
    for (const auto& [name, bucket] : value.items()) {
      if (bucket.is_null()) continue;
      const std::string prefix = name == "bandwidth" ? "bw_" : "ops_";
      const std::string whole = "rate_limiter_config." + name + ".";
      if ((name != "bandwidth" && name != "ops") || !bucket.is_object()) {
        Report("InvalidValue", result.label, "rate_limiter_config", bucket, "not a limit: " + name,
               "bandwidth, ops");
        continue;
      }
      for (const auto& [field, number] : bucket.items())
        ReadKey(spec, prefix + field, number, result, whole + field);
    }
  }

  void ReadPort(const char* port, const Json& value) {
    if (!IsObject(port, value)) return;
    OptionValues result{FindOption(port), port, "", {}};
    std::string mode =
        value.contains("mode") && value["mode"].is_string() ? value["mode"].get<std::string>() : "";
    Json rest = value;
    rest.erase("mode");
    if (mode == "Off") result.word = "off";
    if (mode == "Null") result.word = "null";
    if (mode == "Tty") result.word = "tty";
    if (mode == "Pty") result.word = "pty";
    if (mode == "Pty") rest.erase("file");  // what vm.info tells of the last one
    const char* wanted = mode == "File" ? "file" : mode == "Socket" ? "socket" : nullptr;
    if (result.word.empty() && wanted == nullptr)
      Report("InvalidValue", port, "mode", value.value("mode", Json()), "unknown mode",
             "Off, Null, Tty, Pty, File, Socket");
    for (const auto& [name, item] : rest.items()) {
      if (item.is_null()) continue;
      const KeySpec* key = FindKey(*result.spec, name);
      if (key != nullptr && key->supported() && (wanted == nullptr || name != wanted)) {
        Report("InvalidValue", port, name, item, "does not go with the mode", "");
      } else {
        ReadKey(*result.spec, name, item, result);
      }
    }
    if (wanted != nullptr && !rest.contains(wanted))
      errors_.push_back({"MissingKey", port, wanted, "", "required key is missing", "", ""});
    options_.push_back(std::move(result));
  }

  bool IsObject(const std::string& label, const Json& value) {
    if (value.is_object()) return true;
    Report("InvalidValue", label, "", value, "not an object", "an object");
    return false;
  }

  void Report(TextRef code, TextRef option, TextRef key, const Json& value, TextRef message,
              TextRef allowed) {
    errors_.push_back({code, option, key, Shown(value), message, allowed, ""});
  }

  ConfigErrors& errors_;
  std::vector<OptionValues> options_;
};

ConfigError SyntaxError(TextRef message) {
  return {"SyntaxError", "json", "", "", message, "a JSON object as of vm.create", ""};
}

// Parses, and finds keys that stand twice in an object and too deep nesting, which the library accepts. What
// cannot be read at all is no object.
Json ParseStrictly(std::string_view text, ConfigErrors& errors) {
  std::vector<std::set<std::string>> open;
  bool deep = false;
  auto watch = [&](int, Json::parse_event_t event, Json& parsed) {
    using Event = Json::parse_event_t;
    if (event == Event::object_start || event == Event::array_start) open.emplace_back();
    if (event == Event::object_end || event == Event::array_end) open.pop_back();
    if (open.size() > kMaxJsonDepth) deep = true;
    if (event == Event::key && !open.back().insert(parsed.get<std::string>()).second)
      errors.push_back(SyntaxError("key " + Shown(parsed) + " stands twice in an object"));
    return !deep;
  };
  Json document = Json::parse(text.begin(), text.end(), watch, /*allow_exceptions=*/false);
  if (deep) {
    errors.push_back(SyntaxError("nested deeper than " + std::to_string(kMaxJsonDepth)));
    return {};
  }
  if (document.is_discarded()) {
    errors.push_back(SyntaxError("not valid JSON"));
  } else if (!document.is_object()) {
    errors.push_back(SyntaxError("not an object"));
  }
  return document;
}

// A number in a text is not a descriptor of ours.
void RefuseDescriptors(const std::vector<NetConfig>& nets, size_t first, ConfigErrors& errors) {
  for (size_t i = first; i < nets.size(); ++i) {
    if (nets[i].fds.empty()) continue;
    errors.push_back({"InvalidValue", Label("net", i), "fds", std::to_string(nets[i].fds[0]),
                      "descriptors do not travel in a text", "", "send them with vm.add-net, by SCM_RIGHTS"});
  }
}

enum class Descriptors { kRefuse, kKeep };

ConfigErrors TooLarge() {
  return {SyntaxError("larger than " + std::to_string(kMaxJsonConfig) + " bytes")};
}

ConfigResult<VmConfig> ReadConfig(std::string_view text, Descriptors descriptors) {
  ConfigErrors errors;
  if (text.size() > kMaxJsonConfig) return tl::unexpected(TooLarge());
  Json document = ParseStrictly(text, errors);
  if (!document.is_object()) return tl::unexpected(std::move(errors));
  VmConfig config;
  Reader(errors).Read(document, config);
  if (descriptors == Descriptors::kRefuse) RefuseDescriptors(config.nets, 0, errors);
  AppendValidation(config, errors);
  if (!errors.empty()) return tl::unexpected(std::move(errors));
  return config;
}

}  // namespace

ConfigResult<VmConfig> ConfigWithDevice(const VmConfig& config, std::string_view option,
                                        std::string_view text, const std::vector<int>& fds) {
  CHECK(FindOption(option) != nullptr);
  if (text.size() > kMaxJsonConfig) return tl::unexpected(TooLarge());
  ConfigErrors errors;
  Json document = ParseStrictly(text, errors);
  if (!document.is_object()) return tl::unexpected(std::move(errors));
  VmConfig with = config;
  Reader(errors).ReadDevice(FindOption(option)->name, document, with);
  if (option == "vsock" && config.vsock) {
    errors.push_back({"IdentifierNotUnique", "vsock", "id", config.vsock->id, "a VM has one vsock device", "",
                      "remove it first"});
  }
  if (with.nets.size() > config.nets.size()) {
    RefuseDescriptors(with.nets, config.nets.size(), errors);
    with.nets.back().fds = fds;
  } else if (!fds.empty()) {
    errors.push_back({"InvalidValue", std::string(option), "", std::to_string(fds.size()) + " descriptors",
                      "takes no descriptors", "", ""});
  }
  AppendValidation(with, errors);
  if (!errors.empty()) return tl::unexpected(std::move(errors));
  return with;
}

const std::string& LastDeviceId(const VmConfig& with, std::string_view option) {
  if (option == "disk") return with.disks.back().id;
  if (option == "vsock") return with.vsock->id;
  CHECK(option == "net" || option == "device");
  return option == "net" ? with.nets.back().id : with.devices.back().id;
}

ConfigResult<VmConfig> ConfigFromJson(std::string_view text) {
  return ReadConfig(text, Descriptors::kRefuse);
}

ConfigResult<VmConfig> ConfigFromSnapshot(std::string_view text) {
  return ReadConfig(text, Descriptors::kKeep);
}

}  // namespace berth::vmm
