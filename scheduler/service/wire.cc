#include "scheduler/service/wire.h"

#include <algorithm>
#include <utility>

#include "placement/wire/port_settings.h"

namespace berth::scheduler {
namespace {

constexpr int kMaxPorts = 64;
constexpr int kMaxProperties = 256;
constexpr int kMaxOptions = 256;
constexpr size_t kMaxText = 4096;

Status CheckText(const std::string& text, const std::string& field) {
  if (text.size() <= kMaxText && text.find('\0') == std::string::npos) return OkStatus();
  return InvalidArgument("must have at most " + std::to_string(kMaxText) + " bytes and no NUL byte", field);
}

Status CheckCount(int count, int limit, const std::string& field) {
  if (count <= limit) return OkStatus();
  return InvalidArgument(
      "has " + std::to_string(count) + " items, at most " + std::to_string(limit) + " are allowed", field);
}

Result<PortRequest> PortFromProto(const v1::Port& in, const std::string& field) {
  TRY(CheckText(in.id(), field + ".id"));
  TRY(CheckText(in.physical_network(), field + ".physical_network"));
  PortRequest port;
  port.id = in.id();
  port.vnic_type = in.vnic_type().substr(0, 64);
  port.numa_policy = in.numa_policy().substr(0, 64);
  if (in.has_physical_network()) port.physical_network = in.physical_network();
  if (in.has_trusted()) {
    port.trusted = in.trusted();
    if (in.trusted()) port.settings.trusted = true;
  }
  TRY(wire::PortSettingsFromProto(in.settings(), field + ".settings", port.settings));
  return port;
}

Result<placement::InstanceSpec> BootFromProto(const v1::BootSource& in) {
  placement::InstanceSpec boot;
  TRY(CheckText(in.kernel(), "boot.kernel"));
  TRY(CheckText(in.initramfs(), "boot.initramfs"));
  TRY(CheckText(in.cmdline(), "boot.cmdline"));
  TRY(CheckCount(in.disks_size(), kMaxOptions, "boot.disks"));
  TRY(CheckCount(in.nets_size(), kMaxOptions, "boot.nets"));
  boot.kernel = in.kernel();
  boot.initramfs = in.initramfs();
  boot.cmdline = in.cmdline();
  for (const std::string& disk : in.disks()) {
    TRY(CheckText(disk, "boot.disks"));
    boot.disks.push_back(disk);
  }
  for (const std::string& net : in.nets()) {
    TRY(CheckText(net, "boot.nets"));
    boot.nets.push_back(net);
  }
  return boot;
}

void ReasonToProto(const Refusal& refusal, bool with_text, v1::HostVerdict* out) {
  out->set_host(refusal.host_name);
  v1::Reason* reason = out->add_reasons();
  reason->set_code(refusal.reason.code);
  reason->set_have(refusal.reason.have);
  reason->set_need(refusal.reason.need);
  reason->set_where(refusal.reason.where);
  if (with_text) reason->set_text(refusal.reason.text);
}

}  // namespace

Result<InstanceRequest> RequestFromProto(const v1::CreateInstanceRequest& in) {
  InstanceRequest request;
  if (!in.uuid().empty()) {
    auto uuid = Uuid::Parse(in.uuid());
    if (!uuid.has_value()) return std::move(uuid.error()).WithField("uuid");
    request.uuid = *uuid;
  }
  TRY(CheckText(in.name(), "name"));
  TRY(CheckText(in.flavor(), "flavor"));
  TRY(CheckText(in.host(), "host"));
  request.name = in.name();
  request.flavor = in.flavor();
  request.host = in.host();
  request.dry_run = in.dry_run();
  TRY(CheckCount(static_cast<int>(in.image_properties().size()), kMaxProperties, "image_properties"));
  for (const auto& [name, value] : in.image_properties()) {
    TRY(CheckText(name, "image_properties"));
    TRY(CheckText(value, "image_properties." + name));
    request.image_properties[name] = value;
  }
  TRY(CheckCount(in.ports_size(), kMaxPorts, "ports"));
  for (int i = 0; i < in.ports_size(); ++i) {
    TRY_ASSIGN(PortRequest port, PortFromProto(in.ports(i), "ports[" + std::to_string(i) + "]"));
    request.ports.push_back(std::move(port));
  }
  TRY_ASSIGN(request.boot, BootFromProto(in.boot()));
  return request;
}

void VerdictsToProto(const Decision& decision, google::protobuf::RepeatedPtrField<v1::HostVerdict>* out) {
  for (const std::string& host : decision.fitting) {
    v1::HostVerdict* verdict = out->Add();
    verdict->set_host(host);
    verdict->set_fits(true);
  }
  for (const Refusal& refusal : decision.refusals) ReasonToProto(refusal, true, out->Add());
  std::sort(out->begin(), out->end(), [](const auto& a, const auto& b) { return a.host() < b.host(); });
}

std::string NoFitDetail(const Decision& decision, size_t limit) {
  v1::NoFit full;
  for (const Refusal& refusal : decision.refusals) ReasonToProto(refusal, true, full.add_hosts());
  if (full.ByteSizeLong() <= limit) return full.SerializeAsString();
  v1::NoFit shorter;
  size_t size = 0;
  for (const Refusal& refusal : decision.refusals) {
    v1::HostVerdict verdict;
    ReasonToProto(refusal, false, &verdict);
    size += verdict.ByteSizeLong() + 4;  // its tag and length
    if (size > limit) break;
    *shorter.add_hosts() = std::move(verdict);
  }
  return shorter.SerializeAsString();
}

void FlavorsToProto(const Catalogue& catalogue, v1::ListFlavorsResponse* out) {
  for (const auto& [name, flavor] : catalogue.flavors) {
    v1::Flavor* one = out->add_flavors();
    one->set_name(name);
    one->set_vcpus(flavor.vcpus);
    one->set_memory_mib(flavor.memory_mib);
    for (const auto& [key, value] : flavor.extra_specs) (*one->mutable_extra_specs())[key] = value;
  }
}

void AliasesToProto(const Catalogue& catalogue, v1::ListAliasesResponse* out) {
  for (const auto& [name, entries] : catalogue.aliases) {
    for (const AliasEntry& entry : entries) {
      v1::Alias* one = out->add_aliases();
      one->set_name(name);
      one->set_vendor_id(entry.vendor_id);
      one->set_product_id(entry.product_id);
      if (entry.device_type) one->set_device_type(DeviceKindName(*entry.device_type));
      if (entry.numa_policy) one->set_numa_policy(AffinityPolicyName(*entry.numa_policy));
      one->set_resource_class(entry.resource_class);
      for (const std::string& trait : entry.traits) one->add_traits(trait);
    }
  }
}

}  // namespace berth::scheduler
