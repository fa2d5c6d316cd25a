#include "compute-agent/instances/console_watch.h"

#include <charconv>
#include <utility>

namespace berth::agent {
namespace {

constexpr size_t kMaxLine = 512;
constexpr uint64_t kMaxSlabs = uint64_t{1} << 32;
constexpr std::string_view kMessage = "swiotlb buffer is full";
constexpr std::string_view kTotal = "total ";

}  // namespace

void ConsoleWatch::Feed(std::string_view data) {
  while (!data.empty()) {
    size_t end = data.find('\n');
    std::string_view part = data.substr(0, end);
    if (line_.size() < kMaxLine) line_ += part.substr(0, kMaxLine - line_.size());
    if (end == std::string_view::npos) return;
    ReadLine();
    line_.clear();
    data.remove_prefix(end + 1);
  }
}

// "... swiotlb buffer is full (sz: 4096 bytes), total 32768 (slots), used 32768 (slots)"
void ConsoleWatch::ReadLine() {
  size_t at = line_.find(kMessage);
  if (at == std::string::npos) return;
  uint64_t slabs = 0;
  size_t total = line_.find(kTotal, at);
  if (total != std::string::npos) {
    const char* begin = line_.data() + total + kTotal.size();
    auto [end, error] = std::from_chars(begin, line_.data() + line_.size(), slabs);
    if (error != std::errc() || slabs > kMaxSlabs) slabs = 0;
  }
  full_ = slabs;
}

std::optional<uint64_t> ConsoleWatch::TakeSwiotlbFull() {
  return std::exchange(full_, std::nullopt);
}

}  // namespace berth::agent
