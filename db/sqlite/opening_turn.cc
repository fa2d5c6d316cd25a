#include "db/sqlite/opening_turn.h"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <thread>

namespace berth::db {
namespace {

constexpr auto kLongest = std::chrono::seconds(5);
constexpr auto kPause = std::chrono::milliseconds(2);

}  // namespace

OpeningTurn::OpeningTurn(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  folder_.reset(::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder_.valid()) return;
  const auto end = std::chrono::steady_clock::now() + kLongest;
  while (::flock(folder_.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return;
    if (std::chrono::steady_clock::now() >= end) return;
    std::this_thread::sleep_for(kPause);
  }
}

}  // namespace berth::db
