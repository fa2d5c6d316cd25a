#include "scheduler/request/catalogue.h"

#include <algorithm>
#include <filesystem>
#include <type_traits>
#include <utility>

#include "common/error_list.h"

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

Flavor ReadFlavor(const YamlNode& node, ErrorList& errors) {
  Flavor flavor;
  if (!node.is_map()) {
    errors.Add(InvalidArgument("must be a map"));
    return flavor;
  }
  errors.Add(UnknownYamlKeys(node, "", {"name", "vcpus", "memory_mib", "disk_gib", "extra_specs"}));
  for (std::string_view key : {"name", "vcpus", "memory_mib"}) {
    if (node.Find(key) == nullptr) errors.Add(InvalidArgument("is missing", std::string(key)));
  }
  auto number = [&](std::string_view key, int64_t least, int64_t most, auto& value) {
    const YamlNode* found = node.Find(key);
    if (found == nullptr) return;
    if (auto read = errors.Take(YamlInt(*found, key, least, most))) {
      value = static_cast<std::remove_reference_t<decltype(value)>>(*read);
    }
  };
  const YamlNode* name = node.Find("name");
  if (auto text = name == nullptr ? std::nullopt : errors.Take(YamlString(*name, "name"))) {
    flavor.name = *std::move(text);
    if (flavor.name.empty() || flavor.name.size() > 255) {
      errors.Add(InvalidArgument("\"" + flavor.name + "\" must have 1 to 255 characters", "name"));
    }
  }
  number("vcpus", 1, 4096, flavor.vcpus);
  number("memory_mib", 1, int64_t{1} << 30, flavor.memory_mib);
  number("disk_gib", 0, int64_t{1} << 30, flavor.disk_gib);
  const YamlNode* specs = node.Find("extra_specs");
  if (specs == nullptr || specs->is_null()) return flavor;
  if (!specs->is_map()) {
    errors.Add(InvalidArgument("must be a map of strings", "extra_specs"));
    return flavor;
  }
  for (const auto& [key, value] : specs->entries) {
    if (auto text = errors.Take(Text(value, "extra_specs." + key)))
      flavor.extra_specs[key] = *std::move(text);
  }
  errors.Add(UnknownExtraSpecs(flavor.extra_specs));
  return flavor;
}

AliasEntry ReadAlias(const YamlNode& node, ErrorList& errors) {
  if (!node.is_map()) {
    errors.Add(InvalidArgument("must be a map"));
    return {};
  }
  std::vector<AliasField> fields;
  ErrorList wrong;
  for (const auto& [key, value] : node.entries) {
    std::string list;
    if (key == "traits" && value.is_sequence()) {
      for (const YamlNode& item : value.items) {
        list += (list.empty() ? "" : ",") + wrong.Take(Text(item, key)).value_or("");
      }
      fields.emplace_back(key, std::move(list));
    } else if (auto text = wrong.Take(Text(value, key))) {
      fields.emplace_back(key, *std::move(text));
    }
  }
  if (wrong.empty()) return ReadAliasEntry(fields, errors);
  errors.Add(wrong.errors());  // fields are not all there: what is missing would be said twice
  return {};
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

void AddAll(const CatalogueSource& source, const YamlNode& node, const std::string& item,
            const ErrorList& found, Errors& errors) {
  for (const Status& error : found.errors())
    errors.Add(source.name, LineOf(node, error.field()), item, error);
}

void ReadAliases(const CatalogueSource& source, Catalogue& catalogue, Errors& errors) {
  const auto& items = List(source, "aliases", errors);
  for (size_t i = 0; i < items.size(); ++i) {
    ErrorList found;
    AliasEntry entry = ReadAlias(items[i], found);
    if (found.empty()) found.Add(AddAliasEntry(std::move(entry), catalogue.aliases));
    AddAll(source, items[i], Item("aliases", i), found, errors);
  }
}

void ReadFlavors(const CatalogueSource& source, Catalogue& catalogue, Errors& errors) {
  const auto& items = List(source, "flavors", errors);
  for (size_t i = 0; i < items.size(); ++i) {
    ErrorList found;
    Flavor flavor = ReadFlavor(items[i], found);
    // What a flavor means is asked only when it can be read.
    if (found.empty()) found.Add(ResolveRequest(flavor, {}, {}, catalogue.aliases).status());
    if (catalogue.flavors.contains(flavor.name)) {
      found.Add(AlreadyExists("flavor \"" + flavor.name + "\" is defined twice", "name"));
    }
    if (found.empty()) catalogue.flavors.emplace(flavor.name, flavor);
    AddAll(source, items[i], Item("flavors", i), found, errors);
  }
}

Result<Catalogue> Build(const std::vector<CatalogueSource>& sources, Errors& errors) {
  Catalogue catalogue;
  for (const CatalogueSource& source : sources) {
    if (source.root.is_null()) continue;
    for (const Status& key : UnknownYamlKeys(source.root, "", {"flavors", "aliases"})) {
      errors.Add(source.name, LineOf(source.root, key.field()), "", key);
    }
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
