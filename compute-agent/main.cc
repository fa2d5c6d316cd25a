// berth-agent: tells placement what this host has, and runs the instances that are claimed on it.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>

#include "common/host_port.h"
#include "common/log.h"
#include "compute-agent/preflight/preflight_json.h"
#include "compute-agent/service/agent_check.h"
#include "compute-agent/service/placement_client.h"
#include "compute-agent/service/server.h"
#include "placement/client/channel.h"

namespace {

using berth::agent::AgentServer;

struct Flags {
  std::string config;
  std::string placement = "127.0.0.1:7701";
  std::string listen = "127.0.0.1:7703";
  std::string endpoint;
  std::string root = "/";
  std::string vmm;
  std::string state_dir;
  std::string level = "info";
  bool check = false;
  bool json = false;
};

int Fail(const berth::Status& status) {
  std::fprintf(stderr, "berth-agent: %s\n", status.ToString().c_str());
  return 1;
}

void PrintFindings(const berth::agent::PreflightReport& preflight) {
  for (const berth::agent::Finding& finding : preflight.findings) {
    if (finding.severity == berth::agent::Severity::kOk) continue;
    std::printf("%s %s: %s; needed: %s%s%s\n", berth::agent::SeverityName(finding.severity),
                finding.id.c_str(), finding.found.c_str(), finding.needed.c_str(),
                finding.repair.empty() ? "" : "; repair: ", finding.repair.c_str());
  }
}

void PrintReport(const berth::placement::HostReport& report) {
  std::printf("host %s: %zu cells, %zu devices, KVM %s\n", report.name.c_str(), report.cells.size(),
              report.devices.size(), report.can_run_guests ? "usable" : "not usable");
  for (const berth::placement::Device& device : report.devices) {
    std::printf("  %s %s:%s %s%s\n", device.address.ToString().c_str(), device.vendor_id.c_str(),
                device.product_id.c_str(), berth::placement::DeviceTypeName(device.type),
                device.assignable ? "" : " (PF of assignable VFs)");
  }
  for (const std::string& warning : report.warnings) std::printf("warning: %s\n", warning.c_str());
}

// What would be reported, and the findings, for programs. The keys are stable.
void PrintJson(const berth::agent::BuiltReport& built) {
  const berth::placement::HostReport& report = built.report;
  nlohmann::ordered_json json = {
      {"host", report.name}, {"cells", report.cells.size()}, {"kvm_usable", report.can_run_guests}};
  json["devices"] = nlohmann::ordered_json::array();
  for (const berth::placement::Device& device : report.devices) {
    json["devices"].push_back({{"address", device.address.ToString()},
                               {"vendor_id", device.vendor_id},
                               {"product_id", device.product_id},
                               {"type", berth::placement::DeviceTypeName(device.type)},
                               {"assignable", device.assignable}});
  }
  json["warnings"] = report.warnings;
  json.update(berth::agent::ToJson(built.preflight));
  std::printf("%s\n", json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
}

int Run(const Flags& flags) {
  // Signals are waited for by this thread alone: the mask is inherited by all that start later.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);  // a client that has gone is an error of its call

  // By their form, before anything is made; gRPC would take a port that is too large modulo 65536.
  for (const berth::Status& address :
       {berth::ParseListen(flags.listen, "grpc-listen").status(),
        berth::ParsePeer(flags.placement, "placement").status(),
        flags.endpoint.empty() ? berth::OkStatus() : berth::ParsePeer(flags.endpoint, "endpoint").status()}) {
    if (!address.ok()) return Fail(address);
  }
  AgentServer::Options options;
  options.root = flags.root;
  if (!flags.config.empty()) {
    auto config = berth::agent::ReadAgentConfig(flags.config);
    if (!config.has_value()) return Fail(config.error());
    options.config = *std::move(config);
  }
  if (!flags.vmm.empty()) options.config.vmm = flags.vmm;
  if (!flags.state_dir.empty()) options.config.state_dir = flags.state_dir;
  berth::Status refused;  // written before the signal below is sent, read after it was received
  options.on_refused = [&refused](const berth::Status& status) {
    refused = status;
    ::kill(::getpid(), SIGTERM);
  };
  if (flags.check) {
    auto built = berth::agent::CheckAgent(options.config, options.root);
    if (!built.has_value()) return Fail(built.error());
    if (flags.json) {
      PrintJson(*built);
    } else {
      PrintReport(built->report);
      PrintFindings(built->preflight);
    }
    return 0;
  }
  auto server = AgentServer::Create(options);
  if (!server.has_value()) return Fail(server.error());
  if (berth::Status listening = (*server)->Listen(flags.listen); !listening.ok()) return Fail(listening);
  if (berth::Status serving = (*server)->ServeMetrics(); !serving.ok()) return Fail(serving);
  std::string host = flags.listen.substr(0, flags.listen.rfind(':'));
  std::string endpoint =
      flags.endpoint.empty() ? host + ":" + std::to_string((*server)->port()) : flags.endpoint;
  (*server)->Begin(berth::placement::MakeChannel(flags.placement), endpoint);
  std::fprintf(stderr, "berth-agent ready on %s, placement at %s\n", endpoint.c_str(),
               flags.placement.c_str());

  int signal = 0;
  sigwait(&signals, &signal);
  LOG(kInfo, "agent_stopping", {{"signal", signal}});
  (*server)->Stop();
  return refused.ok() ? 0 : Fail(refused);
}

}  // namespace

int main(int argc, char** argv) {
  ::setenv("GRPC_VERBOSITY", "NONE", 0);  // its errors come back as statuses
  Flags flags;
  CLI::App app("Reports this host to placement and runs the instances that are claimed on it.",
               "berth-agent");
  app.add_option("--config", flags.config, "YAML file, see docs/compute-agent.md");
  app.add_option("--placement", flags.placement, "HOST:PORT of placement")->capture_default_str();
  app.add_option("--grpc-listen", flags.listen, "HOST:PORT to serve on")->capture_default_str();
  app.add_option("--endpoint", flags.endpoint, "HOST:PORT told to clients [the listening address]");
  app.add_option("--root", flags.root, "folder with sys/, proc/, etc/ and dev/ of the host")
      ->capture_default_str();
  app.add_option("--vmm", flags.vmm, "the VMM program [berth-vmm beside this program]");
  app.add_option("--state-dir", flags.state_dir, "overrides state_dir of the configuration");
  app.add_option("--log-level", flags.level, "debug, info, warning or error")->capture_default_str();
  app.add_flag("--check", flags.check,
               "check configuration and host, print what would be reported, and stop");
  app.add_flag("--json", flags.json, "with --check: as JSON")->needs("--check");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  auto level = berth::ParseLogLevel(flags.level);
  if (!level.has_value()) return Fail(level.error());
  berth::InitLogging("berth-agent", *level);
  return Run(flags);
}
