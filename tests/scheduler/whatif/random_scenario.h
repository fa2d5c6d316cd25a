#pragma once

#include <cstdint>
#include <string>

namespace berth::scheduler::whatif {

// A small random scenario as one line of JSON, with everything that the form knows and its odd spellings:
// sparse node numbers, unknown sockets and nodes, numbers as text, lists and strings of CPUs, absent keys.
// Small enough for brute force. The same seed gives the same line.
std::string RandomScenario(uint64_t seed);

}  // namespace berth::scheduler::whatif
