#pragma once

#include <string>

#include "cli/client.h"
#include "cli/terminal.h"

namespace berth::cli {

// Joins the terminal's input and output with the serial console of an instance until the escape key Ctrl-],
// the end of the stream, or an error. On a terminal, input is raw meanwhile; from a pipe, the end of the
// input ends only the input.
Status RunConsole(Client& client, const std::string& instance_uuid, const Terminal& terminal);

}  // namespace berth::cli
