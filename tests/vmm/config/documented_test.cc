// docs/vmm.md has each option and each key: those of the table that are carried out, and those that are
// refused.
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

// Of the manual, up to the next heading of this rank; empty when it is not there.
std::string_view SectionOf(std::string_view document, const std::string& heading) {
  const size_t at = document.find("\n## " + heading + "\n");
  if (at == std::string_view::npos) return {};
  document.remove_prefix(at + 1);
  return document.substr(0, document.find("\n## "));
}

TEST(Documented, EachOptionAndKeyStandsInTheManual) {
  const Result<std::string> manual = ReadFile(BERTH_SOURCE_DIR "/docs/vmm.md");
  if (!manual.has_value()) GTEST_SKIP() << "docs/vmm.md is not there: nothing to compare the options with";
  const std::string_view section = SectionOf(*manual, "Options");
  const std::string limits = RowsOf(section, "limits");
  for (const OptionSpec& option : OptionTable()) {
    if (!option.supported()) continue;
    const std::string rows = RowsOf(section, "--" + std::string(option.name));
    EXPECT_FALSE(rows.empty()) << "--" << option.name << " is in no table of options of docs/vmm.md";
    for (const KeySpec& key : option.keys) {
      if (!key.supported()) continue;
      EXPECT_TRUE(HasName(rows + limits, key.name))
          << "--" << option.name << " " << key.name << " is not in a row of the option in docs/vmm.md";
    }
  }
}

TEST(Documented, EachRefusedOptionAndKeyStandsInTheManualWithItsReason) {
  const Result<std::string> manual = ReadFile(BERTH_SOURCE_DIR "/docs/vmm.md");
  if (!manual.has_value()) GTEST_SKIP() << "docs/vmm.md is not there: nothing to compare the options with";
  const std::string_view section = SectionOf(*manual, "Differences to Cloud Hypervisor");
  for (const OptionSpec& option : OptionTable()) {
    const std::string rows = RowsOf(section, "--" + std::string(option.name));
    if (!option.supported()) {
      EXPECT_NE(rows.find("| " + std::string(option.refusal) + " |"), std::string::npos)
          << "--" << option.name
          << " is not in the table of what is refused in docs/vmm.md, or with another reason";
    }
    for (const KeySpec& key : option.keys) {
      if (key.supported()) {
        EXPECT_EQ(rows.find("`" + std::string(key.name) + "`"), std::string::npos)
            << "--" << option.name << " " << key.name << " is not refused";
        continue;
      }
      EXPECT_NE(RowsOf(rows, key.name).find("| " + std::string(key.refusal) + " |"), std::string::npos)
          << "--" << option.name << " " << key.name
          << " is not in the table of what is refused in docs/vmm.md, or with another reason";
    }
  }
}

}  // namespace
}  // namespace berth::vmm
