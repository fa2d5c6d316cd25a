// A what-if scenario from any bytes: one line of answer, which is JSON again.
#include <cstdint>
#include <string>
#include <string_view>

#include "scheduler/whatif/answer.h"
#include "scheduler/whatif/json.h"

using berth::scheduler::whatif::Answerer;
using berth::scheduler::whatif::JsonParser;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Answerer answerer;
  static JsonParser parser;
  std::string_view line(reinterpret_cast<const char*>(data), size);
  std::string out;
  answerer.Answer(line, 1, out);
  if (out.find('\n') + 1 != out.size()) __builtin_trap();
  if (!parser.Parse(out).has_value()) __builtin_trap();
  return 0;
}
