#pragma once

#include <string>
#include <string_view>

namespace berth::scheduler::whatif {

// What is wrong with an answer, judged by a second reading of the scenario and the naive rules; empty:
// nothing. Without `brute_force` only the placements of yes-answers are judged. `fitting` and `refusing`
// count the hosts.
struct Tally {
  uint64_t hosts = 0;
  uint64_t fitting = 0;
  uint64_t errors = 0;  // rejected requests
};
std::string JudgeAnswer(std::string_view scenario, std::string_view answer, bool brute_force, Tally& tally);

}  // namespace berth::scheduler::whatif
