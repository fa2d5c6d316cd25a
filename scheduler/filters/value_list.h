#pragma once

#include <string_view>

namespace berth::scheduler {

// Whether one of the words between the commas of `list` is `word`. Blanks around commas do not count.
inline bool ListHas(std::string_view list, std::string_view word) {
  while (true) {
    size_t comma = list.find(',');
    std::string_view item = list.substr(0, comma);
    while (item.starts_with(' ')) item.remove_prefix(1);
    while (item.ends_with(' ')) item.remove_suffix(1);
    if (item == word) return true;
    if (comma == std::string_view::npos) return false;
    list.remove_prefix(comma + 1);
  }
}

}  // namespace berth::scheduler
