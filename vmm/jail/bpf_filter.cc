#include "vmm/jail/bpf_filter.h"

#include <linux/audit.h>
#include <linux/seccomp.h>

#include <cstddef>
#include <map>

#include "common/status.h"

namespace berth::vmm {
namespace {

using Form = ArgumentRule::Form;
using Program = std::vector<sock_filter>;

constexpr uint32_t kNumberAt = offsetof(seccomp_data, nr);
constexpr uint32_t kArchitectureAt = offsetof(seccomp_data, arch);

void Load(Program& program, uint32_t offset) {
  program.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset));
}
void Return(Program& program, uint32_t action) {
  program.push_back(BPF_STMT(BPF_RET | BPF_K, action));
}
// Goes on behind the next `skip` instructions unless the accumulator is `value`.
void Unless(Program& program, uint32_t value, size_t skip) {
  CHECK(skip <= UINT8_MAX);
  program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, static_cast<uint8_t>(skip)));
}

// What follows when the number is the right one: allowed, or on with the next rule.
void AddRule(const ArgumentRule& rule, Program& block) {
  if (rule.form == Form::kAny) return Return(block, SECCOMP_RET_ALLOW);
  // The lower half of an argument comes first.
  Load(block, static_cast<uint32_t>(offsetof(seccomp_data, args) + sizeof(uint64_t) * rule.index));
  if (rule.form == Form::kClear) {
    CHECK(rule.values.size() == 1);
    block.push_back(BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, rule.values[0], 1, 0));
    return Return(block, SECCOMP_RET_ALLOW);
  }
  for (uint32_t value : rule.values) {
    Unless(block, value, 1);
    Return(block, SECCOMP_RET_ALLOW);
  }
}

}  // namespace

std::vector<sock_filter> BuildFilter(ThreadKind kind, uint32_t refused) {
  // In the order of the table, whose first calls are the most frequent.
  std::vector<uint32_t> order;
  std::map<uint32_t, Program> blocks;
  for (const AllowedCall& call : CallTable()) {
    if (!MayCall(call, kind)) continue;
    auto [block, first] = blocks.try_emplace(call.number);
    if (first) order.push_back(call.number);
    AddRule(call.rule, block->second);
  }
  Program program;
  Load(program, kArchitectureAt);
  Unless(program, AUDIT_ARCH_X86_64, 1);
  program.push_back(BPF_JUMP(BPF_JMP | BPF_JA, 1, 0, 0));
  Return(program, SECCOMP_RET_KILL_PROCESS);
  // x32 calls have numbers of their own, which are not in the table.
  Load(program, kNumberAt);
  for (uint32_t number : order) {
    Program& block = blocks[number];
    Return(block, refused);  // no rule has held
    Unless(program, number, block.size());
    program.insert(program.end(), block.begin(), block.end());
  }
  Return(program, refused);
  CHECK(program.size() <= BPF_MAXINSNS);
  return program;
}

}  // namespace berth::vmm
