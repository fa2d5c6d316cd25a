// IGVM files: what is taken lies inside the file, and every step names something. The checksum is put right,
// so that what lies behind it is reached.
#include <cstdint>
#include <cstring>
#include <vector>

#include "common/status.h"
#include "vmm/cvm/igvm.h"

namespace {

void PutChecksum(std::vector<uint8_t>& file) {
  if (file.size() < 24) return;
  uint32_t words[6];
  std::memcpy(words, file.data(), sizeof words);
  const uint64_t end = uint64_t{words[2]} + words[3];
  if (words[1] != 1 || words[2] < 24 || end > file.size()) return;
  std::memset(file.data() + 20, 0, 4);
  std::vector<uint8_t> covered(file.begin(), file.begin() + 24);
  covered.insert(covered.end(), file.begin() + words[2], file.begin() + static_cast<ptrdiff_t>(end));
  const uint32_t sum = berth::vmm::IgvmChecksum(covered);
  std::memcpy(file.data() + 20, &sum, sizeof sum);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace berth::vmm;
  std::vector<uint8_t> file(data, data + size);
  PutChecksum(file);
  for (auto platform : {IgvmFile::Platform::kSevSnp, IgvmFile::Platform::kTdx}) {
    auto igvm = ParseIgvm(file, platform);
    if (!igvm.has_value()) continue;
    auto inside = [&](std::span<const uint8_t> part) {
      return part.empty() ||
             (part.data() >= file.data() && part.data() + part.size() <= file.data() + file.size());
    };
    for (const auto& page : igvm->pages) CHECK(inside(page.data) && page.data.size() <= page.size);
    for (const auto& vp : igvm->vp_contexts) CHECK(inside(vp.data));
    for (const auto& area : igvm->areas) CHECK(inside(area.data) && area.data.size() <= area.size);
    for (const IgvmFile::Step& step : igvm->steps) {
      if (step.what == IgvmFile::Step::What::kPage) CHECK(step.index < igvm->pages.size());
      if (step.what == IgvmFile::Step::What::kVpContext) CHECK(step.index < igvm->vp_contexts.size());
      if (step.what == IgvmFile::Step::What::kInsertArea) CHECK(step.index < igvm->areas.size());
    }
  }
  return 0;
}
