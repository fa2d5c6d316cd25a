#include "placement/store/store_file.h"

#include <google/protobuf/util/json_util.h>

#include <cmath>
#include <limits>
#include <string>

#include "berth/v1/store.pb.h"
#include "placement/wire/claim.h"
#include "placement/wire/fields.h"
#include "placement/wire/host.h"

namespace berth::placement {
namespace {

constexpr char kProgram[] = "berth-placement";
constexpr uint32_t kVersion = 1;

class LineWriter {
 public:
  explicit LineWriter(std::ostream& out) : out_(out) {}

  Status Write(const v1::ExportLine& line) {
    std::string text;
    google::protobuf::util::JsonPrintOptions options;
    options.preserve_proto_field_names = true;
    auto status = google::protobuf::util::MessageToJsonString(line, &text, options);
    if (!status.ok()) return Internal("a line cannot be written: " + std::string(status.message()));
    out_ << text << '\n';
    ++lines_;
    return out_.good() ? OkStatus() : Unavailable("the file cannot be written");
  }
  uint64_t lines() const { return lines_; }

 private:
  std::ostream& out_;
  uint64_t lines_ = 0;
};

void FillProvider(const db::ProviderRecord& record, v1::ExportProvider* out) {
  const Provider& p = record.provider;
  out->set_uuid(p.uuid.ToString());
  out->set_name(p.name);
  if (!p.parent.is_nil()) out->set_parent(p.parent.ToString());
  out->set_of_agent(record.owner == TreeOwner::kAgent);
  for (const Inventory& i : p.inventories) {
    v1::ExportInventory* inventory = out->add_inventories();
    inventory->set_resource_class(static_cast<uint32_t>(i.resource_class));
    inventory->set_total(i.total);
    inventory->set_reserved(i.reserved);
    inventory->set_min_unit(i.min_unit);
    inventory->set_max_unit(i.max_unit);
    inventory->set_step_size(i.step_size);
    inventory->set_allocation_ratio(i.allocation_ratio);
  }
  for (TraitId id : p.traits) out->add_traits(static_cast<uint32_t>(id));
  for (AggregateId id : p.aggregates) out->add_aggregates(static_cast<uint32_t>(id));
  out->set_created_at_ms(p.created_at_ms);
  out->set_updated_at_ms(p.updated_at_ms);
  out->set_inventories_at_ms(p.inventories_at_ms);
}

void FillConsumer(const Consumer& consumer, v1::ExportConsumer* out) {
  out->set_uuid(consumer.uuid.ToString());
  out->set_generation(consumer.generation);
  out->set_project(static_cast<uint32_t>(consumer.project));
  out->set_user(static_cast<uint32_t>(consumer.user));
  out->set_type(static_cast<uint32_t>(consumer.type));
  out->set_created_at_ms(consumer.created_at_ms);
  out->set_updated_at_ms(consumer.updated_at_ms);
  for (const Allocation& a : consumer.allocations) {
    v1::ExportAllocation* allocation = out->add_allocations();
    allocation->set_provider(a.provider.ToString());
    allocation->set_resource_class(static_cast<uint32_t>(a.resource_class));
    allocation->set_amount(a.amount);
  }
}

Status CheckAmount(int64_t value, int64_t least, const std::string& field) {
  if (value >= least && value <= kMaxAmount) return OkStatus();
  return InvalidArgument(std::to_string(value) + " is out of range", field,
                         "allowed: " + std::to_string(least) + ".." + std::to_string(kMaxAmount));
}

Result<db::ProviderRecord> ReadProvider(const v1::ExportProvider& in) {
  db::ProviderRecord record;
  Provider& p = record.provider;
  TRY_ASSIGN(p.uuid, wire::ReadUuid(in.uuid(), "provider.uuid"));
  p.name = in.name();
  if (!in.parent().empty()) {
    TRY_ASSIGN(p.parent, wire::ReadUuid(in.parent(), "provider.parent"));
  }
  record.owner = in.of_agent() ? TreeOwner::kAgent : TreeOwner::kClients;
  for (const v1::ExportInventory& i : in.inventories()) {
    TRY(CheckAmount(i.total(), 1, "provider.inventories.total"));
    TRY(CheckAmount(i.reserved(), 0, "provider.inventories.reserved"));
    TRY(CheckAmount(i.min_unit(), 1, "provider.inventories.min_unit"));
    TRY(CheckAmount(i.max_unit(), 1, "provider.inventories.max_unit"));
    TRY(CheckAmount(i.step_size(), 1, "provider.inventories.step_size"));
    // What the API takes: also a negative one. Not a number is no ratio.
    if (!(std::fabs(i.allocation_ratio()) <= std::numeric_limits<float>::max())) {
      return InvalidArgument("no ratio", "provider.inventories.allocation_ratio");
    }
    p.inventories.push_back({ResourceClassId{i.resource_class()}, i.total(), i.reserved(), i.min_unit(),
                             i.max_unit(), i.step_size(), i.allocation_ratio()});
  }
  for (uint32_t id : in.traits()) p.traits.push_back(TraitId{id});
  for (uint32_t id : in.aggregates()) p.aggregates.push_back(AggregateId{id});
  p.created_at_ms = in.created_at_ms();
  p.updated_at_ms = in.updated_at_ms();
  p.inventories_at_ms = in.inventories_at_ms();
  return record;
}

Result<std::shared_ptr<const Consumer>> ReadConsumer(const v1::ExportConsumer& in) {
  auto consumer = std::make_shared<Consumer>();
  TRY_ASSIGN(consumer->uuid, wire::ReadUuid(in.uuid(), "consumer.uuid"));
  consumer->generation = in.generation();
  consumer->project = ProjectId{in.project()};
  consumer->user = UserId{in.user()};
  consumer->type = ConsumerTypeId{in.type()};
  consumer->created_at_ms = in.created_at_ms();
  consumer->updated_at_ms = in.updated_at_ms();
  for (const v1::ExportAllocation& a : in.allocations()) {
    TRY_ASSIGN(Uuid provider, wire::ReadUuid(a.provider(), "consumer.allocations.provider"));
    TRY(CheckAmount(a.amount(), 1, "consumer.allocations.amount"));
    consumer->allocations.push_back({provider, ResourceClassId{a.resource_class()}, a.amount()});
  }
  return std::shared_ptr<const Consumer>(std::move(consumer));
}

Result<db::HostRecord> ReadHost(const v1::ExportHost& in) {
  db::HostRecord host;
  host.generation = in.generation();
  TRY_ASSIGN(HostReport reported, wire::HostFromProto(in.reported()));
  host.reported = host.effective = std::make_shared<const HostReport>(std::move(reported));
  if (in.has_effective()) {
    TRY_ASSIGN(HostReport effective, wire::HostFromProto(in.effective()));
    host.effective = std::make_shared<const HostReport>(std::move(effective));
  }
  return host;
}

// One run of ReadStoreFile.
class LineReader {
 public:
  Status Read(const std::string& text) {
    v1::ExportLine line;
    auto status = google::protobuf::util::JsonStringToMessage(text, &line);
    if (!status.ok()) return InvalidArgument("no line of an export: " + std::string(status.message()));
    if (ended_) return InvalidArgument("there are lines after the end");
    if (!begun_ && !line.has_header()) return InvalidArgument("the file does not begin with a header");
    switch (line.line_case()) {
      case v1::ExportLine::kHeader:
        TRY(ReadHeader(line.header()));
        break;
      case v1::ExportLine::kName: {
        const v1::ExportName& name = line.name();
        if (name.kind() < 1 || name.kind() > 6) {
          return InvalidArgument(std::to_string(name.kind()) + " is no kind", "name.kind", "allowed: 1..6");
        }
        contents_.names.push_back({static_cast<db::NameKind>(name.kind()), name.id(), name.name(),
                                   name.created_at_ms(), name.updated_at_ms()});
        break;
      }
      case v1::ExportLine::kHost: {
        TRY_ASSIGN(db::HostRecord host, ReadHost(line.host()));
        contents_.hosts.push_back(std::move(host));
        break;
      }
      case v1::ExportLine::kClaim: {
        TRY_ASSIGN(Claim claim, wire::ClaimFromProto(line.claim()));
        contents_.claims.push_back(std::make_shared<const Claim>(std::move(claim)));
        break;
      }
      case v1::ExportLine::kProvider: {
        TRY_ASSIGN(db::ProviderRecord provider, ReadProvider(line.provider()));
        contents_.providers.push_back(std::move(provider));
        break;
      }
      case v1::ExportLine::kTree: {
        db::TreeGenerations tree;
        TRY_ASSIGN(tree.root, wire::ReadUuid(line.tree().root(), "tree.root"));
        tree.generations.assign(line.tree().generations().begin(), line.tree().generations().end());
        contents_.generations.push_back(std::move(tree));
        break;
      }
      case v1::ExportLine::kConsumer: {
        TRY_ASSIGN(auto consumer, ReadConsumer(line.consumer()));
        contents_.consumers.push_back(std::move(consumer));
        break;
      }
      case v1::ExportLine::kEnd:
        if (line.end().lines() != lines_) {
          return InvalidArgument("the export had " + std::to_string(line.end().lines()) +
                                 " lines, here are " + std::to_string(lines_));
        }
        ended_ = true;
        break;
      case v1::ExportLine::LINE_NOT_SET:
        return InvalidArgument("an empty line");
    }
    ++lines_;
    return OkStatus();
  }

