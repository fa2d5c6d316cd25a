#include <memory>
#include <string>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/instance_picture.h"
#include "cli/place_options.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/wire_json.h"
#include "cli/wish_options.h"

namespace berth::cli {
namespace {

constexpr uint32_t kMost = 4096;

struct Options {
  std::string prefix, flavor, kernel, initramfs, cmdline;
  uint32_t count = 1;
  uint32_t alternates = 0;
  WishOptions wish;
  PlaceOptions place;
  bool all_or_nothing = false;
  bool dry_run = false;
};

Result<v1::CreateInstancesRequest> BatchOf(const Options& options) {
  v1::CreateInstanceRequest one;
  one.set_flavor(options.flavor);
  TRY_ASSIGN(v1::Wish wish, options.wish.Parse(options.flavor));
  *one.mutable_image_properties() = wish.image_properties();
  *one.mutable_ports() = wish.ports();
  one.mutable_boot()->set_kernel(options.kernel);
  one.mutable_boot()->set_initramfs(options.initramfs);
  one.mutable_boot()->set_cmdline(options.cmdline);
  TRY(options.place.Fill(one));
  v1::CreateInstancesRequest batch;
  batch.set_all_or_nothing(options.all_or_nothing);
  for (uint32_t i = 1; i <= options.count; ++i) {
    v1::CreateInstanceRequest* next = batch.add_instances();
    *next = one;
    next->set_name(options.prefix + "-" + std::to_string(i));
  }
  return batch;
}

std::string ResultsText(const v1::CreateInstancesRequest& batch,
                        const google::protobuf::RepeatedPtrField<v1::InstanceResult>& results, bool dry_run) {
  Table table({{"NAME"}, {"HOST"}, {"DEVICES"}, {"WHAT"}});
  int made = 0;
  for (int i = 0; i < results.size() && i < batch.instances_size(); ++i) {
    const v1::InstanceResult& result = results.Get(i);
    std::vector<std::string> devices;
    for (const v1::DeviceBinding& device : result.claim().devices()) devices.push_back(device.address());
    std::string what = result.message();
    if (result.code() == 0) {
      ++made;
      what = dry_run ? "would go there" : "claimed";
      if (result.alternates_size() > 0)
        what += ", or " + Join({result.alternates().begin(), result.alternates().end()}, ", ");
    }
    table.AddRow({batch.instances(i).name(), result.host_name(), Join(devices, ","), what});
  }
  return table.ToString() + "\n" + std::to_string(made) + " of " +
         Count(static_cast<uint64_t>(results.size()), "instance") +
         (dry_run ? " would have a place\n" : " claimed\n");
}

Status CreateMany(Context& context, const Options& options) {
  TRY_ASSIGN(Format format, context.ChooseFormat({Format::kTable, Format::kJson, Format::kYaml}));
  TRY_ASSIGN(v1::CreateInstancesRequest batch, BatchOf(options));
  Client client(context);
  google::protobuf::RepeatedPtrField<v1::InstanceResult> results;
  if (options.dry_run) {
    v1::SelectDestinationsRequest request;
    *request.mutable_instances() = batch.instances();
    request.set_all_or_nothing(options.all_or_nothing);
    request.set_alternates(options.alternates);
    TRY_ASSIGN(v1::SelectDestinationsResponse response,
               client.Call(client.scheduler(), &v1::Scheduler::Stub::SelectDestinations, request));
    results = response.results();
  } else {
    TRY_ASSIGN(v1::CreateInstancesResponse response,
               client.Call(client.scheduler(), &v1::Scheduler::Stub::CreateInstances, batch));
    results = response.results();
  }
  context.terminal.out << (format == Format::kTable ? ResultsText(batch, results, options.dry_run)
                                                    : ToText(Json{{"results", ToJson(results)}}, format));
  for (const v1::InstanceResult& result : results) {
    if (result.code() != 0) return ResourceExhausted("not every instance has a place");
  }
  return OkStatus();
}

Status Watch(Context& context, const std::string& instance) {
  TRY_ASSIGN(Format format, context.ChooseFormat({Format::kTable, Format::kJson}));
  Client client(context);
  TRY(client.usable());
  if (!instance.empty()) {  // the stream would wait for one that may come
    v1::GetInstanceRequest known;
    known.set_instance(instance);
    TRY(client.Call(client.scheduler(), &v1::Scheduler::Stub::GetInstance, known));
  }
  v1::WatchInstancesRequest request;
  request.set_instance(instance);
  grpc::ClientContext call;
  auto stream = client.scheduler().WatchInstances(&call, request);
  v1::InstanceEvent event;
  while (stream->Read(&event)) {
    if (format == Format::kJson) {
      context.terminal.out << ToJson(event).dump() << "\n" << std::flush;
      continue;
    }
    const v1::Claim& claim = event.claim();
    if (event.kind() == v1::INSTANCE_EVENT_KIND_CHANGED)
      context.terminal.out << claim.name() << " " << InstanceStateText(claim.status().state()) << " on host "
                           << claim.host() << (claim.status().detail().empty() ? "" : ": ")
                           << OneLine(claim.status().detail()) << "\n"
                           << std::flush;
    if (event.kind() == v1::INSTANCE_EVENT_KIND_DELETED)
      context.terminal.out << claim.name() << " DELETED\n" << std::flush;
  }
  return client.Explained(client.scheduler(), wire::FromGrpc(stream->Finish(), call));
}

}  // namespace

void AddBatch(CLI::App& noun, Context& context, Verbs& verbs) {
  auto o = std::make_shared<Options>();
  CLI::App* many = AddVerb(noun, "create-many", "Create several alike: PREFIX-1, PREFIX-2, ...",
                           "berthctl instance create-many web --count 8 --flavor small \\\n"
                           "      --group web:anti-affinity --all-or-nothing --dry-run");
  many->add_option("PREFIX", o->prefix, "Beginning of the names")->required();
  many->add_option("--count", o->count, "How many")->required()->check(CLI::Range(1U, kMost));
  many->add_option("--flavor", o->flavor, "Flavor, see: berthctl flavor list")->required();
  many->add_option("--kernel", o->kernel, "Kernel, a path on the host")->type_name("PATH");
  many->add_option("--initramfs", o->initramfs, "Initial file system, a path on the host")->type_name("PATH");
  many->add_option("--cmdline", o->cmdline, "Kernel command line")->type_name("TEXT");
  o->wish.AddTo(*many);
  o->place.AddTo(*many);
  many->add_flag("--all-or-nothing", o->all_or_nothing, "All of them in one record, or none");
  CLI::Option* dry_run =
      many->add_flag("--dry-run", o->dry_run, "Say where they would go, and claim nothing");
  many->add_option("--alternates", o->alternates, "With --dry-run: further hosts to name for each")
      ->check(CLI::Range(0U, 16U))
      ->needs(dry_run);
  AddOutputOption(*many, context, "table (default), json, yaml");
  verbs.Add(many, [o](Context& c) { return CreateMany(c, *o); });

  auto name = std::make_shared<std::string>();
  CLI::App* watch =
      AddVerb(noun, "watch", "Print instances as they are, then every change, until interrupted",
              "berthctl instance watch -o json");
  watch->add_option("INSTANCE", *name, "Only this one (name or UUID)");
  AddOutputOption(*watch, context, "table (default), json");
  verbs.Add(watch, [name](Context& c) { return Watch(c, *name); });
}

}  // namespace berth::cli
