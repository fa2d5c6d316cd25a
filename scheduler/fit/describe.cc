#include <string>

#include "scheduler/fit/fit.h"
#include "scheduler/fit/lack.h"

namespace berth::scheduler {
namespace {

struct LackText {
  const char* code;
  const char* what;  // of what there is too little
  bool bytes;
};

LackText TextOf(CellLack lack) {
  switch (lack) {
    case CellLack::kNothing:
      break;
    case CellLack::kDedicatedCpus:
      return {"cpus_dedicated", "free dedicated CPUs", false};
    case CellLack::kNoSmt:
      return {"cpu_threads", "threads per core for thread policy require", false};
    case CellLack::kPairedCpus:
      return {"cpu_threads", "free dedicated CPUs on cores with two free threads", false};
    case CellLack::kSmtPresent:
      return {"cpu_isolate", "threads per core where thread policy isolate allows one", false};
    case CellLack::kWholeCores:
      return {"cpu_isolate", "free cores for thread policy isolate", false};
    case CellLack::kSharedCpus:
      return {"cpus_shared", "shared CPUs", false};
    case CellLack::kSharedRoom:
      return {"cpus_shared", "floating vCPUs that the shared CPUs still carry", false};
    case CellLack::kMemory:
      return {"memory", "memory within the allocation ratio", true};
    case CellLack::kPageMultiple:
      return {"page_size", "pages of a size that divides the cell's memory", true};
    case CellLack::kPages:
      return {"pages", "free pages", true};
    case CellLack::kSecureMemory:
      return {"secure_memory", "secure memory", true};
    case CellLack::kBounceBuffer:
      return {"nonsecure_memory", "ordinary memory for the bounce buffer", true};
  }
  return {"", "", false};
}

std::string Number(uint64_t number) {
  return std::to_string(number);
}

std::string Size(uint64_t bytes) {
  return std::to_string(bytes >> 20) + " MiB";
}

std::string NameOf(const PciRequest& request) {
  return (request.from_port ? "port " : "alias ") + request.name;
}

Reason DescribeVcpus(const Lack& lack, const RequestSpec& spec) {
  uint64_t coming = 0;
  for (const GuestCell& cell : spec.cells) coming += cell.vcpus.Count() - cell.pinned.Count();
  if (spec.cells.empty()) coming = spec.vcpus;
  std::string pins = lack.taken > 0 ? " after pinning " + Number(lack.taken) + " of them" : "";
  return {"", Number(lack.have), Number(lack.need), "host",
          "the host's shared CPUs carry " + Number(lack.have) + " floating vCPUs in all" + pins + "; " +
              Number(lack.need - coming) + " float there already and " + Number(coming) + " would come"};
}

Reason DescribeCell(const Lack& lack) {
  LackText text = TextOf(lack.cell);
  std::string have = text.bytes ? Size(lack.have) : Number(lack.have);
  std::string need = text.bytes ? Size(lack.need) : Number(lack.need);
  std::string where = "guest cell " + Number(lack.subject);
  std::string cell = lack.node == Lack::kNobody ? "the host has no cells" : "host cell " + Number(lack.node);
  std::string pages = lack.page_size_bytes > 0 ? " of " + Number(lack.page_size_bytes >> 10) + " KiB" : "";
  return {"", have, need, where,
          where + " fits on no host cell; the nearest, " + cell + ", has " + have + " " + text.what + pages +
              ", it needs " + need};
}

Reason TooFewDevices(const Lack& lack, const PciRequest& request, const std::string& what) {
  std::string need = Number(lack.need);
  std::string have = Number(lack.have);
  return {"", have, need, NameOf(request),
          NameOf(request) + " needs " + need + " devices, the host has " + have + " " + what};
}

Reason DescribeDomain(const RequestSpec& spec) {
  std::string kinds;
  for (const DomainGroup& group : spec.domains) kinds += (kinds.empty() ? "" : ", ") + group.kind;
  return {"", "", "", "devices",
          "the PCI requests could be served, but not with devices that share a domain: " + kinds};
}

Reason Words(const Lack& lack, const RequestSpec& spec) {
  std::string have = Number(lack.have);
  std::string need = Number(lack.need);
  switch (lack.code) {
    case LackCode::kNothing:
      return {"", "", "", "host", "no single thing is missing"};
    case LackCode::kNoKvm:
      return {"", have, need, "host", "the host can not run guests: KVM is not usable"};
    case LackCode::kSmt:
      return {"", lack.have > 0 ? "present" : "absent", lack.have > 0 ? "absent" : "present", "host",
              "trait:HW_CPU_HYPERTHREADING asks for a host " +
                  std::string(lack.have > 0 ? "without" : "with") + " SMT"};
    case LackCode::kHostVcpus:
      return DescribeVcpus(lack, spec);
    case LackCode::kHostMemory:
      return {"", Size(lack.have), Size(lack.need), "host",
              "the host has " + Size(lack.have) + " of base-page memory left in all, " + Size(lack.need) +
                  " are needed"};
    case LackCode::kHostDisk:
      return {"", Size(lack.have), Size(lack.need), "host",
              "the host has " + Size(lack.have) + " of disk left, " + Size(lack.need) + " are needed"};
    case LackCode::kCells:
      return {"", have, need, "host", "the guest has " + need + " NUMA cells, the host has " + have};
    case LackCode::kCell:
      return DescribeCell(lack);
    case LackCode::kCellsDistinct:
      return {"", have, need, "host",
              "each guest cell fits on some host cell, but only " + have + " of " + need +
                  " fit on distinct ones"};
    case LackCode::kNetwork:
      return {"", "", need, "host",
              "no host cells that hold the guest reach all " + need +
                  " of its networks that this host ties to NUMA nodes"};
    case LackCode::kDevices:
      return TooFewDevices(lack, spec.pci[lack.subject], "that match and are free");
    case LackCode::kDevicesTogether:
      return {"", "", "", "devices",
              "each PCI request alone could be served, all of them together can not: they compete for the "
              "same devices"};
    case LackCode::kDomain:
      return DescribeDomain(spec);
    case LackCode::kPciNuma:
      return TooFewDevices(lack, spec.pci[lack.subject],
                           std::string("that match and that policy ") +
                               AffinityPolicyName(spec.pci[lack.subject].policy) +
                               " allows beside any cells that hold the guest");
    case LackCode::kPciNumaTogether:
      return {"", "", "", "devices",
              "no set of host cells that holds the guest is near enough to devices for all PCI requests at "
              "once"};
  }
  return {};
}

}  // namespace

const char* CodeOf(const Lack& lack) {
  switch (lack.code) {
    case LackCode::kNothing:
      return "undecided";
    case LackCode::kNoKvm:
      return "no_kvm";
    case LackCode::kSmt:
      return "smt";
    case LackCode::kHostVcpus:
      return "host_vcpus";
    case LackCode::kHostMemory:
      return "host_memory";
    case LackCode::kHostDisk:
      return "host_disk";
    case LackCode::kCells:
      return "cells";
    case LackCode::kCell:
      return TextOf(lack.cell).code;
    case LackCode::kCellsDistinct:
      return "cells_distinct";
    case LackCode::kNetwork:
      return "network";
    case LackCode::kDevices:
      return "devices";
    case LackCode::kDevicesTogether:
      return "devices_together";
    case LackCode::kDomain:
      return "domain";
    case LackCode::kPciNuma:
    case LackCode::kPciNumaTogether:
      return "pci_numa";
  }
  return "";
}

Reason Describe(const Lack& lack, const RequestSpec& spec) {
  Reason reason = Words(lack, spec);
  reason.code = CodeOf(lack);
  return reason;
}

Reason ExplainNoFit(const FitHost& host, const RequestSpec& spec) {
  RequestPlan plan(spec, *host.types);
  return Describe(LackFinder(plan).Find(host), spec);
}

}  // namespace berth::scheduler
