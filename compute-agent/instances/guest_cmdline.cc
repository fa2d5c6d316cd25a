#include "compute-agent/instances/guest_cmdline.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <optional>
#include <vector>

#include "common/byte_size.h"
#include "common/swiotlb.h"

namespace berth::agent {
namespace {

constexpr uint64_t kUnit = uint64_t{64} << 20;  // seed 000: a multiple of 64 MB
constexpr uint64_t kMaxSlabs = uint64_t{1} << 40;
constexpr std::string_view kKey = "swiotlb=";

std::vector<std::string> Split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (true) {
    size_t end = text.find(separator);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::optional<uint64_t> Number(const std::string& text) {
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > kMaxSlabs) return std::nullopt;
  return value;
}

Status Refuse(const std::string& word, const std::string& why) {
  return InvalidArgument("\"" + word + "\" of a confidential guest " + why, "cmdline",
                         "swiotlb=x,force with x a multiple of 32768 (64 MiB), or leave it out");
}

// "262144,4,force" -> slabs and areas.
Result<SwiotlbQuestion> ReadSwiotlb(const std::string& word, SwiotlbQuestion question) {
  std::vector<std::string> parts = Split(std::string_view(word).substr(kKey.size()), ',');
  size_t numbers = 0;
  for (const std::string& part : parts) {
    if (part == "force") continue;
    if (part == "noforce") return Refuse(word, "would leave it without any input and output");
    std::optional<uint64_t> number = Number(part);
    if (!number.has_value() || numbers == 2) return Refuse(word, "cannot be read");
    (numbers == 0 ? question.slabs : question.areas) = *number;
    ++numbers;
  }
  if (question.slabs * kSwiotlbSlabBytes % kUnit != 0) {
    return Refuse(
        word, "is " + ByteSize(question.slabs * kSwiotlbSlabBytes).ToHuman() + ", not a multiple of 64 MiB");
  }
  return question;
}

}  // namespace

bool IsConfidential(const placement::Claim& claim) {
  return std::any_of(claim.cells.begin(), claim.cells.end(),
                     [](const placement::CellBinding& cell) { return cell.secure; });
}

Result<GuestCmdline> ConfidentialCmdline(const placement::InstanceSpec& spec, bool x86) {
  SwiotlbQuestion question{
      .guest_ram_bytes = spec.memory_bytes, .max_vcpus = spec.vcpus, .x86_confidential = x86};
  uint64_t counted = SwiotlbBytes(question);
  GuestCmdline cmdline;
  std::optional<std::string> word;
  for (const std::string& part : Split(spec.cmdline, ' ')) {
    if (part.starts_with(kKey)) {
      word = part;  // the kernel takes the last one
      continue;
    }
    if (!part.empty()) cmdline.text += (cmdline.text.empty() ? "" : " ") + part;
  }
  if (!word.has_value()) {
    word = std::string(kKey) + std::to_string(counted / kSwiotlbSlabBytes);
    cmdline.buffer_bytes = counted;
  } else {
    TRY_ASSIGN(question, ReadSwiotlb(*word, question));
    uint64_t bytes = SwiotlbBytes(question);
    cmdline.buffer_bytes = bytes;
    if (question.slabs != 0 && bytes != question.slabs * kSwiotlbSlabBytes) {
      cmdline.note = *word + " becomes " + ByteSize(bytes).ToHuman() + " in the guest";
    }
    if (bytes > counted) {
      cmdline.note +=
          (cmdline.note.empty() ? *word + " is " + ByteSize(bytes).ToHuman() : std::string()) +
          ", of which " + ByteSize(counted).ToHuman() +
          " were counted when the host was chosen: keep confidential.nonsecure_headroom above the rest";
    }
  }
  if (word->find("force") == std::string::npos) *word += *word == kKey ? "force" : ",force";
  cmdline.text += (cmdline.text.empty() ? "" : " ") + *word;
  return cmdline;
}

std::string SwiotlbAdvice(uint64_t buffer_bytes, uint32_t vcpus, const std::vector<uint32_t>& class_codes) {
  std::vector<BounceProfile> devices;
  devices.reserve(class_codes.size());
  for (uint32_t code : class_codes) devices.push_back(BounceProfileOf(code, vcpus));
  const uint64_t need = BounceNeed(devices);
  if (need <= buffer_bytes) return {};
  const uint64_t slabs = std::bit_ceil(std::max(need, kUnit)) / kSwiotlbSlabBytes;
  return "its devices may have " + ByteSize(need).ToHuman() + " in flight, the guest's swiotlb buffer is " +
         ByteSize(buffer_bytes).ToHuman() + ": use " + std::string(kKey) + std::to_string(slabs) +
         ",force in its kernel command line if it says that the buffer is full";
}

std::string LargerSwiotlb(uint64_t slabs) {
  uint64_t doubled = std::bit_ceil(std::max<uint64_t>(slabs, kUnit / kSwiotlbSlabBytes / 2)) * 2;
  return std::string(kKey) + std::to_string(doubled) + ",force";
}

}  // namespace berth::agent
