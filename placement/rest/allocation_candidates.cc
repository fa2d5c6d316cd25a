#include <algorithm>
#include <set>

#include "placement/candidates/candidates.h"
#include "placement/rest/candidates_query.h"
#include "placement/rest/handlers.h"
#include "placement/rest/json_writer.h"
#include "placement/rest/schemas.h"

namespace berth::placement::rest {
namespace {

// One answer, written straight from the search's result.
class CandidatesWriter {
 public:
  CandidatesWriter(const Call& call, const CandidatesRequest& request, const CandidatesAnswer& found)
      : call_(call), request_(request), found_(found) {}

  std::string Write() {
    json_.Reserve(found_.candidates.size() * 400 + found_.summaries.size() * 500 + 128);
    json_.BeginObject().Key("allocation_requests").BeginArray();
    for (size_t i = 0; i < found_.candidates.size(); ++i) WriteCandidate(i);
    json_.EndArray();
    WriteSummaries();
    json_.EndObject();
    return std::move(json_).Take();
  }

 private:
  const ProviderTree& TreeOf(ProviderPlace place) const { return *call_.view->tree(place.tree); }
  std::string UuidOf(ProviderPlace place) const { return TreeOf(place).uuid(place.provider).ToString(); }

  void WriteCandidate(size_t candidate) {
    json_.BeginObject();
    if (call_.version.At(12)) {
      json_.Key("allocations").BeginObject();
      ForEachGiver(candidate, [&](ProviderPlace provider, auto first, auto last) {
        json_.Key(UuidOf(provider)).BeginObject();
        WriteResources(first, last);
        json_.EndObject();
      });
      json_.EndObject();
    } else {
      json_.Key("allocations").BeginArray();
      ForEachGiver(candidate, [&](ProviderPlace provider, auto first, auto last) {
        json_.BeginObject().Key("resource_provider").BeginObject();
        json_.Key("uuid").String(UuidOf(provider)).EndObject();
        WriteResources(first, last);
        json_.EndObject();
      });
      json_.EndArray();
    }
    if (call_.version.At(34)) WriteMappings(candidate);
    json_.EndObject();
  }

  template <class F>
  void ForEachGiver(size_t candidate, F&& visit) {
    auto all = found_.AllocationsOf(candidate);
    for (auto first = all.begin(); first != all.end();) {
      auto last =
          std::find_if(first, all.end(), [&](const auto& a) { return a.provider != first->provider; });
      visit(first->provider, first, last);
      first = last;
    }
  }

  template <class It>
  void WriteResources(It first, It last) {
    json_.Key("resources").BeginObject();
    for (; first != last; ++first) {
      json_.Key(call_.view->resource_classes().name(first->resource_class)).Int(first->amount);
    }
    json_.EndObject();
  }

  void WriteMappings(size_t candidate) {
    json_.Key("mappings").BeginObject();
    auto all = found_.MappingsOf(candidate);
    for (auto first = all.begin(); first != all.end();) {
      json_.Key(request_.groups[first->group].suffix).BeginArray();
      auto group = first->group;
      for (; first != all.end() && first->group == group; ++first) json_.String(UuidOf(first->provider));
      json_.EndArray();
    }
    json_.EndObject();
  }

  void WriteSummaries() {
    std::set<ResourceClassId> requested;
    if (!call_.version.At(27)) {
      for (const RequestGroup& group : request_.groups) {
        for (const ResourceAmount& resource : group.resources) {
          if (auto id = call_.view->resource_classes().Find(resource.resource_class)) requested.insert(*id);
        }
      }
    }
    json_.Key("provider_summaries").BeginObject();
    for (ProviderPlace place : found_.summaries) {
      json_.Key(UuidOf(place)).BeginObject();
      WriteSummary(TreeOf(place), place.provider, requested);
      json_.EndObject();
    }
    json_.EndObject();
  }

  void WriteSummary(const ProviderTree& tree, uint32_t provider, const std::set<ResourceClassId>& requested) {
    auto inventories = tree.inventories(provider);
    auto used = tree.used(provider);
    json_.Key("resources").BeginObject();
    for (size_t i = 0; i < inventories.size(); ++i) {
      ResourceClassId id = inventories[i].resource_class;
      if (!call_.version.At(27) && !requested.contains(id)) continue;
      json_.Key(call_.view->resource_classes().name(id)).BeginObject();
      json_.Key("capacity").Int(static_cast<int64_t>(inventories[i].Capacity()));
      json_.Key("used").Int(used[i]);
      json_.EndObject();
    }
    json_.EndObject();
    if (call_.version.At(17)) {
      json_.Key("traits").BeginArray();
      for (TraitId id : tree.traits(provider)) json_.String(call_.view->traits().name(id));
      json_.EndArray();
    }
    if (call_.version.At(29)) {
      json_.Key("parent_provider_uuid");
      uint32_t parent = tree.parent(provider);
      if (parent == ProviderTree::kNone) {
        json_.Null();
      } else {
        json_.String(tree.uuid(parent).ToString());
      }
      json_.Key("root_provider_uuid").String(tree.uuid(0).ToString());
    }
  }

  const Call& call_;
  const CandidatesRequest& request_;
  const CandidatesAnswer& found_;
  JsonWriter json_;
};

}  // namespace

Answer GetAllocationCandidates(const Call& call) {
  if (auto valid = call.query.Check(CandidatesSchema(call.version)); !valid) return valid.error();
  auto request = ParseCandidatesQuery(call.query, call.version);
  if (!request) return request.error();
  Result<CandidatesAnswer> found = FindCandidates(*call.view, *request);
  if (!found) {
    const Status& status = found.error();
    if (status.code() != StatusCode::kInvalidArgument)
      return ApiError{.status = 500, .detail = status.message()};
    if (status.field() == "resources") {
      return BadRequest("Invalid resource class in resources parameter: " + status.message());
    }
    return BadRequest(status.message());
  }
  http::Response response = JsonAnswer(call, CandidatesWriter(call, *request, *found).Write());
  if (found->gave_up) response.headers.Set("x-berth-search-incomplete", "true");
  return response;
}

}  // namespace berth::placement::rest
