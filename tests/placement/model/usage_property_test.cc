#include <gtest/gtest.h>

#include <map>
#include <random>

#include "placement/model/usage.h"
#include "tests/placement/model/model_builders.h"
#include "tests/placement/model/random_claims.h"

// CheckClaim against a model that keeps no sums: it holds the list of claims and counts every CPU, page, byte
// and device anew for each question, by other means than the code under test.
namespace berth::placement {
namespace {

using namespace testing;  // NOLINT(google-build-using-namespace)
class NaiveHost {
 public:
  explicit NaiveHost(const HostReport& host) : host_(host) {}

  void Add(const Claim& claim) { claims_.push_back(claim); }
  void Remove(size_t index) { claims_.erase(claims_.begin() + static_cast<ptrdiff_t>(index)); }
  const std::vector<Claim>& claims() const { return claims_; }

  bool Accepts(const Claim& claim) const {
    std::vector<Claim> after = claims_;
    after.push_back(claim);
    return GuestSideIsSound(claim) && CpusAreDisjoint(after) && FloatingFits(after, claim) &&
           PagesFit(after, claim) && MemoryFits(after, claim) && DevicesAreDisjoint(after, claim);
  }

 private:
  static bool GuestSideIsSound(const Claim& claim) {
    if (claim.spec.vcpus == 0) return false;
    std::map<uint32_t, int> vcpus;
    std::map<uint32_t, int> guests;
    std::map<uint32_t, int> hosts;
    for (const CellBinding& cell : claim.cells) {
      ++guests[cell.guest_cell];
      ++hosts[cell.host_cell];
      for (uint32_t vcpu : cell.vcpus.ToVector()) ++vcpus[vcpu];
    }
    for (const auto* counts : {&vcpus, &guests, &hosts}) {
      for (const auto& [id, count] : *counts) {
        if (count != 1) return false;
      }
    }
    if (claim.cells.empty()) return true;
    return vcpus.size() == claim.spec.vcpus && vcpus.rbegin()->first == claim.spec.vcpus - 1;
  }

  const Cell* CellOf(NumaNode id) const {
    for (const Cell& cell : host_.cells) {
      if (cell.id == id) return &cell;
    }
    return nullptr;
  }

  bool CpusAreDisjoint(const std::vector<Claim>& claims) const {
    std::map<uint32_t, int> holders;
    for (const Claim& claim : claims) {
      for (const CellBinding& binding : claim.cells) {
        const Cell* cell = CellOf(binding.host_cell);
        if (cell == nullptr) return false;
        std::vector<uint32_t> cpus = binding.reserved.ToVector();
        for (const auto& pin : binding.pinning) cpus.push_back(pin.second);
        for (uint32_t cpu : cpus) {
          if (!cell->dedicated_cpus.Contains(cpu) || ++holders[cpu] > 1) return false;
        }
      }
    }
    return true;
  }

  bool Pinned(const std::vector<Claim>& claims, uint32_t cpu) const {
    for (const Claim& claim : claims) {
      for (const CellBinding& binding : claim.cells) {
        if (binding.reserved.Contains(cpu)) return true;
        for (const auto& pin : binding.pinning) {
          if (pin.second == cpu) return true;
        }
      }
    }
    return false;
  }

  // Whole state after the claim, not only what it adds.
  bool FloatingFits(const std::vector<Claim>& claims, const Claim& added) const {
    double all_capacity = 0;
    uint64_t all_floating = 0;
    for (const Claim& claim : claims) {
      if (claim.cells.empty()) all_floating += claim.spec.vcpus;
    }
    for (const Cell& cell : host_.cells) {
      uint32_t left = 0;
      for (uint32_t cpu : cell.shared_cpus.ToVector()) left += Pinned(claims, cpu) ? 0 : 1;
      uint64_t floating = 0;
      for (const Claim& claim : claims) {
        for (const CellBinding& binding : claim.cells) {
          if (binding.host_cell != cell.id) continue;
          uint64_t vcpus = binding.vcpus.Count() - binding.pinning.size();
          if (&claim == &claims.back() && vcpus > left) return false;
          floating += vcpus;
        }
      }
      if (static_cast<double>(floating) > left * host_.cpu_allocation_ratio) return false;
      all_capacity += left;
      all_floating += floating;
    }
    (void)added;
    return static_cast<double>(all_floating) <= all_capacity * host_.cpu_allocation_ratio;
  }

  bool PagesFit(const std::vector<Claim>& claims, const Claim& added) const {
    for (const CellBinding& asked : added.cells) {
      if (asked.secure || asked.page_size_bytes == 0) continue;
      const Cell* cell = CellOf(asked.host_cell);
      uint64_t capacity = 0;
      bool known = false;
      for (const PagePool& pool : cell->pages) {
        if (pool.size_bytes != asked.page_size_bytes) continue;
        known = true;
        capacity = (pool.total - pool.reserved) * pool.size_bytes;
      }
      if (!known || asked.memory_bytes % asked.page_size_bytes != 0) return false;
      if (Named(claims, cell->id, asked.page_size_bytes) > capacity) return false;
    }
    return true;
  }

  static uint64_t Named(const std::vector<Claim>& claims, NumaNode cell, uint64_t size) {
    uint64_t bytes = 0;
    for (const Claim& claim : claims) {
      for (const CellBinding& b : claim.cells) {
        if (b.host_cell == cell && !b.secure && b.page_size_bytes == size) bytes += b.memory_bytes;
      }
    }
    return bytes;
  }

