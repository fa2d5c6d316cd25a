#include <algorithm>
#include <cctype>

#include "common/swiotlb.h"
#include "scheduler/request/resolve.h"

namespace berth::scheduler {
namespace {

constexpr uint64_t kMinMemoryMib = 1024;  // seed 000, "SWIOTLB Buffer"

const std::string* Find(const Properties& properties, std::string_view name) {
  auto it = properties.find(name);
  return it == properties.end() ? nullptr : &it->second;
}

// As Nova reads booleans: t, true, on, y, yes, 1 and their opposites, in either case.
Result<std::optional<bool>> ReadFlag(const Properties& properties, const std::string& scope,
                                     const std::string& name) {
  const std::string* text = Find(properties, name);
  if (text == nullptr) return std::optional<bool>();
  std::string word = *text;
  for (char& c : word) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (const char* yes : {"true", "t", "on", "y", "yes", "1"}) {
    if (word == yes) return std::optional<bool>(true);
  }
  for (const char* no : {"false", "f", "off", "n", "no", "0"}) {
    if (word == no) return std::optional<bool>(false);
  }
  return InvalidArgument("InvalidInput: " + name + " is \"" + *text + "\", must be true or false",
                         scope + name);
}

Result<bool> ReadEncrypted(const Flavor& flavor, const Properties& image) {
  TRY_ASSIGN(auto own, ReadFlag(flavor.extra_specs, "extra_specs.", "hw:mem_encryption"));
  TRY_ASSIGN(auto other, ReadFlag(image, "image_properties.", "hw_mem_encryption"));
  if (own && other && *own != *other) {
    return InvalidArgument(std::string("FlavorImageConflict: hw_mem_encryption is ") +
                               (*other ? "true" : "false") +
                               " although the flavor's hw:mem_encryption is not",
                           "image_properties.hw_mem_encryption");
  }
  return own.value_or(false) || other.value_or(false);
}

Result<Encryption> ReadModel(const Flavor& flavor, const Properties& image, bool encrypted) {
  const std::string* own = Find(flavor.extra_specs, "hw:mem_encryption_model");
  const std::string* other = Find(image, "hw_mem_encryption_model");
  const std::string property = "image_properties.hw_mem_encryption_model";
  if (own != nullptr && other != nullptr && *own != *other) {
    return InvalidArgument("FlavorImageConflict: hw_mem_encryption_model is \"" + *other +
                               "\" although the flavor's hw:mem_encryption_model is \"" + *own + "\"",
                           property);
  }
  const std::string* text = own != nullptr ? own : other;
  const std::string field = own != nullptr ? "extra_specs.hw:mem_encryption_model" : property;
  if (text == nullptr) return encrypted ? Encryption::kAny : Encryption::kNone;
  auto model = ParseEncryption(*text);
  if (!model) {
    return InvalidArgument("InvalidInput: the encryption model is \"" + *text +
                               "\", must be amd-sev, amd-sev-es, amd-sev-snp, intel-tdx, arm-cca or "
                               "sw-protected",
                           field);
  }
  if (!encrypted) {
    return InvalidArgument("InvalidInput: encryption model \"" + *text + "\" needs hw:mem_encryption=true",
                           field);
  }
  return *model;
}

}  // namespace

Status ResolveEncryption(const Flavor& flavor, const Properties& image, RequestSpec& spec) {
  TRY_ASSIGN(bool encrypted, ReadEncrypted(flavor, image));
  TRY_ASSIGN(spec.encryption, ReadModel(flavor, image, encrypted));
  if (!encrypted) return OkStatus();
  if (flavor.memory_mib < kMinMemoryMib) {
    return InvalidArgument("InvalidSecureMemory: the flavor has " + std::to_string(flavor.memory_mib) +
                               " MiB, an encrypted guest needs at least " + std::to_string(kMinMemoryMib),
                           "extra_specs.hw:mem_encryption");
  }
  spec.swiotlb_bytes = SwiotlbBytes({.guest_ram_bytes = spec.memory_bytes,
                                     .max_vcpus = spec.vcpus,
                                     .x86_confidential = spec.encryption != Encryption::kArmCca});
  return OkStatus();
}

}  // namespace berth::scheduler
