// Has Intel's compiler read the tables back: it decompiles each one and must compile the result again without
// a warning; a table without AML must come out with the same bytes.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/vmm/acpi/sample_input.h"

namespace berth::vmm::acpi {
namespace {

namespace fs = std::filesystem;

constexpr size_t kHeaderSize = 36;

std::string FileText(const fs::path& path) {
  std::stringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

class Iasl : public testing::TestWithParam<AcpiInput (*)()> {
 protected:
  void SetUp() override {
    if (std::system("command -v iasl > /dev/null") != 0)
      GTEST_SKIP() << "iasl is missing: install acpica-tools";
    std::string name = (fs::temp_directory_path() / "berth-iasl-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override {
    if (!folder_.empty()) fs::remove_all(folder_);
  }
  // Runs iasl in the folder and returns what it says.
  std::string Run(const std::string& arguments) {
    std::string command = "cd '" + folder_.string() + "' && iasl " + arguments + " > log 2>&1";
    int status = std::system(command.c_str());
    std::string log = FileText(folder_ / "log");
    EXPECT_EQ(status, 0) << log;
    return log;
  }

  fs::path folder_;
};

TEST_P(Iasl, ReadsEveryTableAndCompilesItAgainWithoutWarnings) {
  Result<AcpiTables> tables = BuildAcpiTables(GetParam()());
  ASSERT_TRUE(tables.has_value());
  for (const AcpiBlob& blob : tables->blobs) {
    if (blob.signature == "RSD PTR ") continue;
    SCOPED_TRACE(blob.signature);
    std::ofstream(folder_ / "table.dat", std::ios::binary)
        .write(reinterpret_cast<const char*>(blob.bytes.data()),
               static_cast<std::streamsize>(blob.bytes.size()));

    std::string decompiled = Run("-d table.dat");
    EXPECT_EQ(decompiled.find("arning"), std::string::npos) << decompiled;
    EXPECT_EQ(decompiled.find("rror"), std::string::npos) << decompiled;
    std::string compiled = Run("-p again table.dsl");

    EXPECT_NE(compiled.find("0 Errors, 0 Warnings"), std::string::npos) << compiled;
    if (blob.signature == "DSDT") continue;
    // The header carries the compiler's own name.
    std::string again = FileText(folder_ / "again.aml");
    std::string original = FileText(folder_ / "table.dat");
    // Compilers older than 2021 know a VIOT's header only.
    if (blob.signature == "VIOT" && again.size() == kHeaderSize) continue;
    EXPECT_EQ(again.size(), original.size());
    EXPECT_TRUE(again.substr(kHeaderSize) == original.substr(kHeaderSize)) << FileText(folder_ / "table.dsl");
  }
}

INSTANTIATE_TEST_SUITE_P(Machines, Iasl,
                         testing::Values(&SmallMachine, &LargeMachine, &GrowingMachine, &RemappedMachine));

}  // namespace
}  // namespace berth::vmm::acpi
