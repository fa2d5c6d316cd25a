#include <gtest/gtest.h>

#include <limits>

#include "placement/model/usage.h"
#include "tests/placement/model/model_builders.h"

namespace berth::placement {
namespace {

using namespace testing;  // NOLINT(google-build-using-namespace)

TEST(ValidateReport, AcceptsAnOrdinaryHost) {
  EXPECT_EQ(ValidateReport(MakeHost()), OkStatus());
}

TEST(ValidateReport, AcceptsAHostWithoutCpusOrDevices) {
  HostReport host;
  host.uuid = Id(1);
  host.name = "bare";
  EXPECT_EQ(ValidateReport(host), OkStatus());
}

TEST(ValidateReport, NamesTheFirstOffence) {
  struct Case {
    const char* name;
    void (*spoil)(HostReport&);
    const char* field;
  };
  const Case kCases[] = {
      {"nil uuid", [](HostReport& h) { h.uuid = {}; }, "uuid"},
      {"no name", [](HostReport& h) { h.name.clear(); }, "name"},
      {"long name", [](HostReport& h) { h.name.assign(256, 'x'); }, "name"},
      {"zero ratio", [](HostReport& h) { h.cpu_allocation_ratio = 0; }, "cpu_allocation_ratio"},
      {"infinite ratio",
       [](HostReport& h) { h.ram_allocation_ratio = std::numeric_limits<double>::infinity(); },
       "ram_allocation_ratio"},
      {"cells out of order", [](HostReport& h) { h.cells[1].id = 0; }, "cells[1].id"},
      {"cpu in two cells", [](HostReport& h) { h.cells[1].siblings.push_back({0}); }, "cells[1].siblings"},
      {"cpu in two cores", [](HostReport& h) { h.cells[0].siblings.push_back({0}); }, "cells[0].siblings[4]"},
      {"empty core", [](HostReport& h) { h.cells[0].siblings.Own()[1] = {}; }, "cells[0].siblings[1]"},
      {"cpu without core", [](HostReport& h) { h.cells[0].shared_cpus.Add(99); }, "cells[0].siblings"},
      {"page size zero", [](HostReport& h) { h.cells[0].pages[0].size_bytes = 0; },
       "cells[0].pages[0].size_bytes"},
      {"page sizes descend", [](HostReport& h) { h.cells[0].pages[1].size_bytes = 4096; },
       "cells[0].pages[1].size_bytes"},
      {"pages overflow", [](HostReport& h) { h.cells[0].pages[1].total = UINT64_MAX / 2; },
       "cells[0].pages[1].total"},
      {"reserved above total", [](HostReport& h) { h.cells[0].pages[1].reserved = 513; },
       "cells[0].pages[1].reserved"},
      {"distances not square", [](HostReport& h) { h.cells[1].distances = {10}; }, "cells[1].distances"},
      {"devices out of order", [](HostReport& h) { std::swap(h.devices[0], h.devices[1]); },
       "devices[1].address"},
      {"vendor in upper case", [](HostReport& h) { h.devices[0].vendor_id = "8ABC"; },
       "devices[0].vendor_id"},
      {"short product", [](HostReport& h) { h.devices[0].product_id = "1"; }, "devices[0].product_id"},
      {"class of 25 bits", [](HostReport& h) { h.devices[0].class_code = 0x1000000; },
       "devices[0].class_code"},
      {"vf without parent", [](HostReport& h) { h.devices[2].parent.reset(); }, "devices[2].parent"},
      {"vf of a plain device", [](HostReport& h) { h.devices[2].parent = Pci(1); }, "devices[2].parent"},
      {"vf of an unknown device", [](HostReport& h) { h.devices[2].parent = Pci(77); }, "devices[2].parent"},
      {"pf with parent", [](HostReport& h) { h.devices[1].parent = Pci(3); }, "devices[1].parent"},
  };
  for (const Case& c : kCases) {
    HostReport host = MakeHost();
    c.spoil(host);
    Status status = ValidateReport(host);
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << c.name;
    EXPECT_EQ(status.field(), c.field) << c.name << ": " << status.ToString();
  }
}

}  // namespace
}  // namespace berth::placement
