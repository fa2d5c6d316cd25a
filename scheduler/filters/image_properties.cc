#include <algorithm>
#include <cctype>

#include "scheduler/filters/registry.h"

namespace berth::scheduler {
namespace {

std::string Upper(std::string_view text) {
  std::string out;
  for (unsigned char c : text) out += static_cast<char>(std::toupper(c));
  return out;
}

const std::string* Find(const RequestSpec& spec, std::string_view name) {
  for (const auto& [key, value] : spec.host.image) {
    if (key == name) return &value;
  }
  return nullptr;
}

// Keeps hosts that can run the image: its architecture, a hypervisor that we are, and the model of the
// virtual IOMMU that flavor or image ask for. A host tells its architecture by the trait COMPUTE_ARCH_<NAME>
// and vIOMMU models by COMPUTE_VIOMMU_MODEL_<NAME>; one that tells no architecture is x86_64, and one that
// tells no vIOMMU model is not held to any.
class ImagePropertiesFilter final : public Filter {
 public:
  bool Concerns(const RequestSpec& spec) const override {
    return Architecture(spec) != nullptr || Hypervisor(spec) != nullptr || NamesViommu(spec);
  }
  bool Keeps(const FilteredHost& host, const RequestSpec& spec) const override {
    return RunsArchitecture(host.facts, spec) && IsHypervisor(spec) && HasViommu(host.facts, spec);
  }
  Reason Why(const FilteredHost& host, const RequestSpec& spec) const override {
    if (!RunsArchitecture(host.facts, spec))
      return {"", "", *Architecture(spec), "image",
              "the host is not of the image's architecture " + *Architecture(spec)};
    if (!IsHypervisor(spec))
      return {"", "kvm", *Hypervisor(spec), "image",
              "the image asks for the hypervisor " + *Hypervisor(spec)};
    return {"", "", ViommuModelName(spec.viommu), "host",
            std::string("the host offers no vIOMMU of model ") + ViommuModelName(spec.viommu)};
  }

 private:
  static const std::string* Architecture(const RequestSpec& spec) {
    const std::string* own = Find(spec, "hw_architecture");
    return own != nullptr ? own : Find(spec, "architecture");
  }
  static const std::string* Hypervisor(const RequestSpec& spec) {
    for (const char* name : {"img_hv_type", "hypervisor_type", "hw_hypervisor_type"}) {
      if (const std::string* value = Find(spec, name)) return value;
    }
    return nullptr;
  }
  static bool NamesViommu(const RequestSpec& spec) {
    return spec.viommu != ViommuModel::kNone && spec.viommu != ViommuModel::kAuto;
  }
  static bool TellsAny(const HostFacts& facts, std::string_view prefix) {
    return std::any_of(facts.traits.begin(), facts.traits.end(),
                       [&](const std::string& trait) { return trait.starts_with(prefix); });
  }
  static bool RunsArchitecture(const HostFacts& facts, const RequestSpec& spec) {
    const std::string* wanted = Architecture(spec);
    if (wanted == nullptr) return true;
    if (!TellsAny(facts, "COMPUTE_ARCH_")) return *wanted == "x86_64";
    return facts.HasTrait("COMPUTE_ARCH_" + Upper(*wanted));
  }
  static bool IsHypervisor(const RequestSpec& spec) {
    const std::string* wanted = Hypervisor(spec);
    return wanted == nullptr || *wanted == "kvm" || *wanted == "qemu";
  }
  static bool HasViommu(const HostFacts& facts, const RequestSpec& spec) {
    if (!NamesViommu(spec) || !TellsAny(facts, "COMPUTE_VIOMMU_MODEL_")) return true;
    return facts.HasTrait("COMPUTE_VIOMMU_MODEL_" + Upper(ViommuModelName(spec.viommu)));
  }
};

}  // namespace

std::unique_ptr<Filter> MakeImagePropertiesFilter(const FilterSettings& /*settings*/) {
  return std::make_unique<ImagePropertiesFilter>();
}

}  // namespace berth::scheduler
