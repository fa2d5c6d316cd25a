#include <algorithm>
#include <set>

#include "scheduler/filters/registry.h"
#include "scheduler/filters/value_list.h"

namespace berth::scheduler {
namespace {

// Where an image has a property that an aggregate's metadata has too, the values agree, as with Nova's
// AggregateImagePropertiesIsolation: hosts of that aggregate are for images with one of its values. An image
// without the property goes anywhere.
class ImageIsolationFilter final : public Filter {
 public:
  explicit ImageIsolationFilter(const FilterSettings& settings) {
    for (const Aggregate& aggregate : settings.aggregates) {
      for (const auto& [key, value] : aggregate.metadata) keys_.insert(key);
    }
  }

  bool Concerns(const RequestSpec& spec) const override {
    return std::any_of(spec.host.image.begin(), spec.host.image.end(),
                       [&](const auto& property) { return keys_.contains(property.first); });
  }
  bool Keeps(const FilteredHost& host, const RequestSpec& spec) const override {
    return Strange(host, spec) == nullptr;
  }
  Reason Why(const FilteredHost& host, const RequestSpec& spec) const override {
    const auto* property = Strange(host, spec);
    if (property == nullptr) return {};
    return {"", "", property->second, "image property " + property->first,
            "the host's aggregate is for images with other values of \"" + property->first + "\""};
  }

 private:
  static const std::pair<std::string, std::string>* Strange(const FilteredHost& host,
                                                            const RequestSpec& spec) {
    for (const auto& property : spec.host.image) {
      bool named = false;
      bool agrees = false;
      for (const Aggregate* aggregate : host.facts.aggregates) {
        const std::string* values = aggregate->Find(property.first);
        named = named || values != nullptr;
        agrees = agrees || (values != nullptr && ListHas(*values, property.second));
      }
      if (named && !agrees) return &property;
    }
    return nullptr;
  }

  std::set<std::string> keys_;
};

}  // namespace

std::unique_ptr<Filter> MakeImageIsolationFilter(const FilterSettings& settings) {
  return std::make_unique<ImageIsolationFilter>(settings);
}

}  // namespace berth::scheduler
