#pragma once

#include "placement/rest/call.h"

// The handlers of the routes, one file a resource. Each is a pure function of the call: it reads the view and
// gives an answer, or a change for the engine to make.
namespace berth::placement::rest {

Answer GetRoot(const Call& call);

Answer ListResourceClasses(const Call& call);
Answer PostResourceClass(const Call& call);
Answer GetResourceClass(const Call& call);
Answer PutResourceClass(const Call& call);
Answer DeleteResourceClassByName(const Call& call);

Answer ListProviders(const Call& call);
Answer PostProvider(const Call& call);
Answer GetProvider(const Call& call);
Answer PutProvider(const Call& call);
Answer DeleteProviderByUuid(const Call& call);

Answer ListInventories(const Call& call);
Answer PostInventory(const Call& call);
Answer PutInventories(const Call& call);
Answer DeleteInventories(const Call& call);
Answer GetInventory(const Call& call);
Answer PutInventory(const Call& call);
Answer DeleteInventory(const Call& call);

Answer GetAggregates(const Call& call);
Answer PutAggregates(const Call& call);

Answer ListTraits(const Call& call);
Answer GetTrait(const Call& call);
Answer PutTrait(const Call& call);
Answer DeleteTraitByName(const Call& call);
Answer GetProviderTraits(const Call& call);
Answer PutProviderTraits(const Call& call);
Answer DeleteProviderTraits(const Call& call);

Answer GetProviderUsages(const Call& call);
Answer GetUsages(const Call& call);

Answer GetAllocations(const Call& call);
Answer PutAllocations(const Call& call);
Answer PostAllocations(const Call& call);
Answer DeleteAllocationsOfConsumer(const Call& call);
Answer GetProviderAllocations(const Call& call);

Answer GetAllocationCandidates(const Call& call);
Answer PostReshaper(const Call& call);

}  // namespace berth::placement::rest
