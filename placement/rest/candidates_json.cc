#include "placement/rest/candidates_json.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <string_view>
#include <vector>

#include "placement/rest/json_writer.h"

namespace berth::placement::rest {
namespace {

// "4e8e…", with its quotes.
using QuotedUuid = std::array<char, 38>;

constexpr auto kHexPairs = [] {
  std::array<std::array<char, 2>, 256> pairs{};
  constexpr std::string_view kDigits = "0123456789abcdef";
  for (size_t i = 0; i < pairs.size(); ++i) pairs[i] = {kDigits[i >> 4], kDigits[i & 15]};
  return pairs;
}();

QuotedUuid Quote(const Uuid& uuid) {
  QuotedUuid text;
  char* at = text.data();
  *at++ = '"';
  for (size_t i = 0; i < uuid.bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) *at++ = '-';
    std::memcpy(at, kHexPairs[uuid.bytes[i]].data(), 2);
    at += 2;
  }
  *at = '"';
  return text;
}

std::string Quote(std::string_view text) {
  JsonWriter json;
  json.String(text);
  return std::move(json).Take();
}

// A quoted name in memory that may be read up to kShort whatever its length, so that copying most names is
// two moves.
struct QuotedName {
  static constexpr size_t kShort = 32;
  std::string padded;
  size_t size = 0;  // 0: not made yet
};

QuotedName QuoteName(std::string_view name) {
  QuotedName quoted{Quote(name), 0};
  quoted.size = quoted.padded.size();
  quoted.padded.resize(std::max(quoted.size, QuotedName::kShort));
  return quoted;
}

// Names by number, quoted when first asked for.
template <class Table, class Id>
class QuotedNames {
 public:
  explicit QuotedNames(const Table& table) : table_(table), quoted_(table.slots()) {}
  const QuotedName& operator[](Id id) {
    QuotedName& name = quoted_[static_cast<size_t>(id)];
    if (name.size == 0) name = QuoteName(table_.name(id));
    return name;
  }

 private:
  const Table& table_;
  std::vector<QuotedName> quoted_;
};

// Text that grows at its end. Short pieces go into a block that stays in the processor's cache and are
// checked for room once each kSlack; the block goes to the string when it is full.
class Output {
 public:
  // The most that may be added between two calls of Room().
  static constexpr size_t kSlack = 2048;

  Output() : block_(kBlock), at_(block_.data()) {}

  void Reserve(size_t bytes) { text_.reserve(bytes); }
  // Makes room for kSlack bytes.
  void Room() {
    if (static_cast<size_t>(block_.data() + block_.size() - at_) < kSlack) Flush();
  }
  template <size_t kSize>
  void Add(const char (&literal)[kSize]) {
    std::memcpy(at_, literal, kSize - 1);
    at_ += kSize - 1;
  }
  void Add(const QuotedUuid& uuid) {
    std::memcpy(at_, uuid.data(), uuid.size());
    at_ += uuid.size();
  }
  void Add(const QuotedName& name) {
    if (name.size <= QuotedName::kShort) {
      std::memcpy(at_, name.padded.data(), QuotedName::kShort);
      at_ += name.size;
    } else {
      AddLong(std::string_view(name.padded).substr(0, name.size));
    }
  }
  void Add(int64_t number) { at_ = std::to_chars(at_, at_ + 24, number).ptr; }
  // Of any length; makes room again.
  void AddLong(std::string_view text) {
    Flush();
    text_.append(text);
  }
  std::string Take() && {
    Flush();
    return std::move(text_);
  }

 private:
  static constexpr size_t kBlock = 16 << 10;

  void Flush() {
    text_.append(block_.data(), static_cast<size_t>(at_ - block_.data()));
    at_ = block_.data();
  }

  std::string text_;
  std::vector<char> block_;
  char* at_;
};

class Writer {
 public:
  Writer(const ResourceView& view, const CandidatesRequest& request, const CandidatesAnswer& found,
         Microversion version)
      : view_(view),
        found_(found),
        version_(version),
        classes_(view.resource_classes()),
        traits_(view.traits()) {
    for (const RequestGroup& group : request.groups) suffixes_.push_back(QuoteName(group.suffix));
    shown_.assign(view.resource_classes().slots(), version.At(27));
    for (const RequestGroup& group : request.groups) {
      for (const ResourceAmount& resource : group.resources) {
        const auto id = view.resource_classes().Find(std::string_view(resource.resource_class));
        if (id) shown_[static_cast<size_t>(*id)] = true;
      }
    }
  }

  std::string Write() {
    out_.Reserve(found_.candidates.size() * 80 + found_.allocations.size() * 90 +
                 found_.mappings.size() * 60 + found_.summaries.size() * 400 + 128);
    Add(R"({"allocation_requests":[)");
    for (size_t i = 0; i < found_.candidates.size(); ++i) {
      out_.Room();
      if (i != 0) Add(",");
      version_.At(12) ? WriteAllocations(i) : WriteAllocationList(i);
      if (version_.At(34)) WriteMappings(i);
      Add("}");
    }
    out_.Room();
    Add(R"(],"provider_summaries":{)");
    WriteSummaries();
    Add("}}");
    return std::move(out_).Take();
  }

