// Requests to the virtio-iommu from a driver that is not to be trusted, with calls of the host's IOMMU that
// fail now and then. What a device reaches is at any time what the domains say, or nothing; also after a
// restore of what they were, and of what somebody has made of that.
#include <cstdint>
#include <span>
#include <vector>

#include "common/log.h"
#include "tests/fakes/guest_ram.h"
#include "tests/fuzz/fuzz_input.h"
#include "vmm/dma/fake_iommu.h"
#include "vmm/viommu/vfio_endpoint.h"
#include "vmm/viommu/virtio_iommu.h"

namespace {

using namespace berth::vmm;

constexpr uint32_t kEndpoints[] = {8, 16};
constexpr uint64_t kPage = 4096;

void Append(std::vector<uint8_t>& bytes, uint64_t value, size_t size) {
  for (size_t i = 0; i < size; ++i)
    bytes.push_back(i < sizeof value ? static_cast<uint8_t>(value >> 8 * i) : 0);
}

// Mostly well formed, with small numbers, so that requests meet.
std::vector<uint8_t> TakeRequest(berth::FuzzInput& input) {
  const uint8_t type = input.Take<uint8_t>() % 7;
  std::vector<uint8_t> bytes = {type, 0, 0, 0};
  Append(bytes, type == 5 ? input.Take<uint8_t>() % 32 : input.Take<uint8_t>() % 3, 4);
  if (type == 1 || type == 2) {
    Append(bytes, kEndpoints[input.Take<uint8_t>() % 2], 4);
    Append(bytes, input.Take<uint8_t>() % 8 == 0 ? 1 : 0, 4);
    Append(bytes, 0, 4);
  } else if (type == 3 || type == 4) {
    const uint64_t first = input.Take<uint8_t>() % 32 * kPage;
    Append(bytes, first, 8);
    Append(bytes, first + (1 + input.Take<uint8_t>() % 4) * kPage - 1, 8);
    if (type == 3) Append(bytes, input.Take<uint8_t>() % 20 * kPage, 8);
    Append(bytes, input.Take<uint8_t>() % 5, 4);
  } else {
    Append(bytes, 0, 64);
  }
  const uint8_t damage = input.Take<uint8_t>();
  if (damage < 32) bytes.resize(damage % (bytes.size() + 1));
  if (damage >= 32 && damage < 48) bytes[input.Take<uint8_t>() % bytes.size()] = input.Take<uint8_t>();
  return bytes;
}

struct Machine {
  Machine() {
    CHECK(domains.AddEndpoint(kEndpoints[0], std::make_shared<VfioEndpoint>(first, ram.memory())).ok());
    CHECK(domains.AddEndpoint(kEndpoints[1], std::make_shared<VfioEndpoint>(second, ram.memory())).ok());
  }
  void Check() {
    const uint8_t* base = ram.memory().Span(Gpa{0}, 1)->data();
    for (int i = 0; i < 2; ++i) {
      for (uint64_t page = 0; page < 40; ++page) {
        const uint8_t* host = hosts[i].Translate(page * kPage, false);
        if (host == nullptr) continue;  // may be blocked after a failure
        const auto translated = domains.Translate(kEndpoints[i], page * kPage, false);
        CHECK(translated.has_value());
        CHECK(host == base + translated->gpa);
      }
    }
  }
  std::vector<uint8_t> Save() const {
    StateWriter out;
    domains.Save(out);
    return std::move(out).Take();
  }

  GuestRam ram{{{0, 16 * kPage}}};
  FakeIommu hosts[2];
  DmaEngine first{hosts[0].MakeBackend()}, second{hosts[1].MakeBackend()};
  IommuDomains domains;
};

// `damage`: pairs of a place and a value.
void Restore(const Machine& machine, std::span<const uint8_t> damage) {
  std::vector<uint8_t> state = machine.Save();
  const std::vector<uint8_t> before = state;
  for (size_t i = 0; i + 1 < damage.size(); i += 2) state[damage[i] % state.size()] = damage[i + 1];
  Machine other;
  StateReader in(state);
  other.domains.Load(in);
  if (in.Finish().ok()) {
    CHECK(other.Save() == state);
  } else {
    CHECK(state != before);
    CHECK(other.domains.domains() == 0 || in.status().ok());
  }
  other.Check();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const bool quiet = berth::InitFileLogging("fuzz", berth::LogLevel::kError, "/dev/null").ok();
  static_cast<void>(quiet);
  berth::FuzzInput input(data, size);
  const auto damage = input.TakeBytes(input.Take<uint8_t>() % 8 * size_t{2});
  Machine machine;
  auto loop = *EventLoop::Create();
  VirtioIommu iommu(machine.domains, (uint64_t{1} << 39) - 1, *loop);
  for (int steps = 0; !input.empty() && steps < 200; ++steps) {
    if (input.Take<uint8_t>() % 16 == 0) machine.hosts[steps % 2].FailCall(input.Take<uint8_t>() % 4, 12);
    if (input.Take<uint8_t>() % 32 == 0) {
      const uint8_t bypass = input.Take<uint8_t>() % 2;
      iommu.WriteConfig(36, {&bypass, 1});
    }
    std::vector<uint8_t> request = TakeRequest(input), answer(516, 0);
    ByteList readable, writable;
    readable.Append(request);
    writable.Append({answer.data(), request.empty() || request[0] == 5 ? 516u : 4u});
    static_cast<void>(iommu.Handle(readable, writable));
    machine.Check();
  }
  Restore(machine, damage);
  return 0;
}
