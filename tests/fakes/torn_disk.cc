#include "tests/fakes/torn_disk.h"

#include <sqlite3.h>

#include <algorithm>
#include <cstring>

namespace berth::fakes {

// SQLite's view of an open file.
struct TornFile {
  sqlite3_file base;
  TornDisk* disk;
  std::shared_ptr<TornDisk::File>* content;
};

struct TornCalls {
  static TornFile& Of(sqlite3_file* file) { return *reinterpret_cast<TornFile*>(file); }
  static TornDisk& DiskOf(sqlite3_vfs* vfs) { return *static_cast<TornDisk*>(vfs->pAppData); }

  static int Close(sqlite3_file* file) {
    delete Of(file).content;
    return SQLITE_OK;
  }
  static int Read(sqlite3_file* file, void* out, int size, sqlite3_int64 offset) {
    TornFile& own = Of(file);
    if (own.disk->failed_) return SQLITE_IOERR_READ;
    const std::string& bytes = (*own.content)->now;
    const auto from = static_cast<size_t>(offset);
    const auto wanted = static_cast<size_t>(size);
    const size_t have = from < bytes.size() ? std::min(wanted, bytes.size() - from) : 0;
    std::memcpy(out, bytes.data() + std::min(from, bytes.size()), have);
    std::memset(static_cast<char*>(out) + have, 0, wanted - have);
    return have == wanted ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
  }
  static int Write(sqlite3_file* file, const void* data, int size, sqlite3_int64 offset) {
    TornFile& own = Of(file);
    TornDisk::Write write{static_cast<uint64_t>(offset),
                          std::string(static_cast<const char*>(data), static_cast<size_t>(size)), false};
    if (own.disk->failed_) return SQLITE_IOERR_WRITE;
    const bool power = own.disk->Spend();
    // The write during which the power fails may reach the disk too.
    TornDisk::Apply(write, (*own.content)->now);
    (*own.content)->pending.push_back(std::move(write));
    return power ? SQLITE_OK : SQLITE_IOERR_WRITE;
  }
  static int Truncate(sqlite3_file* file, sqlite3_int64 size) {
    TornFile& own = Of(file);
    if (!own.disk->Spend()) return SQLITE_IOERR_TRUNCATE;
    TornDisk::Write write{static_cast<uint64_t>(size), {}, true};
    TornDisk::Apply(write, (*own.content)->now);
    (*own.content)->pending.push_back(std::move(write));
    return SQLITE_OK;
  }
  static int Sync(sqlite3_file* file, int) {
    TornFile& own = Of(file);
    if (!own.disk->Spend()) return SQLITE_IOERR_FSYNC;
    own.disk->Sync(**own.content);
    return SQLITE_OK;
  }
  static int FileSize(sqlite3_file* file, sqlite3_int64* size) {
    *size = static_cast<sqlite3_int64>((*Of(file).content)->now.size());
    return SQLITE_OK;
  }
  static int Lock(sqlite3_file*, int) { return SQLITE_OK; }
  static int CheckReservedLock(sqlite3_file*, int* out) {
    *out = 0;
    return SQLITE_OK;
  }
  static int FileControl(sqlite3_file*, int, void*) { return SQLITE_NOTFOUND; }
  static int SectorSize(sqlite3_file*) { return 512; }
  static int Characteristics(sqlite3_file*) { return SQLITE_IOCAP_POWERSAFE_OVERWRITE; }

