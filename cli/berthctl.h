#pragma once

#include <string>
#include <vector>

#include "cli/terminal.h"

namespace berth::cli {

// Runs one command, for example {"host", "list", "-o", "json"}, and returns the exit status: 0 done, 1 it
// failed (the reason is on terminal.err), 2 the command line is wrong.
int RunBerthctl(std::vector<std::string> arguments, Terminal terminal);

}  // namespace berth::cli
