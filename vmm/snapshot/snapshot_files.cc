#include "vmm/snapshot/snapshot_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>

#include "common/file.h"
#include "vmm/config/json_config.h"
#include "vmm/snapshot/memory_image.h"
#include "vmm/state/state_reader.h"
#include "vmm/state/state_writer.h"

namespace berth::vmm {
namespace {

constexpr char kConfigFile[] = "/config.json";
constexpr char kStateFile[] = "/state";
constexpr char kMemoryFile[] = "/memory";
constexpr std::string_view kMagic = "BERTHVMS";
constexpr uint32_t kFormat = 1;
constexpr size_t kHeaderBytes = 24;
constexpr size_t kStateMax = 64 << 20;

// ISO 3309.
uint32_t Crc32(std::span<const uint8_t> bytes) {
  constexpr uint32_t kPolynomial = 0xedb88320;
  static constexpr auto kTable = [] {
    std::array<uint32_t, 256> table{};
    for (uint32_t i = 0; i < table.size(); ++i) {
      uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = value & 1 ? value >> 1 ^ kPolynomial : value >> 1;
      table[i] = value;
    }
    return table;
  }();
  uint32_t crc = UINT32_MAX;
  for (uint8_t byte : bytes) crc = kTable[(crc ^ byte) & 0xff] ^ crc >> 8;
  return ~crc;
}

Result<UniqueFd> MakeFile(const std::string& path) {
  UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file.valid()) return ErrnoStatus("create " + path, errno);
  return file;
}

// The folder's entries are on the disk, too.
Status SyncFolder(const std::string& directory) {
  const UniqueFd folder(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.valid() && ::fsync(folder.get()) == 0) return OkStatus();
  return ErrnoStatus("write " + directory + " to disk", errno);
}

Status WriteFiles(const std::string& directory, const VmConfig& config, const std::vector<uint8_t>& state,
                  const std::function<Status(int)>& write_memory) {
  if (state.size() > kStateMax - kHeaderBytes) {
    return ResourceExhausted("the devices' state has " + std::to_string(state.size()) +
                             " bytes, more than the " + std::to_string(kStateMax - kHeaderBytes) +
                             " that a snapshot can have");
  }
  TRY_ASSIGN(const UniqueFd memory, MakeFile(directory + kMemoryFile));
  if (Status status = write_memory(memory.get()); !status.ok()) {
    return std::move(status).WithContext(directory + kMemoryFile);
  }
  const std::string json = ConfigToJson(config);
  TRY(WriteFileAtomically(directory + kConfigFile, json));
  const std::vector<uint8_t> file = WrapState(state);
  TRY(WriteFileAtomically(directory + kStateFile, {reinterpret_cast<const char*>(file.data()), file.size()}));
  return SyncFolder(directory);
}

}  // namespace

Result<std::string> DirectoryOfUrl(const std::string& url, const std::string& field) {
  constexpr std::string_view kScheme = "file://";
  if (!url.starts_with(kScheme) || url.size() <= kScheme.size() + 1 || url[kScheme.size()] != '/') {
    return InvalidArgument("not of the form file:///DIRECTORY", field);
  }
  std::string path = url.substr(kScheme.size());
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return path;
}

std::vector<uint8_t> WrapState(const std::vector<uint8_t>& state) {
  StateWriter header;
  for (char c : kMagic) header.Put(static_cast<uint8_t>(c));
  header.Put(kFormat);
  header.Put(Crc32(state));
  header.Put(static_cast<uint64_t>(state.size()));
  std::vector<uint8_t> file = std::move(header).Take();
  CHECK(file.size() == kHeaderBytes);
  file.insert(file.end(), state.begin(), state.end());
  return file;
}

Result<std::vector<uint8_t>> UnwrapState(std::vector<uint8_t> file) {
  if (file.size() < kHeaderBytes || std::memcmp(file.data(), kMagic.data(), kMagic.size()) != 0) {
    return InvalidArgument("not the state of a snapshot");
  }
  StateReader header(std::span<const uint8_t>(file).subspan(kMagic.size(), kHeaderBytes - kMagic.size()));
  const auto format = header.Get<uint32_t>();
  const auto crc = header.Get<uint32_t>();
  const auto length = header.Get<uint64_t>();
  if (format != kFormat) {
    return FailedPrecondition("format " + std::to_string(format) + ", this program reads " +
                              std::to_string(kFormat));
  }
  file.erase(file.begin(), file.begin() + kHeaderBytes);
  if (length != file.size()) {
    return DataLoss("has " + std::to_string(file.size()) + " bytes instead of " + std::to_string(length));
  }
  if (crc != Crc32(file)) return DataLoss("is damaged: its checksum is wrong");
  return file;
}

Result<SnapshotContent> ReadSnapshot(const std::string& directory, const std::vector<RestoredNet>& nets,
                                     std::vector<UniqueFd> fds) {
  SnapshotContent snapshot;
  TRY_ASSIGN(const std::string json, ReadFile(directory + kConfigFile, kMaxJsonConfig));
  ConfigResult<VmConfig> config = ConfigFromSnapshot(json);
  if (!config.has_value()) {
    std::string text = ToText(config.error());
    while (text.ends_with('\n')) text.pop_back();
    return InvalidArgument(directory + kConfigFile + ": " + text);
  }
  snapshot.config = *std::move(config);
  TRY(ReplaceDescriptors(nets, snapshot.config));
  snapshot.descriptors = std::move(fds);
  TRY_ASSIGN(const std::string bytes, ReadFile(directory + kStateFile, kStateMax));
  Result<std::vector<uint8_t>> state = UnwrapState({bytes.begin(), bytes.end()});
  if (!state.has_value()) return std::move(state).error().WithContext(directory + kStateFile);
  snapshot.state = *std::move(state);
  const std::string path = directory + kMemoryFile;
  snapshot.memory.reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat info{};
  if (!snapshot.memory.valid() || ::fstat(snapshot.memory.get(), &info) != 0) {
    return ErrnoStatus("open " + path, errno);
  }
  snapshot.memory_size = static_cast<uint64_t>(info.st_size);
  MarkRestoredZones(snapshot.state, snapshot.memory_size, snapshot.config);
  return snapshot;
}

Status WriteSnapshot(const std::string& directory, const VmConfig& config, const std::vector<uint8_t>& state,
                     const std::function<Status(int)>& write_memory) {
  const bool made = ::mkdir(directory.c_str(), 0700) == 0;
  if (!made && errno != EEXIST) return ErrnoStatus("create " + directory, errno);
  for (const char* name : {kConfigFile, kStateFile, kMemoryFile}) {
    if (::access((directory + name).c_str(), F_OK) == 0) {
      return AlreadyExists(directory + name + " exists already", "destination_url");
    }
  }
  Status status = WriteFiles(directory, config, state, write_memory);
  if (status.ok()) return status;
  for (const char* name : {kConfigFile, kStateFile, kMemoryFile}) ::unlink((directory + name).c_str());
  if (made) ::rmdir(directory.c_str());
  return status;
}

}  // namespace berth::vmm