  Result<db::Contents> Take() {
    if (!ended_) return InvalidArgument("the file has no end: it is cut short");
    return std::move(contents_);
  }

 private:
  Status ReadHeader(const v1::ExportHeader& header) {
    if (begun_) return InvalidArgument("a second header");
    if (header.program() != kProgram)
      return InvalidArgument("no export of berth-placement", "header.program");
    if (header.version() != kVersion) {
      return InvalidArgument(
          "version " + std::to_string(header.version()) + ", known is " + std::to_string(kVersion),
          "header.version");
    }
    begun_ = true;
    contents_.sequence = header.sequence();
    contents_.audit = header.audit();
    return OkStatus();
  }

  db::Contents contents_;
  uint64_t lines_ = 0;
  bool begun_ = false;
  bool ended_ = false;
};

}  // namespace

Status WriteStoreFile(const db::Contents& contents, std::ostream& out) {
  LineWriter writer(out);
  v1::ExportLine line;
  line.mutable_header()->set_program(kProgram);
  line.mutable_header()->set_version(kVersion);
  line.mutable_header()->set_sequence(contents.sequence);
  line.mutable_header()->set_audit(contents.audit);
  TRY(writer.Write(line));
  for (const db::NameRecord& name : contents.names) {
    line.mutable_name()->set_kind(static_cast<uint32_t>(name.kind));
    line.mutable_name()->set_id(name.id);
    line.mutable_name()->set_name(name.name);
    line.mutable_name()->set_created_at_ms(name.created_at_ms);
    line.mutable_name()->set_updated_at_ms(name.updated_at_ms);
    TRY(writer.Write(line));
  }
  for (const db::HostRecord& host : contents.hosts) {
    line.clear_host();
    line.mutable_host()->set_generation(host.generation);
    wire::HostToProto(*host.reported, line.mutable_host()->mutable_reported());
    if (*host.effective != *host.reported) {
      wire::HostToProto(*host.effective, line.mutable_host()->mutable_effective());
    }
    TRY(writer.Write(line));
  }
  for (const auto& claim : contents.claims) {
    wire::ClaimToProto(*claim, line.mutable_claim());
    TRY(writer.Write(line));
  }
  for (const db::ProviderRecord& provider : contents.providers) {
    line.clear_provider();
    FillProvider(provider, line.mutable_provider());
    TRY(writer.Write(line));
  }
  for (const db::TreeGenerations& tree : contents.generations) {
    line.clear_tree();
    line.mutable_tree()->set_root(tree.root.ToString());
    for (uint64_t generation : tree.generations) line.mutable_tree()->add_generations(generation);
    TRY(writer.Write(line));
  }
  for (const auto& consumer : contents.consumers) {
    line.clear_consumer();
    FillConsumer(*consumer, line.mutable_consumer());
    TRY(writer.Write(line));
  }
  line.mutable_end()->set_lines(writer.lines());
  TRY(writer.Write(line));
  out.flush();
  return out.good() ? OkStatus() : Unavailable("the file cannot be written");
}

Result<db::Contents> ReadStoreFile(std::istream& in) {
  LineReader reader;
  std::string text;
  for (uint64_t number = 1; std::getline(in, text); ++number) {
    if (Status status = reader.Read(text); !status.ok()) {
      return std::move(status).WithContext("line " + std::to_string(number));
    }
  }
  if (in.bad()) return Unavailable("the file cannot be read");
  return reader.Take();
}

}  // namespace berth::placement
