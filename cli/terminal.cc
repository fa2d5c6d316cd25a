#include "cli/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <string_view>

namespace berth::cli {

Terminal Terminal::OfThisProcess() {
  Terminal terminal{std::cout, std::cerr};
  // Nobody in this process changes the environment.
  // NOLINTBEGIN(concurrency-mt-unsafe)
  const char* name = std::getenv("TERM");
  bool capable = name != nullptr && std::string_view(name) != "dumb" && std::getenv("NO_COLOR") == nullptr;
  // NOLINTEND(concurrency-mt-unsafe)
  winsize size{};
  if (::isatty(STDOUT_FILENO) == 0) return terminal;
  terminal.colors = capable;
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    terminal.columns = std::clamp<size_t>(size.ws_col, 60, 200);
  }
  return terminal;
}

}  // namespace berth::cli
