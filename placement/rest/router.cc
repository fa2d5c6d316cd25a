#include "placement/rest/router.h"

#include "placement/rest/handlers.h"
#include "placement/rest/text.h"

namespace berth::placement::rest {
namespace {

// In the order in which a path's methods stand in `allow`.
constexpr Route kRoutes[] = {
    {.method = "GET", .path = "/", .handler = GetRoot},
    {.method = "GET", .path = "", .handler = GetRoot},

    {.method = "GET",
     .path = "/resource_classes",
     .handler = ListResourceClasses,
     .rule = "placement:resource_classes:list",
     .since = 2,
     .json_out = true},
    {.method = "POST",
     .path = "/resource_classes",
     .handler = PostResourceClass,
     .rule = "placement:resource_classes:create",
     .since = 2,
     .json_in = true},
    {.method = "GET",
     .path = "/resource_classes/{name}",
     .handler = GetResourceClass,
     .rule = "placement:resource_classes:show",
     .since = 2,
     .json_out = true},
    {.method = "PUT",
     .path = "/resource_classes/{name}",
     .handler = PutResourceClass,
     .rule = "placement:resource_classes:update",
     .since = 2},
    {.method = "DELETE",
     .path = "/resource_classes/{name}",
     .handler = DeleteResourceClassByName,
     .rule = "placement:resource_classes:delete",
     .since = 2},

    {.method = "GET",
     .path = "/resource_providers",
     .handler = ListProviders,
     .rule = "placement:resource_providers:list",
     .json_out = true},
    {.method = "POST",
     .path = "/resource_providers",
     .handler = PostProvider,
     .rule = "placement:resource_providers:create",
     .json_in = true},
    {.method = "GET",
     .path = "/resource_providers/{uuid}",
     .handler = GetProvider,
     .rule = "placement:resource_providers:show",
     .json_out = true},
    {.method = "DELETE",
     .path = "/resource_providers/{uuid}",
     .handler = DeleteProviderByUuid,
     .rule = "placement:resource_providers:delete"},
    {.method = "PUT",
     .path = "/resource_providers/{uuid}",
     .handler = PutProvider,
     .rule = "placement:resource_providers:update",
     .json_in = true},

    {.method = "GET",
     .path = "/resource_providers/{uuid}/inventories",
     .handler = ListInventories,
     .rule = "placement:resource_providers:inventories:list",
     .json_out = true},
    {.method = "POST",
     .path = "/resource_providers/{uuid}/inventories",
     .handler = PostInventory,
     .rule = "placement:resource_providers:inventories:create",
     .json_in = true},
    {.method = "PUT",
     .path = "/resource_providers/{uuid}/inventories",
     .handler = PutInventories,
     .rule = "placement:resource_providers:inventories:update",
     .json_in = true},
    {.method = "DELETE",
     .path = "/resource_providers/{uuid}/inventories",
     .handler = DeleteInventories,
     .rule = "placement:resource_providers:inventories:delete",
     .since = 5,
     .missing_status = 405},
    {.method = "GET",
     .path = "/resource_providers/{uuid}/inventories/{class}",
     .handler = GetInventory,
     .rule = "placement:resource_providers:inventories:show",
     .json_out = true},
    {.method = "PUT",
     .path = "/resource_providers/{uuid}/inventories/{class}",
     .handler = PutInventory,
     .rule = "placement:resource_providers:inventories:update",
     .json_in = true},
    {.method = "DELETE",
     .path = "/resource_providers/{uuid}/inventories/{class}",
     .handler = DeleteInventory,
     .rule = "placement:resource_providers:inventories:delete"},

    {.method = "GET",
     .path = "/resource_providers/{uuid}/usages",
     .handler = GetProviderUsages,
     .rule = "placement:resource_providers:usages",
     .json_out = true},
    {.method = "GET",
     .path = "/resource_providers/{uuid}/aggregates",
     .handler = GetAggregates,
     .rule = "placement:resource_providers:aggregates:list",
     .since = 1,
     .json_out = true,
     .media_first = true},
    {.method = "PUT",
     .path = "/resource_providers/{uuid}/aggregates",
     .handler = PutAggregates,
     .rule = "placement:resource_providers:aggregates:update",
     .since = 1,
     .json_in = true,
     .media_first = true},
    {.method = "GET",
     .path = "/resource_providers/{uuid}/allocations",
     .handler = GetProviderAllocations,
     .rule = "placement:resource_providers:allocations:list",
     .json_out = true},

    {.method = "POST",
     .path = "/allocations",
     .handler = PostAllocations,
     .rule = "placement:allocations:manage",
     .since = 13,
     .json_in = true},
    {.method = "GET",
     .path = "/allocations/{consumer}",
     .handler = GetAllocations,
     .rule = "placement:allocations:list",
     .json_out = true},
    {.method = "PUT",
     .path = "/allocations/{consumer}",
     .handler = PutAllocations,
     .rule = "placement:allocations:update",
     .json_in = true},
    {.method = "DELETE",
     .path = "/allocations/{consumer}",
     .handler = DeleteAllocationsOfConsumer,
     .rule = "placement:allocations:delete"},

    {.method = "GET",
     .path = "/allocation_candidates",
     .handler = GetAllocationCandidates,
     .rule = "placement:allocation_candidates:list",
     .since = 10,
     .json_out = true},

    {.method = "GET",
     .path = "/traits",
     .handler = ListTraits,
     .rule = "placement:traits:list",
     .since = 6,
     .json_out = true},
    {.method = "GET",
     .path = "/traits/{name}",
     .handler = GetTrait,
     .rule = "placement:traits:show",
     .since = 6},
    {.method = "PUT",
     .path = "/traits/{name}",
     .handler = PutTrait,
     .rule = "placement:traits:update",
     .since = 6},
    {.method = "DELETE",
     .path = "/traits/{name}",
     .handler = DeleteTraitByName,
     .rule = "placement:traits:delete",
     .since = 6},
    {.method = "GET",
     .path = "/resource_providers/{uuid}/traits",
     .handler = GetProviderTraits,
     .rule = "placement:resource_providers:traits:list",
     .since = 6,
     .json_out = true},
    {.method = "PUT",
     .path = "/resource_providers/{uuid}/traits",
     .handler = PutProviderTraits,
     .rule = "placement:resource_providers:traits:update",
     .since = 6,
     .json_in = true},
    {.method = "DELETE",
     .path = "/resource_providers/{uuid}/traits",
     .handler = DeleteProviderTraits,
     .rule = "placement:resource_providers:traits:delete",
     .since = 6},

    // Its policy depends on the project that is asked for: the handler looks.
    {.method = "GET", .path = "/usages", .handler = GetUsages, .since = 9, .json_out = true},
    {.method = "POST",
     .path = "/reshaper",
     .handler = PostReshaper,
     .rule = "placement:reshaper:reshape",
     .since = 30,
     .json_in = true},
};

// Whether the path is of the route's form. "{name}" stands for anything but "" and '/'.
bool Fits(std::string_view form, std::string_view path, std::array<std::string, 2>& parts) {
  if (form.find('{') == std::string_view::npos) return form == path;
  std::vector<std::string_view> wanted = Split(form, '/'), given = Split(path, '/');
  if (wanted.size() != given.size()) return false;
  size_t part = 0;
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (!wanted[i].starts_with('{')) {
      if (wanted[i] != given[i]) return false;
      continue;
    }
    if (given[i].empty()) return false;
    parts[part++] = given[i];
  }
  return true;
}

}  // namespace

std::span<const Route> Routes() {
  return kRoutes;
}

RouteMatch MatchRoute(std::string_view method, std::string_view path) {
  RouteMatch match;
  for (const Route& route : kRoutes) {
    if (match.path.data() != nullptr ? route.path != match.path : !Fits(route.path, path, match.parts))
      continue;
    match.path = route.path;
    if (!match.allow.empty()) match.allow += ", ";
    match.allow += route.method;
    if (route.method == method) match.route = &route;
  }
  return match;
}

}  // namespace berth::placement::rest