 private:
  using Allocation = CandidatesAnswer::Allocation;

  template <class Piece>
  void Add(const Piece& piece) {
    out_.Add(piece);
  }
  QuotedUuid UuidOf(ProviderPlace place) const { return Quote(view_.tree(place.tree)->uuid(place.provider)); }

  // 1.12 and later: {"allocations": {uuid: {"resources": {...}}}
  void WriteAllocations(size_t candidate) {
    Add(R"({"allocations":{)");
    const auto all = found_.AllocationsOf(candidate);
    for (size_t i = 0; i < all.size(); ++i) {
      out_.Room();
      if (i == 0 || all[i].provider != all[i - 1].provider) {
        if (i != 0) Add("}},");
        Add(UuidOf(all[i].provider));
        Add(R"(:{"resources":{)");
      } else {
        Add(",");
      }
      WriteAmount(all[i]);
    }
    if (!all.empty()) Add("}}");
    Add("}");
  }

  // Before: {"allocations": [{"resource_provider": {"uuid": uuid}, "resources": {...}}]
  void WriteAllocationList(size_t candidate) {
    Add(R"({"allocations":[)");
    const auto all = found_.AllocationsOf(candidate);
    for (size_t i = 0; i < all.size(); ++i) {
      out_.Room();
      if (i == 0 || all[i].provider != all[i - 1].provider) {
        if (i != 0) Add("}},");
        Add(R"({"resource_provider":{"uuid":)");
        Add(UuidOf(all[i].provider));
        Add(R"(},"resources":{)");
      } else {
        Add(",");
      }
      WriteAmount(all[i]);
    }
    if (!all.empty()) Add("}}");
    Add("]");
  }

  void WriteAmount(const Allocation& allocation) {
    Add(classes_[allocation.resource_class]);
    Add(":");
    Add(allocation.amount);
  }

  void WriteMappings(size_t candidate) {
    Add(R"(,"mappings":{)");
    const auto all = found_.MappingsOf(candidate);
    for (size_t i = 0; i < all.size(); ++i) {
      out_.Room();
      if (i == 0 || all[i].group != all[i - 1].group) {
        if (i != 0) Add("],");
        Add(suffixes_[all[i].group]);
        Add(":[");
      } else {
        Add(",");
      }
      Add(UuidOf(all[i].provider));
    }
    if (!all.empty()) Add("]");
    Add("}");
  }

  void WriteSummaries() {
    std::vector<QuotedUuid> uuids;  // of the tree at hand
    for (size_t i = 0; i < found_.summaries.size(); ++i) {
      const ProviderPlace place = found_.summaries[i];
      const ProviderTree& tree = *view_.tree(place.tree);
      if (i == 0 || found_.summaries[i - 1].tree != place.tree) {
        uuids.clear();
        for (uint32_t provider = 0; provider < tree.size(); ++provider)
          uuids.push_back(Quote(tree.uuid(provider)));
      }
      out_.Room();
      if (i != 0) Add(",");
      Add(uuids[place.provider]);
      Add(R"(:{"resources":{)");
      WriteResources(tree, place.provider);
      Add("}");
      if (version_.At(17)) WriteTraits(tree, place.provider);
      if (version_.At(29)) {
        Add(R"(,"parent_provider_uuid":)");
        const uint32_t parent = tree.parent(place.provider);
        parent == ProviderTree::kNone ? Add("null") : Add(uuids[parent]);
        Add(R"(,"root_provider_uuid":)");
        Add(uuids[0]);
      }
      Add("}");
    }
  }

  void WriteResources(const ProviderTree& tree, uint32_t provider) {
    const auto inventories = tree.inventories(provider);
    const auto used = tree.used(provider);
    bool first = true;
    for (size_t i = 0; i < inventories.size(); ++i) {
      out_.Room();
      if (!shown_[static_cast<size_t>(inventories[i].resource_class)]) continue;
      if (!first) Add(",");
      first = false;
      Add(classes_[inventories[i].resource_class]);
      Add(R"(:{"capacity":)");
      Add(inventories[i].WholeCapacity());
      Add(R"(,"used":)");
      Add(used[i]);
      Add("}");
    }
  }

  void WriteTraits(const ProviderTree& tree, uint32_t provider) {
    Add(R"(,"traits":[)");
    bool first = true;
    for (const TraitId id : tree.traits(provider)) {
      out_.Room();
      if (!first) Add(",");
      first = false;
      Add(traits_[id]);
    }
    Add("]");
  }

  const ResourceView& view_;
  const CandidatesAnswer& found_;
  const Microversion version_;
  QuotedNames<ResourceClassTable, ResourceClassId> classes_;
  QuotedNames<TraitTable, TraitId> traits_;
  std::vector<QuotedName> suffixes_;  // by group
  std::vector<bool> shown_;           // by class: whether summaries show it
  Output out_;
};

}  // namespace

std::string CandidatesJson(const ResourceView& view, const CandidatesRequest& request,
                           const CandidatesAnswer& found, Microversion version) {
  return Writer(view, request, found, version).Write();
}

}  // namespace berth::placement::rest
