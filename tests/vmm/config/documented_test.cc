// docs/vmm.md has each option and each key: those of the table that are carried out.
#include <gtest/gtest.h>

#include "common/file.h"
#include "vmm/config/option_table.h"

namespace berth::vmm {
namespace {

bool IsPartOfName(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-';
}

bool HasName(std::string_view text, std::string_view name) {
  for (size_t at = text.find(name); at != std::string_view::npos; at = text.find(name, at + 1)) {
    const size_t end = at + name.size();
    if ((at == 0 || !IsPartOfName(text[at - 1])) && (end == text.size() || !IsPartOfName(text[end])))
      return true;
  }
  return false;
}

// The lines of tables in which an option stands.
std::string RowsOf(std::string_view document, std::string_view option) {
  std::string rows;
  while (!document.empty()) {
    const std::string_view line = document.substr(0, document.find('\n'));
    if (line.starts_with("|") && HasName(line, option)) rows += std::string(line) + "\n";
    document.remove_prefix(std::min(document.size(), line.size() + 1));
  }
  return rows;
}

TEST(Documented, EachOptionAndKeyStandsInTheManual) {
  Result<std::string> document = ReadFile(BERTH_SOURCE_DIR "/docs/vmm.md");
  if (!document.has_value()) GTEST_SKIP() << "docs/vmm.md is not there: nothing to compare the options with";
  const std::string limits = RowsOf(*document, "limits");
  for (const OptionSpec& option : OptionTable()) {
    if (!option.supported()) continue;
    const std::string rows = RowsOf(*document, "--" + std::string(option.name));
    EXPECT_FALSE(rows.empty()) << "--" << option.name << " is in no table of docs/vmm.md";
    for (const KeySpec& key : option.keys) {
      if (!key.supported()) continue;
      EXPECT_TRUE(HasName(rows + limits, key.name))
          << "--" << option.name << " " << key.name << " is not in a row of the option in docs/vmm.md";
    }
  }
}

}  // namespace
}  // namespace berth::vmm
