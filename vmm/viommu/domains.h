#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <vector>

#include "common/status.h"
#include "vmm/dma/dma_run.h"
#include "vmm/state/state_reader.h"
#include "vmm/state/state_writer.h"
#include "vmm/viommu/mappings.h"

namespace berth::vmm {

// A device behind the virtual IOMMU, as far as it must be told of mappings. Calls come one at a time. Each
// happens as a whole or not at all.
class IommuEndpoint {
 public:
  virtual ~IommuEndpoint() = default;
  // From now on the device's addresses are those of an address space: exactly these mappings.
  virtual Status Enter(const IommuMappings& mappings) = 0;
  // Or guest-physical addresses.
  virtual Status Bypass() = 0;
  // Or nothing at all.
  virtual void Block() = 0;
  // While in an address space.
  virtual Status Map(const IommuMapping& mapping) = 0;
  virtual Status Unmap(const IommuMapping& mapping) = 0;
  // Addresses that cannot be mapped for it, sorted.
  virtual std::vector<IovaRange> Reserved() const { return {}; }
};

// The one mapping engine behind all models of an IOMMU: domains, who is in which, what is mapped. An endpoint
// without a domain bypasses the IOMMU, or reaches nothing, as SetBypass says. Thread-safe.
class IommuDomains {
 public:
  // kAlreadyExists. The endpoint starts without a domain.
  Status AddEndpoint(uint32_t id, std::shared_ptr<IommuEndpoint> endpoint);
  // Leaves its domain. Nothing for an unknown id.
  void RemoveEndpoint(uint32_t id);
  // See IommuEndpoint; kNotFound.
  Result<std::vector<IovaRange>> Reserved(uint32_t id) const;

  // kNotFound: no such endpoint. The domain is made when it does not exist; an endpoint that is in another
  // one leaves it, and a domain without endpoints is gone with its mappings. kInvalidArgument: the domain
  // exists as one of the other kind. On any error nothing has changed.
  Status Attach(uint32_t domain, uint32_t endpoint, bool bypass);
  // kNotFound: no such endpoint; kInvalidArgument: it is not in this domain.
  Status Detach(uint32_t domain, uint32_t endpoint);
  // Whatever its domain says, the endpoint reaches nothing until it is attached to another one. For when an
  // Attach has failed that was to take something away.
  void Cut(uint32_t endpoint);
  // kNotFound: no such domain; kInvalidArgument: it is one that bypasses, or see IommuMappings; else the
  // endpoints' errors. On any error nothing has changed.
  Status Map(uint32_t domain, const IommuMapping& mapping);
  Status Unmap(uint32_t domain, uint64_t first, uint64_t last);

  // What a domain maps in [first, last], whole mappings in ascending order; nothing for an unknown one.
  std::vector<IommuMapping> MappingsIn(uint32_t domain, uint64_t first, uint64_t last) const;

  // What endpoints without a domain may do.
  void SetBypass(bool bypass);
  bool bypass() const;
  // As at power-on: no domains.
  void Reset(bool bypass);

  // For snapshots: who is in which domain, and what is mapped. Load comes when all endpoints have been added
  // and none is in a domain; endpoints that are not here, and mappings that overlap, wrap or are none of
  // whole pages, fail the reader, and then there are no domains.
  void Save(StateWriter& out) const;
  void Load(StateReader& in);

  // The guest-physical address of an access by an endpoint, and how far it goes on from there; kNotFound: not
  // mapped, kPermissionDenied: not for this kind of access, kFailedPrecondition: no domain and no bypass.
  struct Translation {
    uint64_t gpa = 0;
    uint64_t length = 0;
  };
  Result<Translation> Translate(uint32_t endpoint, uint64_t address, bool write) const;

  size_t domains() const;

 private:
  struct Domain {
    bool bypass = false;
    IommuMappings mappings;
    std::set<uint32_t> endpoints;
  };
  struct Member {
    std::shared_ptr<IommuEndpoint> endpoint;
    std::optional<uint32_t> domain;
  };
  // With mutex_ held:
  static Status Enter(IommuEndpoint& endpoint, const Domain& domain);
  void Idle(IommuEndpoint& endpoint) const;  // without a domain
  void Leave(uint32_t id, Member& member);
  void LoadDomain(StateReader& in);

  mutable std::mutex mutex_;  // guards what follows
  std::map<uint32_t, Domain> domains_;
  std::map<uint32_t, Member> members_;
  bool bypass_ = true;
};

}  // namespace berth::vmm
