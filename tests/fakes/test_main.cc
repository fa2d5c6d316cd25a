// The main of every test program: what testing::TempDir() names is a folder of this run's own, gone at its
// end. ctest runs each test of a program as a process of its own, many at once, so a shared folder would let
// one test remove the files of another.
#include <gtest/gtest.h>
#include <stdlib.h>

#include "tests/fakes/temp_folder.h"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  // On a disk: some tests write files as large as a guest's memory.
  const berth::fakes::TempFolder folder("berth_test", berth::fakes::TempFolder::Place::kDisk);
  CHECK(::setenv("TEST_TMPDIR", folder.path().c_str(), 1) == 0);
  return RUN_ALL_TESTS();
}
