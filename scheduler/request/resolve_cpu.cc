#include <algorithm>
#include <utility>

#include "scheduler/request/resolve.h"

namespace berth::scheduler {
namespace {

constexpr uint64_t kMaxNodes = 128;

const std::string* Find(const Properties& properties, std::string_view name) {
  auto it = properties.find(name);
  return it == properties.end() ? nullptr : &it->second;
}

Status Bad(const std::string& error, const std::string& message, const std::string& field) {
  return InvalidArgument(error + ": " + message, field);
}

template <class T>
Result<std::optional<T>> ParseOneOf(const Properties& properties, const std::string& scope,
                                    std::string_view name,
                                    const std::vector<std::pair<std::string_view, T>>& values,
                                    const std::string& error) {
  const std::string* text = Find(properties, name);
  if (text == nullptr) return std::optional<T>();
  std::string allowed;
  for (const auto& [word, value] : values) {
    if (*text == word) return std::optional<T>(value);
    allowed += (allowed.empty() ? "" : ", ") + std::string(word);
  }
  std::string shown(name);
  return Bad(error, shown + " is \"" + *text + "\", must be one of " + allowed, scope + shown);
}

Result<std::optional<uint32_t>> ResolveNodes(const Flavor& flavor, const Properties& image) {
  const std::string* own = Find(flavor.extra_specs, "hw:numa_nodes");
  const std::string* other = Find(image, "hw_numa_nodes");
  if (own == nullptr && other == nullptr) return std::optional<uint32_t>();
  if (own != nullptr && other != nullptr) {
    return Bad("ImageNUMATopologyForbidden",
               "hw_numa_nodes is \"" + *other + "\" although the flavor sets hw:numa_nodes",
               "image_properties.hw_numa_nodes");
  }
  const std::string& text = own != nullptr ? *own : *other;
  std::string field = own != nullptr ? "extra_specs.hw:numa_nodes" : "image_properties.hw_numa_nodes";
  auto nodes = ParseWhole(text, 1, kMaxNodes);
  if (!nodes.has_value()) return Bad("InvalidNUMANodesNumber", nodes.error().message(), field);
  return std::optional<uint32_t>(static_cast<uint32_t>(*nodes));
}

const std::vector<std::pair<std::string_view, CpuPolicy>>& CpuPolicies() {
  static const std::vector<std::pair<std::string_view, CpuPolicy>> values = {
      {"shared", CpuPolicy::kShared}, {"dedicated", CpuPolicy::kDedicated}, {"mixed", CpuPolicy::kMixed}};
  return values;
}

Result<CpuPolicy> MergeCpuPolicy(const Flavor& flavor, const Properties& image) {
  TRY_ASSIGN(auto own, ParseOneOf(flavor.extra_specs, "extra_specs.", "hw:cpu_policy", CpuPolicies(),
                                  "InvalidCPUAllocationPolicy"));
  TRY_ASSIGN(auto other, ParseOneOf(image, "image_properties.", "hw_cpu_policy", CpuPolicies(),
                                    "InvalidCPUAllocationPolicy"));
  if (!own) return other.value_or(CpuPolicy::kShared);
  bool forbidden = (*own == CpuPolicy::kShared && other.value_or(CpuPolicy::kShared) != CpuPolicy::kShared) ||
                   (*own == CpuPolicy::kMixed && other == CpuPolicy::kDedicated);
  if (forbidden) {
    return Bad("ImageCPUPinningForbidden",
               std::string("hw_cpu_policy is \"") + CpuPolicyName(*other) +
                   "\" although the flavor's hw:cpu_policy is \"" + CpuPolicyName(*own) + "\"",
               "image_properties.hw_cpu_policy");
  }
  return *own;
}

// resources:PCPU=n says "dedicated", resources:VCPU=n says "shared"; both must name all vCPUs.
Result<CpuPolicy> ApplyResources(const Flavor& flavor, CpuPolicy policy, EmulatorPolicy emulator) {
  const std::string* dedicated = Find(flavor.extra_specs, "resources:PCPU");
  const std::string* shared = Find(flavor.extra_specs, "resources:VCPU");
  if (dedicated == nullptr && shared == nullptr) return policy;
  const std::string name = dedicated != nullptr ? "resources:PCPU" : "resources:VCPU";
  if (dedicated != nullptr && shared != nullptr) {
    return Bad("InvalidRequest", "resources:PCPU and resources:VCPU can not be set together",
               "extra_specs.resources:PCPU");
  }
  if (Find(flavor.extra_specs, "hw:cpu_policy") != nullptr) {
    return Bad("InvalidRequest", name + " can not be set together with hw:cpu_policy", "extra_specs." + name);
  }
  uint64_t expected = flavor.vcpus;
  if (dedicated != nullptr && emulator == EmulatorPolicy::kIsolate) ++expected;
  const std::string& text = dedicated != nullptr ? *dedicated : *shared;
  if (!ParseWhole(text, expected, expected).has_value()) {
    return Bad("InvalidRequest",
               name + " is \"" + text + "\", must be " + std::to_string(expected) + " for " +
                   std::to_string(flavor.vcpus) + " vCPUs",
               "extra_specs." + name);
  }
  if (dedicated != nullptr) return CpuPolicy::kDedicated;
  if (policy != CpuPolicy::kShared) {
    return Bad("InvalidRequest", "resources:VCPU contradicts hw_cpu_policy of the image",
               "extra_specs.resources:VCPU");
  }
  return policy;
}

Result<CpuSet> ResolveMask(const Flavor& flavor, CpuPolicy policy) {
  const std::string field = "extra_specs.hw:cpu_dedicated_mask";
  const std::string* text = Find(flavor.extra_specs, "hw:cpu_dedicated_mask");
  if (text == nullptr) {
    if (policy != CpuPolicy::kMixed) return CpuSet();
    return Bad("RequiredMixedOrRealtimeCPUMask", "cpu policy mixed needs hw:cpu_dedicated_mask", field);
  }
  CpuSet all = CpuSet::Range(0, flavor.vcpus - 1);
  bool only_exclusions =
      text->find_first_not_of(" \t") != std::string::npos && (*text)[text->find_first_not_of(" \t")] == '^';
  auto parsed = ParseCpuSpec(only_exclusions ? "0-" + std::to_string(flavor.vcpus - 1) + "," + *text : *text);
  if (!parsed.has_value()) return Bad("InvalidMixedInstanceDedicatedMask", parsed.error().message(), field);
  std::string range = "of the vCPUs 0-" + std::to_string(flavor.vcpus - 1);
  if (!all.Contains(*parsed)) {
    return Bad("InvalidMixedInstanceDedicatedMask", "mask \"" + *text + "\" names CPUs that are not " + range,
               field);
  }
  if (policy != CpuPolicy::kMixed) {
    return Bad("RequiredMixedInstancePolicy",
               std::string("mask \"") + *text + "\" needs cpu policy mixed, not " + CpuPolicyName(policy),
               field);
  }
  if (parsed->empty() || *parsed == all) {
    return Bad("InvalidMixedInstanceDedicatedMask",
               "mask \"" + *text + "\" must name some but not all " + range, field);
  }
  return *parsed;
}

Result<ThreadPolicy> ResolveThreads(const Flavor& flavor, const Properties& image, CpuPolicy policy) {
  static const std::vector<std::pair<std::string_view, ThreadPolicy>> values = {
      {"prefer", ThreadPolicy::kPrefer},
      {"require", ThreadPolicy::kRequire},
      {"isolate", ThreadPolicy::kIsolate}};
  TRY_ASSIGN(auto own, ParseOneOf(flavor.extra_specs, "extra_specs.", "hw:cpu_thread_policy", values,
                                  "InvalidCPUThreadAllocationPolicy"));
  TRY_ASSIGN(auto other, ParseOneOf(image, "image_properties.", "hw_cpu_thread_policy", values,
                                    "InvalidCPUThreadAllocationPolicy"));
  std::string field = own ? "extra_specs.hw:cpu_thread_policy" : "image_properties.hw_cpu_thread_policy";
  if ((own || other) && policy == CpuPolicy::kShared) {
    return Bad("CPUThreadPolicyConfigurationInvalid", "a thread policy needs cpu policy dedicated or mixed",
               field);
  }
  if (!own) return other.value_or(ThreadPolicy::kAny);
  if (*own == ThreadPolicy::kPrefer) return other.value_or(ThreadPolicy::kPrefer);
  if (other && *other != *own) {
    return Bad("ImageCPUThreadPolicyForbidden",
               std::string("hw_cpu_thread_policy is \"") + ThreadPolicyName(*other) +
                   "\" although the flavor's hw:cpu_thread_policy is \"" + ThreadPolicyName(*own) + "\"",
               "image_properties.hw_cpu_thread_policy");
  }
  return *own;
}

Result<EmulatorPolicy> ResolveEmulator(const Flavor& flavor) {
  TRY_ASSIGN(auto policy, ParseOneOf<EmulatorPolicy>(
                              flavor.extra_specs, "extra_specs.", "hw:emulator_threads_policy",
                              {{"share", EmulatorPolicy::kShare}, {"isolate", EmulatorPolicy::kIsolate}},
                              "InvalidEmulatorThreadsPolicy"));
  return policy.value_or(EmulatorPolicy::kShare);
}

Result<PageRequest> ResolvePages(const Flavor& flavor, const Properties& image) {
  const std::string* own = Find(flavor.extra_specs, "hw:mem_page_size");
  const std::string* other = Find(image, "hw_mem_page_size");
  PageRequest pages;
  if (own != nullptr) {
    auto parsed = ParsePageSize(*own);
    if (!parsed.has_value()) return std::move(parsed.error()).WithField("extra_specs.hw:mem_page_size");
    pages = *parsed;
  }
  if (other == nullptr) return pages;
  bool open = pages.kind == PageRequest::Kind::kLarge || pages.kind == PageRequest::Kind::kAny;
  if (!open) {
    return Bad("MemoryPageSizeForbidden",
               "hw_mem_page_size is \"" + *other +
                   "\", which only a flavor with hw:mem_page_size large or any allows",
               "image_properties.hw_mem_page_size");
  }
  auto parsed = ParsePageSize(*other);
  if (!parsed.has_value()) return std::move(parsed.error()).WithField("image_properties.hw_mem_page_size");
  return *parsed;
}

}  // namespace

Result<CpuChoice> ResolveCpu(const Flavor& flavor, const Properties& image, RequestSpec& spec) {
  CpuChoice choice;
  TRY_ASSIGN(choice.numa_nodes, ResolveNodes(flavor, image));
  TRY_ASSIGN(spec.emulator_policy, ResolveEmulator(flavor));
  TRY_ASSIGN(CpuPolicy policy, MergeCpuPolicy(flavor, image));
  TRY_ASSIGN(spec.cpu_policy, ApplyResources(flavor, policy, spec.emulator_policy));
  TRY_ASSIGN(choice.dedicated_mask, ResolveMask(flavor, spec.cpu_policy));
  TRY_ASSIGN(spec.thread_policy, ResolveThreads(flavor, image, spec.cpu_policy));
  TRY_ASSIGN(spec.pages, ResolvePages(flavor, image));
  if (spec.emulator_policy == EmulatorPolicy::kIsolate && spec.cpu_policy == CpuPolicy::kShared) {
    return Bad("BadRequirementEmulatorThreadsPolicy",
               "hw:emulator_threads_policy isolate needs cpu policy dedicated or mixed",
               "extra_specs.hw:emulator_threads_policy");
  }
  TRY_ASSIGN(auto smt,
             ParseOneOf<SmtTrait>(flavor.extra_specs, "extra_specs.", "trait:HW_CPU_HYPERTHREADING",
                                  {{"required", SmtTrait::kRequired}, {"forbidden", SmtTrait::kForbidden}},
                                  "InvalidTraitValue"));
  spec.smt = smt.value_or(SmtTrait::kAny);
  return choice;
}

}  // namespace berth::scheduler
