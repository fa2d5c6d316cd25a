#pragma once

#include "cli/command.h"

namespace berth::cli {

// replay: recorded traces through the scheduler's engine. Needs no service.
void AddReplay(CLI::App& app, Context& context, Verbs& verbs);

}  // namespace berth::cli
