#include "vmm/machine/core_dump.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/procfs.h>
#include <sys/user.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "common/unique_fd.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kChunk = 1 << 20;
constexpr uint64_t kAlignment = 4096;

template <class T>
void Append(std::vector<uint8_t>& bytes, const T& value) {
  const auto* begin = reinterpret_cast<const uint8_t*>(&value);
  bytes.insert(bytes.end(), begin, begin + sizeof value);
}

user_regs_struct RegistersOf(const VcpuState& state) {
  user_regs_struct regs{};
  const kvm_regs& r = state.regs;
  const kvm_sregs& s = state.sregs;
  regs.r15 = r.r15, regs.r14 = r.r14, regs.r13 = r.r13, regs.r12 = r.r12;
  regs.rbp = r.rbp, regs.rbx = r.rbx, regs.r11 = r.r11, regs.r10 = r.r10;
  regs.r9 = r.r9, regs.r8 = r.r8, regs.rax = r.rax, regs.rcx = r.rcx;
  regs.rdx = r.rdx, regs.rsi = r.rsi, regs.rdi = r.rdi, regs.rip = r.rip;
  regs.eflags = r.rflags, regs.rsp = r.rsp;
  regs.cs = s.cs.selector, regs.ss = s.ss.selector, regs.ds = s.ds.selector;
  regs.es = s.es.selector, regs.fs = s.fs.selector, regs.gs = s.gs.selector;
  regs.fs_base = s.fs.base, regs.gs_base = s.gs.base;
  return regs;
}

std::vector<uint8_t> Notes(const std::vector<VcpuState>& vcpus) {
  std::vector<uint8_t> notes;
  for (size_t i = 0; i < vcpus.size(); ++i) {
    elf_prstatus status{};
    status.pr_pid = static_cast<pid_t>(i + 1);
    const user_regs_struct regs = RegistersOf(vcpus[i]);
    static_assert(sizeof status.pr_reg == sizeof regs);
    std::memcpy(&status.pr_reg, &regs, sizeof regs);
    constexpr char kOwner[8] = "CORE";  // padded to four bytes
    Append(notes, Elf64_Nhdr{5, sizeof status, NT_PRSTATUS});
    Append(notes, kOwner);
    Append(notes, status);
    static_assert(sizeof status % 4 == 0);
  }
  return notes;
}

Status WriteAt(int fd, const uint8_t* data, uint64_t size, uint64_t offset, const std::string& path) {
  while (size > 0) {
    const ssize_t count = ::pwrite(fd, data, size, static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return ErrnoStatus("write " + path, errno);
    data += count;
    offset += static_cast<uint64_t>(count);
    size -= static_cast<uint64_t>(count);
  }
  return OkStatus();
}

bool AllZero(const uint8_t* data, uint64_t size) {
  return size == 0 || (data[0] == 0 && std::memcmp(data, data + 1, size - 1) == 0);
}

Status WriteAll(int fd, const std::string& path, const std::vector<MemoryRegion>& runs,
                const std::vector<VcpuState>& vcpus) {
  const std::vector<uint8_t> notes = Notes(vcpus);
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = ET_CORE;
  header.e_machine = EM_X86_64;
  header.e_version = EV_CURRENT;
  header.e_phoff = header.e_ehsize = sizeof header;
  header.e_phentsize = sizeof(Elf64_Phdr);
  if (runs.size() + 1 >= PN_XNUM) return OutOfRange("guest memory has too many pieces for a core file");
  header.e_phnum = static_cast<Elf64_Half>(runs.size() + 1);

  std::vector<uint8_t> head;
  Append(head, header);
  const uint64_t notes_at = sizeof header + header.e_phnum * sizeof(Elf64_Phdr);
  Elf64_Phdr note{};
  note.p_type = PT_NOTE;
  note.p_offset = notes_at;
  note.p_filesz = note.p_memsz = notes.size();
  Append(head, note);
  uint64_t at = (notes_at + notes.size() + kAlignment - 1) / kAlignment * kAlignment;
  std::vector<uint64_t> offsets;
  for (const MemoryRegion& run : runs) {
    Elf64_Phdr load{};
    load.p_type = PT_LOAD;
    load.p_flags = PF_R | PF_W | PF_X;
    load.p_offset = at;
    load.p_paddr = Raw(run.base);
    load.p_filesz = load.p_memsz = run.size;
    load.p_align = kAlignment;
    Append(head, load);
    offsets.push_back(at);
    at += run.size;
  }
  head.insert(head.end(), notes.begin(), notes.end());
  TRY(WriteAt(fd, head.data(), head.size(), 0, path));
  if (::ftruncate(fd, static_cast<off_t>(at)) != 0) return ErrnoStatus("size " + path, errno);
  for (size_t i = 0; i < runs.size(); ++i) {
    for (uint64_t done = 0; done < runs[i].size; done += kChunk) {
      const uint64_t count = std::min(kChunk, runs[i].size - done);
      const uint8_t* data = runs[i].host + done;
      if (!AllZero(data, count)) TRY(WriteAt(fd, data, count, offsets[i] + done, path));
    }
  }
  return OkStatus();
}

}  // namespace

Status WriteCoreDump(const std::string& path, const GuestMemory& memory,
                     const std::vector<VcpuState>& vcpus) {
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) return ErrnoStatus("core file " + path, errno).WithField("destination_url");
  const MemoryUse use = memory.Use();
  Status written = WriteAll(fd.get(), path, memory.AccessibleRuns(), vcpus);
  if (!written.ok()) ::unlink(path.c_str());
  return written;
}

}  // namespace berth::vmm