  static int Open(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out_flags) {
    static const sqlite3_io_methods kMethods = {1,
                                                Close,
                                                Read,
                                                Write,
                                                Truncate,
                                                Sync,
                                                FileSize,
                                                Lock,
                                                Lock,
                                                CheckReservedLock,
                                                FileControl,
                                                SectorSize,
                                                Characteristics,
                                                nullptr,
                                                nullptr,
                                                nullptr,
                                                nullptr,
                                                nullptr,
                                                nullptr};
    TornFile& own = Of(file);
    own.base.pMethods = nullptr;
    TornDisk& disk = DiskOf(vfs);
    if (disk.failed_) return SQLITE_CANTOPEN;
    const std::string path = name == nullptr ? "(temporary)" : name;
    auto at = disk.files_.find(path);
    if (at == disk.files_.end()) {
      if ((flags & SQLITE_OPEN_CREATE) == 0) return SQLITE_CANTOPEN;
      at = disk.files_.emplace(path, std::make_shared<TornDisk::File>()).first;
    }
    own.disk = &disk;
    own.content = new std::shared_ptr<TornDisk::File>(at->second);
    own.base.pMethods = &kMethods;
    if (out_flags != nullptr) *out_flags = flags;
    return SQLITE_OK;
  }
  static int Delete(sqlite3_vfs* vfs, const char* name, int) {
    TornDisk& disk = DiskOf(vfs);
    if (!disk.Spend()) return SQLITE_IOERR_DELETE;
    disk.files_.erase(name);
    return SQLITE_OK;
  }
  static int Access(sqlite3_vfs* vfs, const char* name, int, int* out) {
    *out = DiskOf(vfs).files_.contains(name) ? 1 : 0;
    return SQLITE_OK;
  }
  static int FullPathname(sqlite3_vfs*, const char* name, int size, char* out) {
    if (std::strlen(name) >= static_cast<size_t>(size)) return SQLITE_CANTOPEN;
    std::strcpy(out, name);  // NOLINT(clang-analyzer-security.insecureAPI.strcpy): its length is checked
    return SQLITE_OK;
  }
  static int Randomness(sqlite3_vfs* vfs, int size, char* out) {
    for (int i = 0; i < size; ++i) out[i] = static_cast<char>(DiskOf(vfs).random_());
    return size;
  }
  static int Sleep(sqlite3_vfs*, int microseconds) { return microseconds; }
  static int CurrentTime(sqlite3_vfs*, double* now) {
    *now = 2461000.5;
    return SQLITE_OK;
  }
  static int LastError(sqlite3_vfs*, int, char*) { return 0; }
};

TornDisk::TornDisk(uint32_t seed) : random_(seed), vfs_(std::make_unique<sqlite3_vfs>()) {
  *vfs_ = {};
  vfs_->iVersion = 1;
  vfs_->szOsFile = sizeof(TornFile);
  vfs_->mxPathname = 512;
  vfs_->zName = "torn";
  vfs_->pAppData = this;
  vfs_->xOpen = TornCalls::Open;
  vfs_->xDelete = TornCalls::Delete;
  vfs_->xAccess = TornCalls::Access;
  vfs_->xFullPathname = TornCalls::FullPathname;
  vfs_->xRandomness = TornCalls::Randomness;
  vfs_->xSleep = TornCalls::Sleep;
  vfs_->xCurrentTime = TornCalls::CurrentTime;
  vfs_->xGetLastError = TornCalls::LastError;
  sqlite3_vfs_register(vfs_.get(), 1);
}

TornDisk::~TornDisk() {
  sqlite3_vfs_unregister(vfs_.get());
}

bool TornDisk::Spend() {
  if (failed_) return false;
  ++calls_;
  if (calls_left_ == 0) {
    failed_ = true;
    return false;
  }
  if (calls_left_ != UINT64_MAX) --calls_left_;
  return true;
}

void TornDisk::Apply(const Write& write, std::string& content) {
  if (write.truncate) {
    content.resize(write.offset);
    return;
  }
  if (content.size() < write.offset + write.bytes.size()) content.resize(write.offset + write.bytes.size());
  content.replace(write.offset, write.bytes.size(), write.bytes);
}

void TornDisk::Sync(File& file) {
  file.durable = file.now;
  file.pending.clear();
}

void TornDisk::Reboot() {
  for (auto& [path, file] : files_) {
    // Each piece survives with a chance of its own, which is all or nothing in a third of the cases each.
    const uint32_t mood = static_cast<uint32_t>(random_()) % 3;
    std::vector<Write> survivors;
    for (const Write& write : file->pending) {
      if (mood == 0 || (mood == 1 && random_() % 2 == 0)) survivors.push_back(write);
    }
    if (!survivors.empty() && !survivors.back().truncate && random_() % 2 == 0) {
      std::string& last = survivors.back().bytes;
      last.resize(random_() % (last.size() + 1));
    }
    for (const Write& write : survivors) Apply(write, file->durable);
    file->now = file->durable;
    file->pending.clear();
  }
  failed_ = false;
  calls_left_ = UINT64_MAX;
}

}  // namespace berth::fakes
