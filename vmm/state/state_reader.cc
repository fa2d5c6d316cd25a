#include "vmm/state/state_reader.h"

#include <algorithm>
#include <utility>

namespace berth::vmm {
namespace {

constexpr size_t kNameMax = 256;

}  // namespace

void StateReader::Fail(Status reason) {
  if (!status_.ok()) return;
  status_ = name_.empty() ? std::move(reason) : std::move(reason).WithContext(name_);
  left_ = {};
}

std::span<const uint8_t> StateReader::Raw(size_t size) {
  if (size > left_.size()) {
    Fail(OutOfRange("the state ends too early: " + std::to_string(size) + " bytes wanted, " +
                    std::to_string(left_.size()) + " left"));
    return {};
  }
  const std::span<const uint8_t> bytes = left_.first(size);
  left_ = left_.subspan(size);
  return bytes;
}

uint32_t StateReader::GetCount(uint32_t max, size_t element) {
  const uint32_t count = Get<uint32_t>();
  if (count <= max && uint64_t{count} * element <= left_.size()) return count;
  Fail(OutOfRange(std::to_string(count) + " elements, at most " + std::to_string(max) + " are possible"));
  return 0;
}

std::span<const uint8_t> StateReader::GetBytes(size_t max) {
  const uint32_t size = Get<uint32_t>();
  if (size <= max) return Raw(size);
  Fail(OutOfRange("a field of " + std::to_string(size) + " bytes, at most " + std::to_string(max) +
                  " are possible"));
  return {};
}

std::string StateReader::GetText(size_t max) {
  const std::span<const uint8_t> bytes = GetBytes(max);
  return {bytes.begin(), bytes.end()};
}

void StateReader::GetExactly(std::span<uint8_t> out) {
  const std::span<const uint8_t> bytes = GetBytes(out.size());
  if (bytes.size() != out.size()) {
    Fail(OutOfRange("a field of " + std::to_string(bytes.size()) + " bytes instead of " +
                    std::to_string(out.size())));
    return;
  }
  std::copy(bytes.begin(), bytes.end(), out.begin());
}

StateReader StateReader::GetPart(std::string_view name, uint16_t newest) {
  const std::string found = GetText(kNameMax);
  const uint16_t version = Get<uint16_t>();
  const uint64_t length = Get<uint64_t>();
  if (ok() && found != name) {
    Fail(InvalidArgument("state of " + found + " where that of " + std::string(name) + " belongs"));
  }
  if (ok() && (version == 0 || version > newest)) {
    Fail(InvalidArgument("state of " + found + " has version " + std::to_string(version) +
                         ", this program knows 1 to " + std::to_string(newest)));
  }
  StateReader part(length > left_.size() ? std::span<const uint8_t>() : Raw(length));
  if (ok() && part.left_.size() != length) {
    Fail(OutOfRange("the state of " + found + " ends too early"));
  }
  part.status_ = status_;
  part.name_ = std::string(name);
  part.version_ = version;
  return part;
}

void StateReader::Leave(const StateReader& part) {
  if (Status status = part.Finish(); !status.ok()) Fail(std::move(status));
}

Status StateReader::Finish() const {
  if (!status_.ok() || left_.empty()) return status_;
  Status status = InvalidArgument(std::to_string(left_.size()) + " bytes too many");
  return name_.empty() ? status : std::move(status).WithContext(name_);
}

}  // namespace berth::vmm
