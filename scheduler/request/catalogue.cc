#include "scheduler/request/catalogue.h"

#include <algorithm>
#include <filesystem>
#include <utility>

namespace berth::scheduler {
namespace {

// Collects every error with its place.
class Errors {
 public:
  void Add(const std::string& file, int line, const std::string& prefix, const Status& status) {
    std::string field = prefix;
    if (!status.field().empty()) field += (field.empty() ? "" : ".") + status.field();
    std::string text = file;
    if (line > 0) text += ":" + std::to_string(line);
    text += ": " + (field.empty() ? "" : field + ": ") + status.message();
    if (!status.hint().empty()) text += " (" + status.hint() + ")";
    if (lines_.empty()) first_field_ = field;
    lines_.push_back(std::move(text));
  }
  Status Take() const {
    if (lines_.empty()) return OkStatus();
    std::string all;
    for (const std::string& line : lines_) all += (all.empty() ? "" : "\n") + line;
    return InvalidArgument(all, first_field_);
  }

 private:
  std::vector<std::string> lines_;
  std::string first_field_;
};

std::string Item(std::string_view list, size_t i) {
  return std::string(list) + "[" + std::to_string(i) + "]";
}

// A scalar as text; YAML's own true/false stay as written.
Result<std::string> Text(const YamlNode& node, const std::string& field) {
  if (node.is_scalar()) return node.scalar;
  return InvalidArgument("must be a string", field);
}

Result<Flavor> ReadFlavor(const YamlNode& node) {
  TRY(CheckYamlKeys(node, "", {"name", "vcpus", "memory_mib", "disk_gib", "extra_specs"}));
  for (std::string_view key : {"name", "vcpus", "memory_mib"}) {
    if (node.Find(key) == nullptr) return InvalidArgument("is missing", std::string(key));
  }
  Flavor flavor;
  TRY_ASSIGN(flavor.name, YamlString(*node.Find("name"), "name"));
  if (flavor.name.empty() || flavor.name.size() > 255) {
    return InvalidArgument("\"" + flavor.name + "\" must have 1 to 255 characters", "name");
  }
  TRY_ASSIGN(int64_t vcpus, YamlInt(*node.Find("vcpus"), "vcpus", 1, 4096));
  TRY_ASSIGN(int64_t memory, YamlInt(*node.Find("memory_mib"), "memory_mib", 1, int64_t{1} << 30));
  flavor.vcpus = static_cast<uint32_t>(vcpus);
  flavor.memory_mib = static_cast<uint64_t>(memory);
  if (const YamlNode* disk = node.Find("disk_gib"); disk != nullptr) {
    TRY_ASSIGN(int64_t gib, YamlInt(*disk, "disk_gib", 0, int64_t{1} << 30));
    flavor.disk_gib = static_cast<uint64_t>(gib);
  }
  const YamlNode* specs = node.Find("extra_specs");
  if (specs == nullptr || specs->is_null()) return flavor;
  if (!specs->is_map()) return InvalidArgument("must be a map of strings", "extra_specs");
  for (const auto& [key, value] : specs->entries) {
    TRY_ASSIGN(flavor.extra_specs[key], Text(value, "extra_specs." + key));
  }
  return flavor;
}

Result<AliasEntry> ReadAlias(const YamlNode& node) {
  if (!node.is_map()) return InvalidArgument("must be a map");
  std::vector<AliasField> fields;
  for (const auto& [key, value] : node.entries) {
    if (key == "traits" && value.is_sequence()) {
      std::string list;
      for (const YamlNode& item : value.items) {
        TRY_ASSIGN(std::string trait, Text(item, key));
        list += (list.empty() ? "" : ",") + trait;
      }
      fields.emplace_back(key, std::move(list));
      continue;
    }
    TRY_ASSIGN(std::string text, Text(value, key));
    fields.emplace_back(key, std::move(text));
  }
  return MakeAliasEntry(fields);
}

// The line of the value that a field path such as "extra_specs.hw:numa_nodes" leads to.
int LineOf(const YamlNode& node, std::string_view field) {
  size_t dot = field.find('.');
  const YamlNode* inner = node.Find(field.substr(0, dot));
  if (inner == nullptr) return node.line;
  if (dot == std::string_view::npos) return inner->line > 0 ? inner->line : node.line;
  const YamlNode* leaf = inner->Find(field.substr(dot + 1));
  if (leaf != nullptr && leaf->line > 0) return leaf->line;
  return inner->line > 0 ? inner->line : node.line;
}

const std::vector<YamlNode>& List(const CatalogueSource& source, std::string_view key, Errors& errors) {
  static const std::vector<YamlNode> none;
  const YamlNode* node = source.root.Find(key);
  if (node == nullptr || node->is_null()) return none;
  if (node->is_sequence()) return node->items;
  errors.Add(source.name, node->line, std::string(key), InvalidArgument("must be a list"));
  return none;
}

void ReadAliases(const CatalogueSource& source, Catalogue& catalogue, Errors& errors) {
  const auto& items = List(source, "aliases", errors);
  for (size_t i = 0; i < items.size(); ++i) {
    auto entry = ReadAlias(items[i]);
    Status status = entry.has_value() ? AddAliasEntry(std::move(*entry), catalogue.aliases) : entry.error();
    if (!status.ok()) errors.Add(source.name, LineOf(items[i], status.field()), Item("aliases", i), status);
  }
}

void ReadFlavors(const CatalogueSource& source, Catalogue& catalogue, Errors& errors) {
  const auto& items = List(source, "flavors", errors);
  for (size_t i = 0; i < items.size(); ++i) {
    auto flavor = ReadFlavor(items[i]);
    Status status = flavor.status();
    if (status.ok()) status = ResolveRequest(*flavor, {}, {}, catalogue.aliases).status();
    if (status.ok() && catalogue.flavors.contains(flavor->name)) {
      status = AlreadyExists("flavor \"" + flavor->name + "\" is defined twice", "name");
    }
    if (status.ok()) {
      catalogue.flavors.emplace(flavor->name, *flavor);
    } else {
      errors.Add(source.name, LineOf(items[i], status.field()), Item("flavors", i), status);
    }
  }
}

Result<Catalogue> Build(const std::vector<CatalogueSource>& sources, Errors& errors) {
  Catalogue catalogue;
  for (const CatalogueSource& source : sources) {
    if (source.root.is_null()) continue;
    Status keys = CheckYamlKeys(source.root, "", {"flavors", "aliases"});
    if (!keys.ok()) errors.Add(source.name, source.root.line, "", keys);
    ReadAliases(source, catalogue, errors);
  }
  for (const CatalogueSource& source : sources) ReadFlavors(source, catalogue, errors);
  TRY(errors.Take());
  return catalogue;
}

}  // namespace

Result<Catalogue> BuildCatalogue(const std::vector<CatalogueSource>& sources) {
  Errors errors;
  return Build(sources, errors);
}

Result<Catalogue> ParseCatalogue(std::string_view yaml, std::string_view name) {
  TRY_ASSIGN(YamlNode root, ParseYaml(yaml, name));
  return BuildCatalogue({{std::string(name), std::move(root)}});
}

Result<Catalogue> LoadCatalogue(const std::vector<std::string>& paths) {
  Errors errors;
  std::vector<CatalogueSource> sources;
  for (const std::string& path : paths) {
    auto root = ReadYamlFile(path);
    if (root.has_value()) {
      sources.push_back({path, std::move(*root)});
      continue;
    }
    // Parser errors begin with their own place.
    std::string message = root.error().message();
    if (message.starts_with(path + ":")) message.erase(0, path.size() + 1);
    errors.Add(path, 0, "", Status(root.error().code(), message, root.error().field(), root.error().hint()));
  }
  return Build(sources, errors);
}

Result<Catalogue> LoadCatalogueFolder(const std::string& folder) {
  std::error_code error;
  if (!std::filesystem::is_directory(folder, error)) {
    return NotFound("configuration folder \"" + folder + "\" does not exist", "config");
  }
  std::vector<std::string> paths;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    std::string name = it->path().filename().string();
    bool ours = (name.starts_with("flavors") || name.starts_with("aliases")) && name.ends_with(".yaml");
    if (ours && !name.ends_with(".example.yaml")) paths.push_back(it->path().string());
  }
  if (error) return ErrnoStatus("read folder " + folder, error.value());
  std::sort(paths.begin(), paths.end());
  return LoadCatalogue(paths);
}

}  // namespace berth::scheduler
