#pragma once

#include <string>

#include "common/unique_fd.h"

namespace berth::db {

// Lets those that open databases in one folder do so one after the other. SQLite alone decides who has a
// database, but with locking_mode=EXCLUSIVE each of several openers keeps the shared lock that it starts
// with, none of them gets the exclusive one, and all are refused where one should win. The turn is an
// flock(2) of the folder: it leaves no file behind and ends with its process.
//
// It is waited for five seconds at the most and never an error: without it (a folder that cannot be opened, a
// file system without flock, someone else who holds it), openers are as they were.
class OpeningTurn {
 public:
  // Takes the turn of the folder that holds `path`.
  explicit OpeningTurn(const std::string& path);

 private:
  UniqueFd folder_;
};

}  // namespace berth::db
