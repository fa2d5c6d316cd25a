#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "common/status.h"
#include "common/unique_fd.h"
#include "vmm/config/restored_nets.h"
#include "vmm/config/vm_config.h"

namespace berth::vmm {

// A snapshot is a directory with three files: "config.json" as of vm.create, which may be edited before the
// VM is restored; "memory", guest RAM with holes where it is zero; and "state", everything else: a header of
// 24 bytes ("BERTHVMS", version of the format, CRC-32 of what follows, its length) and parts with versions of
// their own (state/state_writer.h). A directory without "state" is none: it is written last.

// "file:///DIRECTORY", the form of the API and the command line. kInvalidArgument names `field`.
Result<std::string> DirectoryOfUrl(const std::string& url, const std::string& field);

struct SnapshotContent {
  VmConfig config;                         // with zones marked as restored that need their file
  std::vector<UniqueFd> descriptors = {};  // that `config` names, until a machine takes them over
  std::vector<uint8_t> state;
  UniqueFd memory;
  uint64_t memory_size = 0;  // bytes of its file
};
// Checks all but the content of `state`. Errors name the file. `nets`: descriptors, among `fds`, for the
// network devices that had some when they were saved.
Result<SnapshotContent> ReadSnapshot(const std::string& directory, const std::vector<RestoredNet>& nets = {},
                                     std::vector<UniqueFd> fds = {});

// The header's checks, on bytes that may come from anywhere; returns what is behind it.
Result<std::vector<uint8_t>> UnwrapState(std::vector<uint8_t> file);
std::vector<uint8_t> WrapState(const std::vector<uint8_t>& state);

// Makes the directory, if it is not there, and the files, which must not exist; `write_memory` gets the empty
// memory file. On an error what was made is removed.
Status WriteSnapshot(const std::string& directory, const VmConfig& config, const std::vector<uint8_t>& state,
                     const std::function<Status(int file)>& write_memory);

}  // namespace berth::vmm
