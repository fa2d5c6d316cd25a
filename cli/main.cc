#include <iostream>
#include <string>
#include <vector>

#include "cli/berthctl.h"

int main(int argc, char** argv) {
  return berth::cli::RunBerthctl(std::vector<std::string>(argv + 1, argv + argc),
                                 berth::cli::Terminal::OfThisProcess());
}
