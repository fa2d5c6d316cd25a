#pragma once

#include <string_view>
#include <vector>

#include "common/unique_fd.h"
#include "vmm/api/http.h"
#include "vmm/api/vm_control.h"

namespace berth::vmm {

inline constexpr std::string_view kApiBase = "/api/v1/";

// One verb: "vm.info" with the method that it is called by.
struct ApiVerb {
  std::string_view name;
  std::string_view method;
  std::string_view help;
};
// All verbs of this version; berth-vmmctl knows them from here too.
const std::vector<ApiVerb>& ApiVerbs();
// Why a verb of Cloud Hypervisor is not carried out; empty for all others.
std::string_view VerbRefusal(std::string_view verb);

// Carries out one request. 200 with a JSON object, or 204, or an error with a JSON array of objects {code,
// message, field?, hint?}: 400 (a body that a verb does not take), 404 (no such path), 405 (another method),
// 409 (the machine's state forbids it), 500, 501 (a verb of Cloud Hypervisor that is not carried out).
//   GET vmm.ping: {version, build_version, pid, features}
//   GET vm.info: {config (vm.create's layout), state, memory_actual_size, runtime: {pid, vcpus: [{id, tid,
//       host_cpus}], memory_regions: [{zone, base, size, host_address, host_numa_node}], threads: [{name,
//       tid}]}}
//   GET vm.counters: {device: {counter: value}}
//       and hotplug: [{subject, wanted, actual, state}], devices: [{id, bdf}] in runtime
//   PUT vm.resize {desired_vcpus?, desired_ram?, timeout_ms?}, vm.resize-zone {id, desired_ram,
//       timeout_ms?}: 204 when the guest was asked; vm.info tells how far it is
//   PUT vm.add-disk, vm.add-net, vm.add-device, vm.add-vsock (the device as in vm.create): {id, bdf}, 204
//   before the boot PUT vm.remove-device {id, timeout_ms?}: 204 PUT vm.power-button, vm.pause, vm.resume,
//   vm.reboot, vm.shutdown, vmm.shutdown: 204 `fds`: descriptors that came with the request, for vm.add-net
//   those of its TAP, one for each pair of queues;
//       other verbs refuse them
HttpResponse Route(const HttpRequest& request, VmControl& control, std::vector<UniqueFd> fds = {});

}  // namespace berth::vmm
