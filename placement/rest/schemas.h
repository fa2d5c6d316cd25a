#pragma once

#include "placement/rest/microversion.h"
#include "placement/rest/schema.h"

namespace berth::placement::rest {

// What bodies and queries may hold, by microversion. Built once, at the first use.

const Schema& CreateProviderSchema(Microversion version);
const Schema& UpdateProviderSchema(Microversion version);
const Schema& ListProvidersSchema(Microversion version);

const Schema& InventorySchema();     // PUT of one
const Schema& NewInventorySchema();  // POST
const Schema& InventoriesSchema();   // PUT of all

const Schema& ResourceClassSchema();  // POST, and PUT below 1.7
const Schema& ProviderTraitsSchema();
const Schema& ListTraitsSchema();
const Schema& AggregatesSchema(Microversion version);
const Schema& UsagesSchema(Microversion version);

const Schema& AllocationsSchema(Microversion version);      // PUT /allocations/{consumer}
const Schema& ManyAllocationsSchema(Microversion version);  // POST /allocations
const Schema& ReshaperSchema(Microversion version);
const Schema& CandidatesSchema(Microversion version);

}  // namespace berth::placement::rest
