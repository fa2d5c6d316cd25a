// Stands in for libFuzzer in ordinary builds: runs every file of the given folders through the target, then a
// bounded number of mutations of them from a fixed seed, so that each test run covers the same inputs.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

using Bytes = std::vector<uint8_t>;

#ifndef BERTH_FUZZ_MUTATIONS
#define BERTH_FUZZ_MUTATIONS 20000
#endif
constexpr int kMutations = BERTH_FUZZ_MUTATIONS;

Bytes ReadBytes(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return Bytes(std::istreambuf_iterator<char>(file), {});
}

void Mutate(Bytes& bytes, std::mt19937& random) {
  for (uint32_t edits = 1 + random() % 8; edits > 0; --edits) {
    size_t at = bytes.empty() ? 0 : random() % bytes.size();
    switch (random() % 4) {
      case 0:
        bytes.insert(bytes.begin() + static_cast<ptrdiff_t>(at), static_cast<uint8_t>(random()));
        break;
      case 1:
        if (!bytes.empty()) bytes.erase(bytes.begin() + static_cast<ptrdiff_t>(at));
        break;
      case 2:
        if (!bytes.empty()) bytes[at] ^= static_cast<uint8_t>(1 << random() % 8);
        break;
      default:
        if (!bytes.empty()) bytes[at] = static_cast<uint8_t>(random());
        break;
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<Bytes> seeds = {{}};
  for (int i = 1; i < argc; ++i) {
    if (!std::filesystem::is_directory(argv[i])) continue;
    for (const auto& entry : std::filesystem::directory_iterator(argv[i]))
      seeds.push_back(ReadBytes(entry.path()));
  }
  for (const Bytes& seed : seeds) LLVMFuzzerTestOneInput(seed.data(), seed.size());
  std::mt19937 random(20260101);
  for (int i = 0; i < kMutations; ++i) {
    Bytes bytes = seeds[random() % seeds.size()];
    Mutate(bytes, random);
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  }
  std::printf("replayed %zu seeds and %d mutations\n", seeds.size(), kMutations);
  return 0;
}
