#include <algorithm>
#include <charconv>
#include <optional>

#include "scheduler/filters/registry.h"
#include "scheduler/filters/value_list.h"

namespace berth::scheduler {
namespace {

std::optional<double> Number(std::string_view text) {
  double value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Nova's operators of extra specs: "s== x", ">= 3", "<in> x", "<or> a <or> b", "!= ...". Without operator:
// equal.
bool Meets(std::string_view have, std::string_view wish) {
  size_t space = wish.find(' ');
  std::string_view op = wish.substr(0, space);
  std::string_view rest = space == std::string_view::npos ? std::string_view() : wish.substr(space + 1);
  if (op == "s==") return have == rest;
  if (op == "s!=") return have != rest;
  if (op == "s<") return have < rest;
  if (op == "s<=") return have <= rest;
  if (op == "s>") return have > rest;
  if (op == "s>=") return have >= rest;
  if (op == "<in>") return have.find(rest) != std::string_view::npos;
  if (op == "<or>") {
    while (true) {
      size_t next = rest.find(" <or> ");
      if (have == rest.substr(0, next)) return true;
      if (next == std::string_view::npos) return false;
      rest.remove_prefix(next + 6);
    }
  }
  if (op == "=" || op == "==" || op == "!=" || op == "<=" || op == ">=") {
    auto a = Number(have);
    auto b = Number(rest);
    if (!a || !b) return false;
    // "=" means "at least" in Nova's extra specs.
    return op == "=" || op == ">=" ? *a >= *b : op == "==" ? *a == *b : op == "!=" ? *a != *b : *a <= *b;
  }
  return have == wish;
}

// Keeps hosts whose aggregates' metadata meet the flavor's aggregate_instance_extra_specs:KEY=VALUE, as
// Nova's AggregateInstanceExtraSpecsFilter: for each key some aggregate of the host must have a value that
// meets it.
class AggregateSpecsFilter final : public Filter {
 public:
  bool Concerns(const RequestSpec& spec) const override { return !spec.host.aggregate_specs.empty(); }
  bool Keeps(const FilteredHost& host, const RequestSpec& spec) const override {
    return Missing(host, spec) == nullptr;
  }
  Reason Why(const FilteredHost& host, const RequestSpec& spec) const override {
    const auto* missing = Missing(host, spec);
    if (missing == nullptr) return {};
    std::string have;
    for (const Aggregate* aggregate : host.facts.aggregates) {
      if (const std::string* value = aggregate->Find(missing->first))
        have += (have.empty() ? "" : ", ") + *value;
    }
    return {"", have, missing->second, "aggregate key " + missing->first,
            "no aggregate of the host has metadata \"" + missing->first + "\" that meets \"" +
                missing->second + "\""};
  }

 private:
  static bool MeetsAny(const std::string& values, const std::string& wish) {
    std::string_view list = values;
    while (true) {
      size_t comma = list.find(',');
      std::string_view item = list.substr(0, comma);
      while (item.starts_with(' ')) item.remove_prefix(1);
      if (Meets(item, wish)) return true;
      if (comma == std::string_view::npos) return false;
      list.remove_prefix(comma + 1);
    }
  }
  static const std::pair<std::string, std::string>* Missing(const FilteredHost& host,
                                                            const RequestSpec& spec) {
    for (const auto& wish : spec.host.aggregate_specs) {
      bool met = std::any_of(host.facts.aggregates.begin(), host.facts.aggregates.end(),
                             [&](const Aggregate* aggregate) {
                               const std::string* value = aggregate->Find(wish.first);
                               return value != nullptr && MeetsAny(*value, wish.second);
                             });
      if (!met) return &wish;
    }
    return nullptr;
  }
};

}  // namespace

std::unique_ptr<Filter> MakeAggregateSpecsFilter(const FilterSettings& /*settings*/) {
  return std::make_unique<AggregateSpecsFilter>();
}

}  // namespace berth::scheduler
