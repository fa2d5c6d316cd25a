#include <algorithm>
#include <string_view>
#include <utility>

#include "placement/model/names.h"
#include "scheduler/request/resolve.h"

namespace berth::scheduler {
namespace {

constexpr std::string_view kTrait = "trait:";
constexpr std::string_view kAggregate = "aggregate_instance_extra_specs:";
// The solver's own question: whether cores have two threads (SmtTrait).
constexpr std::string_view kSmt = "trait:HW_CPU_HYPERTHREADING";

class TraitLists {
 public:
  explicit TraitLists(HostRules& rules) : rules_(rules) {}

  Status Add(std::string_view name, bool required, const std::string& field) {
    auto trait = placement::NormalizeTrait(name);
    if (!trait.has_value()) return InvalidArgument("InvalidInput: " + trait.error().message(), field);
    auto& wanted = required ? rules_.traits : rules_.forbidden_traits;
    const auto& other = required ? rules_.forbidden_traits : rules_.traits;
    if (std::binary_search(other.begin(), other.end(), *trait)) {
      return InvalidArgument("InvalidInput: trait " + *trait + " is both required and forbidden", field);
    }
    auto at = std::lower_bound(wanted.begin(), wanted.end(), *trait);
    if (at == wanted.end() || *at != *trait) wanted.insert(at, std::move(*trait));
    return OkStatus();
  }

  // "A,!B"; of "forbidden" all names are forbidden.
  Status AddList(std::string_view list, bool all_forbidden, const std::string& field) {
    while (true) {
      size_t comma = list.find(',');
      std::string_view item = list.substr(0, comma);
      while (item.starts_with(' ')) item.remove_prefix(1);
      while (item.ends_with(' ')) item.remove_suffix(1);
      bool marked = item.starts_with('!');
      if (marked && all_forbidden) {
        return InvalidArgument("InvalidInput: \"" + std::string(item) + "\" must be the name of a trait",
                               field);
      }
      TRY(Add(marked ? item.substr(1) : item, !marked && !all_forbidden, field));
      if (comma == std::string_view::npos) return OkStatus();
      list.remove_prefix(comma + 1);
    }
  }

  // trait:NAME=required or forbidden.
  Status AddNamed(std::string_view name, const std::string& value, const std::string& field) {
    if (value != "required" && value != "forbidden") {
      return InvalidArgument("InvalidInput: " + std::string(kTrait) + std::string(name) + " is \"" + value +
                                 "\", must be required or forbidden",
                             field);
    }
    return Add(name, value == "required", field);
  }

 private:
  HostRules& rules_;
};

}  // namespace

Result<HostRules> ResolveHostRules(const Flavor& flavor, const Properties& image) {
  HostRules rules;
  rules.flavor = flavor.name;
  TraitLists traits(rules);
  for (const auto& [name, value] : flavor.extra_specs) {
    const std::string field = "extra_specs." + name;
    if (name == kSmt) continue;
    if (name.starts_with(kTrait)) {
      TRY(traits.AddNamed(std::string_view(name).substr(kTrait.size()), value, field));
    } else if (name == "required" || name == "forbidden") {
      TRY(traits.AddList(value, name == "forbidden", field));
    } else if (name.starts_with(kAggregate)) {
      rules.aggregate_specs.emplace_back(name.substr(kAggregate.size()), value);
    }
  }
  for (const auto& [name, value] : image) {
    if (name == kSmt) {
      return InvalidArgument("InvalidInput: " + name + " is only known of flavors",
                             "image_properties." + name);
    }
    if (name.starts_with(kTrait)) {
      TRY(traits.AddNamed(std::string_view(name).substr(kTrait.size()), value, "image_properties." + name));
    } else {
      rules.image.emplace_back(name, value);
    }
  }
  std::sort(rules.aggregate_specs.begin(), rules.aggregate_specs.end());
  return rules;
}

}  // namespace berth::scheduler
