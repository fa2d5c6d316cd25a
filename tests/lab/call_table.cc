// Prints the table of system calls for seccomp_test.sh: kind, call, and why a run does not see it (or "-").
#include <cstdio>
#include <string>

#include "vmm/jail/call_table.h"

int main() {
  using namespace berth::vmm;
  for (const AllowedCall& call : CallTable()) {
    for (size_t k = 0; k < kThreadKinds; ++k) {
      const auto kind = static_cast<ThreadKind>(k);
      if (!call.kinds.Contains(kind)) continue;
      std::printf("%s %s %s\n", std::string(ThreadKindName(kind)).c_str(), std::string(call.name).c_str(),
                  call.unseen.empty() ? "-" : std::string(call.unseen).c_str());
    }
  }
  return 0;
}
