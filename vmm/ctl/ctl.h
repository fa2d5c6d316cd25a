#pragma once

#include <ostream>
#include <string>
#include <vector>

namespace berth::vmm {

// berth-vmmctl: calls one verb of a VMM's API. `arguments` without the program's name. Returns the exit
// status: 0 done, 1 the call failed or was refused, 2 the arguments are wrong.
int RunCtl(const std::vector<std::string>& arguments, std::ostream& out, std::ostream& err);

}  // namespace berth::vmm
