#include <memory>
#include <string>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/host_picture.h"
#include "cli/table.h"

namespace berth::cli {
namespace {

struct Options {
  std::string host;
  std::string reason;
  bool dry_run = false;
};

// What the change means, from placement's picture of the host.
Status Preview(Context& context, Client& client, const Options& options, bool enable) {
  v1::GetHostRequest request;
  request.set_host(options.host);
  TRY_ASSIGN(v1::GetHostResponse response,
             client.Call(client.placement(), &v1::Placement::Stub::GetHost, request));
  const bool disabled = IsDrained(response.host());
  std::ostream& out = context.terminal.out;
  const std::string& name = response.host().name();
  if (disabled != enable) {
    out << name << " is " << (enable ? "enabled" : "drained") << " already: nothing would change\n";
    return OkStatus();
  }
  if (enable) {
    out << name << " would be chosen for instances again\n";
    return OkStatus();
  }
  out << name << " would not be chosen any more; " << response.claims_size()
      << " instances would stay there\n";
  if (response.claims_size() == 0) return OkStatus();
  Table table({{"INSTANCE"}, {"FLAVOR"}});
  for (const v1::Claim& claim : response.claims()) table.AddRow({claim.name(), claim.spec().flavor()});
  out << table.ToString();
  return OkStatus();
}

Status Drain(Context& context, const Options& options) {
  Client client(context);
  if (options.dry_run) return Preview(context, client, options, false);
  v1::DrainHostRequest request;
  request.set_host(options.host);
  request.set_reason(options.reason);
  TRY(client.Call(client.scheduler(), &v1::Scheduler::Stub::DrainHost, request));
  context.terminal.out << options.host << ": not chosen any more; what runs there stays\n";
  return OkStatus();
}

Status Enable(Context& context, const Options& options) {
  Client client(context);
  if (options.dry_run) return Preview(context, client, options, true);
  v1::EnableHostRequest request;
  request.set_host(options.host);
  request.set_reason(options.reason);
  TRY(client.Call(client.scheduler(), &v1::Scheduler::Stub::EnableHost, request));
  context.terminal.out << options.host << ": enabled\n";
  return OkStatus();
}

// A host that is not there any more, by its UUID: another may have taken its name since it was looked at.
Status Delete(Context& context, const Options& options) {
  Client client(context);
  v1::GetHostRequest look;
  look.set_host(options.host);
  TRY_ASSIGN(const v1::GetHostResponse found,
             client.Call(client.placement(), &v1::Placement::Stub::GetHost, look));
  const std::string& name = found.host().name();
  if (found.claims_size() > 0) {
    return FailedPrecondition("host " + name + " has " + std::to_string(found.claims_size()) +
                                  " instances, among them " + found.claims(0).name(),
                              "host", "delete, move or evacuate them first");
  }
  if (options.dry_run) {
    context.terminal.out << name << " would be forgotten\n";
    return OkStatus();
  }
  v1::DeleteHostRequest request;
  request.set_host(found.host().uuid());
  TRY(client.Call(client.placement(), &v1::Placement::Stub::DeleteHost, request));
  context.terminal.out << name << ": forgotten; an agent that still runs there makes it known again\n";
  return OkStatus();
}

void AddOptions(CLI::App& verb, Options& options) {
  verb.add_option("HOST", options.host, "Name or UUID")->required();
  verb.add_option("--reason", options.reason, "For placement's audit rows")->type_name("TEXT");
  verb.add_flag("--dry-run", options.dry_run, "Say what it means, and change nothing");
}

}  // namespace

void AddHostStatus(CLI::App& noun, Context& /*context*/, Verbs& verbs) {
  auto out = std::make_shared<Options>();
  CLI::App* drain = AddVerb(noun, "drain", "Take a host out: nothing new goes there",
                            "berthctl host drain node-1 --reason \"new firmware\"");
  AddOptions(*drain, *out);
  verbs.Add(drain, [out](Context& c) { return Drain(c, *out); });

  auto in = std::make_shared<Options>();
  CLI::App* enable = AddVerb(noun, "enable", "Put a drained host back", "berthctl host enable node-1");
  AddOptions(*enable, *in);
  verbs.Add(enable, [in](Context& c) { return Enable(c, *in); });

  auto gone = std::make_shared<Options>();
  CLI::App* remove = AddVerb(noun, "delete", "Forget a host that is gone: stop its agent first",
                             "berthctl host delete node-1");
  remove->add_option("HOST", gone->host, "Name or UUID")->required();
  remove->add_flag("--dry-run", gone->dry_run, "Say whether it could be forgotten, and change nothing");
  verbs.Add(remove, [gone](Context& c) { return Delete(c, *gone); });
}

}  // namespace berth::cli
