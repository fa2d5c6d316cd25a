#include "scheduler/request/request_spec.h"

namespace berth::scheduler {

const char* CpuPolicyName(CpuPolicy policy) {
  switch (policy) {
    case CpuPolicy::kShared:
      return "shared";
    case CpuPolicy::kDedicated:
      return "dedicated";
    case CpuPolicy::kMixed:
      return "mixed";
  }
  return "";
}

const char* ThreadPolicyName(ThreadPolicy policy) {
  switch (policy) {
    case ThreadPolicy::kAny:
      return "none";
    case ThreadPolicy::kPrefer:
      return "prefer";
    case ThreadPolicy::kRequire:
      return "require";
    case ThreadPolicy::kIsolate:
      return "isolate";
  }
  return "";
}

const char* AffinityPolicyName(AffinityPolicy policy) {
  switch (policy) {
    case AffinityPolicy::kLegacy:
      return "legacy";
    case AffinityPolicy::kRequired:
      return "required";
    case AffinityPolicy::kSocket:
      return "socket";
    case AffinityPolicy::kPreferred:
      return "preferred";
  }
  return "";
}

std::optional<AffinityPolicy> ParseAffinityPolicy(std::string_view name) {
  for (AffinityPolicy policy : {AffinityPolicy::kLegacy, AffinityPolicy::kRequired, AffinityPolicy::kSocket,
                                AffinityPolicy::kPreferred}) {
    if (name == AffinityPolicyName(policy)) return policy;
  }
  return std::nullopt;
}

const char* DeviceKindName(DeviceKind kind) {
  switch (kind) {
    case DeviceKind::kPci:
      return "type-PCI";
    case DeviceKind::kPf:
      return "type-PF";
    case DeviceKind::kVf:
      return "type-VF";
    case DeviceKind::kVdpa:
      return "vdpa";
  }
  return "";
}

std::optional<DeviceKind> ParseDeviceKind(std::string_view name) {
  for (DeviceKind kind : {DeviceKind::kPci, DeviceKind::kPf, DeviceKind::kVf, DeviceKind::kVdpa}) {
    if (name == DeviceKindName(kind)) return kind;
  }
  return std::nullopt;
}

const char* ViommuModelName(ViommuModel model) {
  switch (model) {
    case ViommuModel::kNone:
      return "";
    case ViommuModel::kVirtio:
      return "virtio";
    case ViommuModel::kIntel:
      return "intel";
    case ViommuModel::kSmmuv3:
      return "smmuv3";
    case ViommuModel::kAuto:
      return "auto";
  }
  return "";
}

namespace {

struct EncryptionWord {
  const char* name;
  Encryption model;
};
constexpr EncryptionWord kEncryptions[] = {
    {"amd-sev", Encryption::kAmdSev},        {"amd-sev-es", Encryption::kAmdSevEs},
    {"amd-sev-snp", Encryption::kAmdSevSnp}, {"intel-tdx", Encryption::kIntelTdx},
    {"arm-cca", Encryption::kArmCca},        {"sw-protected", Encryption::kSwProtected}};

}  // namespace

const char* EncryptionName(Encryption model) {
  for (const EncryptionWord& word : kEncryptions) {
    if (word.model == model) return word.name;
  }
  return "";
}

std::optional<Encryption> ParseEncryption(std::string_view name) {
  for (const EncryptionWord& word : kEncryptions) {
    if (name == word.name) return word.model;
  }
  return std::nullopt;
}

}  // namespace berth::scheduler
