#include "scheduler/service/wire.h"

#include <algorithm>
#include <map>
#include <utility>

#include "placement/wire/claim.h"
#include "placement/wire/port_settings.h"
#include "placement/wire/status.h"

namespace berth::scheduler {
namespace {

constexpr int kMaxPorts = 64;
constexpr int kMaxProperties = 256;
constexpr int kMaxOptions = 256;
constexpr int kMaxInstances = 4096;
constexpr int kMaxNames = 256;
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

void FillReason(const Reason& reason, bool with_text, v1::Reason* out) {
  out->set_code(reason.code);
  out->set_have(reason.have);
  out->set_need(reason.need);
  out->set_where(reason.where);
  if (with_text) out->set_text(reason.text);
}

void ReasonToProto(const Refusal& refusal, bool with_text, v1::HostVerdict* out) {
  out->set_host(refusal.host_name);
  FillReason(refusal.reason, with_text, out->add_reasons());
}

Status NamesFromProto(const google::protobuf::RepeatedPtrField<std::string>& in, const std::string& field,
                      std::vector<std::string>& out) {
  TRY(CheckCount(in.size(), kMaxNames, field));
  for (const std::string& name : in) {
    TRY(CheckText(name, field));
    out.push_back(name);
  }
  return OkStatus();
}

// A group without policy is one that is there.
Status GroupFromProto(const v1::ServerGroup& in, InstanceRequest& request) {
  request.group_policy_given = in.policy() != v1::GROUP_POLICY_UNSPECIFIED;
  v1::ServerGroup group = in;
  if (!request.group_policy_given) group.set_policy(v1::GROUP_POLICY_ANTI_AFFINITY);
  TRY_ASSIGN(request.group, wire::ServerGroupFromProto(group, "group"));
  return OkStatus();
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
  TRY(CheckText(in.availability_zone(), "availability_zone"));
  TRY(CheckText(in.project(), "project"));
  request.availability_zone = in.availability_zone();
  request.project = in.project();
  TRY(NamesFromProto(in.different_host(), "different_host", request.different_host));
  TRY(NamesFromProto(in.same_host(), "same_host", request.same_host));
  if (in.has_group()) TRY(GroupFromProto(in.group(), request));
  return request;
}

Result<BatchRequest> BatchFromProto(const google::protobuf::RepeatedPtrField<v1::CreateInstanceRequest>& in,
                                    bool all_or_nothing) {
  BatchRequest batch;
  batch.all_or_nothing = all_or_nothing;
  TRY(CheckCount(in.size(), kMaxInstances, "instances"));
  batch.instances.reserve(static_cast<size_t>(in.size()));
  for (int i = 0; i < in.size(); ++i) {
    auto request = RequestFromProto(in.Get(i));
    if (!request.has_value()) {
      std::string field = "instances[" + std::to_string(i) + "]." + request.error().field();
      return std::move(request.error()).WithField(std::move(field));
    }
    batch.instances.push_back(*std::move(request));
    batch.instances.back().dry_run = false;
  }
  return batch;
}

void ResultToProto(const InstanceAnswer& answer, v1::InstanceResult* out) {
  out->set_code(wire::ToGrpc(nullptr, answer.status).error_code());
  out->set_message(answer.status.message());
  out->set_field(answer.status.field());
  if (answer.claim) wire::ClaimToProto(*answer.claim, out->mutable_claim());
  if (answer.status.ok()) out->set_host_name(answer.host_name);
  for (const std::string& host : answer.alternates) out->add_alternates(host);
  std::map<std::string, v1::ReasonCount> counts;
  for (const Refusal& refusal : answer.decision.refusals) {
    v1::ReasonCount& count = counts[refusal.reason.code];
    if (count.hosts() == 0) {
      count.set_code(refusal.reason.code);
      count.set_nearest_host(refusal.host_name);
      FillReason(refusal.reason, true, count.mutable_nearest());
    }
    count.set_hosts(count.hosts() + 1);
  }
  std::vector<v1::ReasonCount> order;
  for (auto& [code, count] : counts) order.push_back(std::move(count));
  std::stable_sort(order.begin(), order.end(),
                   [](const auto& a, const auto& b) { return a.hosts() > b.hosts(); });
  for (v1::ReasonCount& count : order) *out->add_reasons() = std::move(count);
}

void GroupsToProto(const std::vector<Mirror::Group>& groups, const std::vector<Mirror::FoundClaim>& instances,
                   const std::string& only, v1::ListGroupsResponse* out) {
  std::map<std::string, v1::ListGroupsResponse::Group*> by_name;
  for (const Mirror::Group& group : groups) {
    if (!only.empty() && group.rules.name != only) continue;
    v1::ListGroupsResponse::Group* one = out->add_groups();
    wire::ServerGroupToProto(group.rules, one->mutable_group());
    by_name[group.rules.name] = one;
  }
  for (const Mirror::FoundClaim& instance : instances) {
    if (!instance.claim->group) continue;
    auto group = by_name.find(instance.claim->group->name);
    if (group == by_name.end()) continue;
    auto* member = group->second->add_members();
    member->set_instance(instance.claim->name);
    member->set_uuid(instance.claim->consumer.ToString());
    member->set_host(instance.host_name);
  }
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
    one->set_disk_gib(flavor.disk_gib);
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
