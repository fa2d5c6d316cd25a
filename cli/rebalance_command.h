#pragma once

#include "cli/command.h"

namespace berth::cli {

// rebalance plan: moves that open room for a request or drain a host. Reads what placement and the scheduler
// tell and changes nothing.
void AddRebalance(CLI::App& app, Context& context, Verbs& verbs);

}  // namespace berth::cli
