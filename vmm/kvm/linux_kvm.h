#pragma once

#include <memory>
#include <string>

#include "common/status.h"
#include "vmm/kvm/kvm.h"

namespace berth::vmm {

// The kernel's KVM. Errors tell what the host needs: no such device, no permission, another API version.
Result<std::unique_ptr<Kvm>> OpenLinuxKvm(const std::string& device = "/dev/kvm");

}  // namespace berth::vmm
