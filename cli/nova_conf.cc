#include "cli/nova_conf.h"

#include <optional>

#include "cli/oslo_ini.h"
#include "common/yaml.h"
#include "compute-agent/devices/device_spec.h"
#include "scheduler/request/alias.h"

namespace berth::cli {
namespace {

constexpr int kMaxDepth = 8;

enum class Kind { kOther, kDeviceSpec, kAlias };

Kind KindOf(const OsloOption& option) {
  bool pci = option.section == "pci";
  bool old = option.section == "DEFAULT";
  if (pci && (option.key == "device_spec" || option.key == "passthrough_whitelist")) return Kind::kDeviceSpec;
  if (old && option.key == "pci_passthrough_whitelist") return Kind::kDeviceSpec;
  if ((pci && option.key == "alias") || (old && option.key == "pci_alias")) return Kind::kAlias;
  return Kind::kOther;
}

// Nothing that is valid nests deeper; what nests deeper is not read further.
YamlNode ToNode(const Json& json, int line, int depth = 0) {
  YamlNode node;
  node.line = line;
  if (json.is_object() && depth < kMaxDepth) {
    node.kind = YamlNode::Kind::kMap;
    for (const auto& [key, value] : json.items()) {
      node.entries.emplace_back(key, ToNode(value, line, depth + 1));
    }
  } else if (json.is_array() && depth < kMaxDepth) {
    node.kind = YamlNode::Kind::kSequence;
    for (const Json& item : json) node.items.push_back(ToNode(item, line, depth + 1));
  } else if (!json.is_null()) {
    node.kind = YamlNode::Kind::kScalar;
    node.quoted = json.is_string();
    node.scalar = json.is_string() ? json.get<std::string>() : json.dump();
  }
  return node;
}

// One run over one file.
class Converter {
 public:
  explicit Converter(const std::string& name) : name_(name) {}

  Result<NovaConf> Run(std::string_view text) {
    for (const OsloOption& option : ParseOsloIni(text, name_, errors_)) {
      Kind kind = KindOf(option);
      if (kind == Kind::kOther) {
        Note(option);
        continue;
      }
      std::optional<Json> value = ReadJson(option);
      if (!value.has_value()) continue;
      // Nova takes a list of entries in one option for device_spec only.
      if (kind == Kind::kDeviceSpec && value->is_array()) {
        for (const Json& entry : *value) AddDeviceSpec(entry, option);
      } else if (kind == Kind::kDeviceSpec) {
        AddDeviceSpec(*value, option);
      } else {
        AddAlias(*value, option);
      }
    }
    TRY(errors_.ToStatus());
    return std::move(result_);
  }

 private:
  std::string At(const OsloOption& option) const {
    return name_ + ":" + std::to_string(option.line) + ": " + option.key;
  }
  void Note(const OsloOption& option) {
    if (option.section == "pci" && option.key == "report_in_placement") {
      result_.notes.push_back(At(option) + " is left out: devices are always tracked in placement");
    }
  }

  std::optional<Json> ReadJson(const OsloOption& option) {
    if (option.value.find('$') != std::string::npos) {
      errors_.Add(InvalidArgument("contains \"$\", which Nova replaces by another option's value", At(option),
                                  "write the value out"));
      return std::nullopt;
    }
    Json json = Json::parse(option.value, nullptr, /*allow_exceptions=*/false);
    if (!json.is_discarded()) return json;
    errors_.Add(
        InvalidArgument("is not JSON", At(option),
                        "for example {\"vendor_id\": \"8086\", \"product_id\": \"154d\"}, with double "
                        "quotes and true, false or null in lower case"));
    return std::nullopt;
  }

  void AddDeviceSpec(const Json& entry, const OsloOption& option) {
    ErrorList errors;
    agent::ParseDeviceSpecEntry(ToNode(entry, option.line), At(option), errors);
    for (const Status& error : errors.errors()) errors_.Add(error);
    if (errors.empty()) result_.device_spec.push_back(entry);
  }

  void AddAlias(const Json& alias, const OsloOption& option) {
    if (!alias.is_object()) {
      errors_.Add(InvalidArgument("is not a map", At(option)));
      return;
    }
    std::vector<scheduler::AliasField> fields;
    Json out = Json::object();
    bool live_migratable = false;
    for (const auto& [key, value] : alias.items()) {
      if (value.is_structured() || value.is_null()) {
        errors_.Add(InvalidArgument("is not a single value", At(option) + "." + key));
        return;
      }
      std::string text = value.is_string() ? value.get<std::string>() : value.dump();
      if (key == "live_migratable") {
        std::optional<bool> wanted =
            errors_.Take(YamlBool(ToNode(value, option.line), At(option) + "." + key));
        if (!wanted.has_value()) return;
        live_migratable = *wanted;
        if (!live_migratable) {
          result_.notes.push_back(At(option) +
                                  ".live_migratable: no is left out: devices of either kind serve");
        }
        continue;
      }
      fields.emplace_back(key, text);
      out[key] = text;
    }
    if (live_migratable) AddTrait(agent::kLiveMigratableTrait, fields, out);
    Result<scheduler::AliasEntry> entry = scheduler::MakeAliasEntry(fields);
    Status added =
        entry.has_value() ? scheduler::AddAliasEntry(*std::move(entry), aliases_) : std::move(entry).error();
    if (added.ok()) {
      result_.aliases.push_back(std::move(out));
      return;
    }
    std::string field = added.field().empty() ? At(option) : At(option) + "." + added.field();
    errors_.Add(std::move(added).WithField(field));
  }

  // Aliases ask for migratable devices by their trait.
  static void AddTrait(const std::string& trait, std::vector<scheduler::AliasField>& fields, Json& out) {
    for (auto& [key, text] : fields) {
      if (key != "traits") continue;
      text += "," + trait;
      out["traits"] = text;
      return;
    }
    fields.emplace_back("traits", trait);
    out["traits"] = trait;
  }

  std::string name_;
  ErrorList errors_;
  scheduler::AliasTable aliases_;
  NovaConf result_;
};

}  // namespace

Result<NovaConf> ConvertNovaConf(std::string_view text, const std::string& name) {
  return Converter(name).Run(text);
}

}  // namespace berth::cli
