#include "vmm/boot/firmware.h"

#include <errno.h>
#include <sys/mman.h>

#include <string>

#include "vmm/boot/elf_kernel.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kPage = 4096;

Status CheckSize(const ImageSource& image) {
  if (image.size() > 0 && image.size() % kPage == 0 && image.size() <= FirmwareRom::kMax) return OkStatus();
  return InvalidArgument(image.name() + " of " + std::to_string(image.size()) +
                             " bytes must be whole pages of 4096 bytes, up to 16 MiB",
                         "firmware", "or an ELF file with a PVH entry point");
}

}  // namespace

Result<std::unique_ptr<FirmwareRom>> FirmwareRom::Load(const ImageSource& image) {
  TRY(CheckSize(image));
  void* at = mmap(nullptr, image.size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return ErrnoStatus("memory for firmware", errno);
  std::unique_ptr<FirmwareRom> rom(new FirmwareRom(static_cast<uint8_t*>(at), image.size()));
  TRY(image.ReadAt(0, {rom->host_, rom->size_}));
  return rom;
}

FirmwareRom::~FirmwareRom() {
  munmap(host_, size_);
}

Status CheckFirmware(const ImageSource& image) {
  return IsElf(image) ? ParseElfKernel(image).status() : CheckSize(image);
}

}  // namespace berth::vmm
