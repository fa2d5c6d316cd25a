#pragma once

#include <random>

#include "scheduler/fit/fit_host.h"
#include "scheduler/request/request_spec.h"

namespace berth::scheduler {

// Small random hosts and requests, rich in what makes fitting hard: SMT, single pools, several page sizes,
// PFs listed with their VFs, unknown nodes, alternatives, tags, isolation.
class RandomCase {
 public:
  explicit RandomCase(uint32_t seed) : random_(seed) {}

  FitHost Host();
  RequestSpec Request();

  uint32_t Below(uint32_t n) { return static_cast<uint32_t>(random_() % n); }
  bool Chance(uint32_t percent) { return Below(100) < percent; }
  std::mt19937& engine() { return random_; }

 private:
  FitCell Cell(NumaNode id, uint32_t& cpu);
  void AddCores(FitCell& cell, const CpuSet& cpus);
  void AddCard(FitHost& host, uint8_t bus);
  FitDevice Device(const FitHost& host, PciAddress address, DeviceKind kind);
  PciRequest Pci(uint32_t number);
  DeviceMatch Match(bool port);

  std::mt19937 random_;
};

// The same host with other node numbers, other device addresses and everything in another order.
FitHost Renumbered(const FitHost& host, std::mt19937& random);
// The same request with its PCI requests, and its guest cells as far as that changes nothing, in another
// order.
RequestSpec Reordered(const RequestSpec& spec, std::mt19937& random);

}  // namespace berth::scheduler
