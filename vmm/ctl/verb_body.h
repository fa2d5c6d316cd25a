#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"

namespace berth::vmm {

// The body of a verb's request from what stands behind the verb on the command line:
//   vm.create [FILE], vm.preflight [FILE]   JSON as of vm.create; "-", and no file of vm.create, is standard
//                                           input
//   vm.resize [--cpus N] [--memory SIZE] [--balloon SIZE] [--timeout MS]
//   vm.resize-zone --id ID --size SIZE [--timeout MS]
//   vm.resize-disk --disk ID --size SIZE
//   vm.add-disk, vm.add-net, vm.add-device, vm.add-vsock KEY=VALUE,...   as the options --disk, --net, ...
//   vm.restore source_url=file:///DIRECTORY,KEY=VALUE,...   as the option --restore
//   vm.remove-device ID [--timeout MS]
//   vm.coredump file:///PATH
// Any of them also takes one JSON object, beginning with '{'. Other verbs take nothing. kInvalidArgument says
// what is wrong.
Result<std::string> VerbBody(std::string_view verb, const std::vector<std::string>& arguments);

// Whether vm.preflight's answer has a finding of severity "error".
bool HasErrorFindings(const std::string& findings);

// Takes the numbers of descriptors out of the body of vm.add-net (fd=[3,4]) or vm.restore
// (net_fds=[n@[3,4]]): they travel beside it. Empty for other verbs and bodies.
std::vector<int> TakeDescriptors(std::string_view verb, std::string& body);

}  // namespace berth::vmm
