#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

struct sqlite3_vfs;

namespace berth::fakes {

// A disk in memory for SQLite that loses its power at a chosen call: of what was written and not synced, any
// part survives, in any order, and the last piece that does may be torn. Registers itself as SQLite's
// standard VFS while it lives; one at a time, one thread.
class TornDisk {
 public:
  explicit TornDisk(uint32_t seed);
  ~TornDisk();
  TornDisk(const TornDisk&) = delete;
  TornDisk& operator=(const TornDisk&) = delete;

  // The power fails at the n-th write or sync from now on (0: the next one); from then on every call fails.
  void FailAfter(uint64_t calls) { calls_left_ = calls; }
  bool failed() const { return failed_; }
  // Power is back. All files must be closed. What was not synced is lost, whole or in part.
  void Reboot();
  // Calls (writes and syncs) so far.
  uint64_t calls() const { return calls_; }

 private:
  friend struct TornCalls;
  friend struct TornFile;

  struct Write {
    uint64_t offset = 0;
    std::string bytes;
    bool truncate = false;  // to offset
  };
  struct File {
    std::string now;      // as the process sees it
    std::string durable;  // as of the last sync
    std::vector<Write> pending;
  };

  // False: no power.
  bool Spend();
  static void Apply(const Write& write, std::string& content);
  void Sync(File& file);

  std::mt19937 random_;
  std::map<std::string, std::shared_ptr<File>> files_;
  uint64_t calls_ = 0;
  uint64_t calls_left_ = UINT64_MAX;
  bool failed_ = false;
  std::unique_ptr<sqlite3_vfs> vfs_;
};

}  // namespace berth::fakes