  // Bounce buffers lie in ordinary memory.
  static uint64_t Bounce(const std::vector<Claim>& claims, NumaNode cell) {
    uint64_t bytes = 0;
    for (const Claim& claim : claims) {
      for (const CellBinding& b : claim.cells) {
        if (b.host_cell == cell && b.secure) bytes += b.swiotlb_bytes;
      }
    }
    return bytes;
  }

  static uint64_t SecureMemoryIn(const std::vector<Claim>& claims, NumaNode cell) {
    uint64_t bytes = 0;
    for (const Claim& claim : claims) {
      for (const CellBinding& b : claim.cells) {
        if (b.host_cell == cell && b.secure) bytes += b.memory_bytes;
      }
    }
    return bytes;
  }

  // Memory for 4 KiB pages, in the cells and over the whole host, never more than there is times the ratio.
  bool BasePagesSuffice(const std::vector<Claim>& claims) const {
    double host_has = 0;
    double host_holds = 0;
    for (const Cell& cell : host_.cells) {
      auto has = static_cast<double>(cell.memory_bytes);
      for (size_t i = 1; i < cell.pages.size(); ++i) {
        const PagePool& huge = cell.pages[i];
        has -= static_cast<double>((huge.total - huge.reserved) * huge.size_bytes);
      }
      auto holds = static_cast<double>(Named(claims, cell.id, 0) + Named(claims, cell.id, 4096) +
                                       Bounce(claims, cell.id));
      if (holds > has * host_.ram_allocation_ratio) return false;
      host_has += has;
      host_holds += holds;
    }
    for (const Claim& claim : claims) {
      if (claim.cells.empty()) host_holds += static_cast<double>(claim.spec.memory_bytes);
    }
    return host_holds <= host_has * host_.ram_allocation_ratio;
  }

  bool MemoryFits(const std::vector<Claim>& claims, const Claim& added) const {
    for (const CellBinding& asked : added.cells) {
      const Cell* cell = CellOf(asked.host_cell);
      if (asked.secure) {
        if (asked.memory_bytes % (asked.page_size_bytes == 0 ? 2 * kMib : asked.page_size_bytes) != 0)
          return false;
        if (SecureMemoryIn(claims, cell->id) > cell->secure_memory_bytes) return false;
        continue;
      }
      if (asked.page_size_bytes != 0) continue;
      if (cell->pages.empty()) {  // how many pages there are is not known: the memory must do
        if (asked.memory_bytes > cell->memory_bytes) return false;
        continue;
      }
      const PagePool& base = cell->pages.front();
      if (asked.memory_bytes % 4096 != 0 || asked.memory_bytes > base.total * 4096) return false;
      uint64_t free = (base.total - base.reserved) * 4096 - Named(claims, cell->id, 4096);
      if (!asked.pinning.empty() && asked.memory_bytes > free) return false;
    }
    return BasePagesSuffice(claims);
  }

  bool DevicesAreDisjoint(const std::vector<Claim>& claims, const Claim& added) const {
    for (const DeviceBinding& asked : added.devices) {
      bool good = false;
      for (const Device& device : host_.devices)
        good = good || (device.address == asked.address && device.assignable);
      if (!good) return false;
    }
    std::vector<PciAddress> held;
    for (const Claim& claim : claims) {
      for (const DeviceBinding& device : claim.devices) held.push_back(device.address);
    }
    for (size_t i = 0; i < held.size(); ++i) {
      for (size_t j = 0; j < held.size(); ++j) {
        if (i != j && (held[i] == held[j] || IsParent(held[i], held[j]))) return false;
      }
    }
    return true;
  }

  bool IsParent(const PciAddress& pf, const PciAddress& vf) const {
    for (const Device& device : host_.devices) {
      if (device.address == vf && device.parent == pf) return true;
    }
    return false;
  }

  HostReport host_;
  std::vector<Claim> claims_;
};

TEST(UsageProperty, AgreesWithANaiveModelOverRandomHistories) {
  uint32_t accepted = 0;
  uint32_t refused = 0;
  for (uint32_t seed = 0; seed < 400; ++seed) {
    Random random(seed);
    HostReport host = RandomHost(random);
    ASSERT_EQ(ValidateReport(host), OkStatus());
    NaiveHost naive(host);
    HostUsage usage;
    for (uint32_t step = 0; step < 60; ++step) {
      if (!naive.claims().empty() && Pick(random, 4) == 0) {
        size_t index = Pick(random, static_cast<uint32_t>(naive.claims().size()));
        RemoveClaim(naive.claims()[index], usage);
        naive.Remove(index);
      } else {
        Claim claim = RandomClaim(random, static_cast<uint8_t>(step));
        Status status = CheckClaim(host, usage, claim);
        ASSERT_EQ(status.ok(), naive.Accepts(claim))
            << "seed " << seed << " step " << step << ": " << status.ToString();
        ASSERT_TRUE(status.ok() || !status.field().empty()) << status.ToString();
        ++(status.ok() ? accepted : refused);
        if (!status.ok()) continue;
        AddClaim(claim, usage);
        naive.Add(claim);
      }
      HostUsage fresh;
      for (const Claim& claim : naive.claims()) AddClaim(claim, fresh);
      ASSERT_EQ(usage, fresh) << "seed " << seed << " step " << step;
    }
  }
  EXPECT_GT(accepted, 2000U);
  EXPECT_GT(refused, 2000U);
}

}  // namespace
}  // namespace berth::placement
