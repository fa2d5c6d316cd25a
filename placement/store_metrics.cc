#include "placement/store_metrics.h"

#include <unistd.h>

#include <cstdlib>

#include "common/file.h"
#include "placement/engine/fleet.h"
#include "placement/engine/writer.h"
#include "placement/server.h"

namespace berth::placement {
namespace {

double ResidentBytes() {
  Result<std::string> statm = ReadFile("/proc/self/statm");
  if (!statm) return 0;
  size_t blank = statm->find(' ');
  return blank == std::string::npos
             ? 0
             : std::strtod(statm->c_str() + blank, nullptr) * static_cast<double>(sysconf(_SC_PAGESIZE));
}

}  // namespace

StoreMetrics::StoreMetrics(MetricsRegistry& registry, PlacementServer& placement)
    : placement_(placement),
      providers_(registry.AddGauge("placement_providers", "Resource providers")),
      consumers_(registry.AddGauge("placement_consumers", "Consumers with allocations")),
      allocations_(registry.AddGauge("placement_allocations",
                                     "Allocations: a consumer's amount of one class of one provider")),
      memory_(registry.AddGauge("process_resident_memory_bytes", "Resident memory of the process")),
      connections_(registry.AddGauge("placement_rest_connections", "Open REST connections, as last counted")),
      in_work_(registry.AddGauge("placement_rest_in_work", "REST requests that are not answered yet")),
      commands_{&registry.AddCounter("placement_commands_total", "Commands that the engine has applied")},
      commits_{&registry.AddCounter("placement_commits_total", "Transactions of the store")},
      failed_commits_{
          &registry.AddCounter("placement_failed_commits_total", "Transactions that the store refused")},
      rejected_{
          &registry.AddCounter("placement_rejected_commands_total", "Commands refused by the full queue")},
      refused_busy_{&registry.AddCounter("placement_rest_refused_total", "Requests that the listener refused",
                                         {{"reason", "busy"}})},
      refused_body_{&registry.AddCounter("placement_rest_refused_total", "Requests that the listener refused",
                                         {{"reason", "body"}})},
      closed_slow_{&registry.AddCounter("placement_rest_closed_total", "Connections that the listener closed",
                                        {{"reason", "slow"}})},
      closed_oversized_{&registry.AddCounter(
          "placement_rest_closed_total", "Connections that the listener closed", {{"reason", "oversized"}})},
      closed_excess_{&registry.AddCounter("placement_rest_closed_total",
                                          "Connections that the listener closed", {{"reason", "excess"}})} {
  Histogram& commands = registry.AddHistogram("placement_commit_commands", "Commands of one transaction",
                                              {1, 2, 4, 8, 16, 32, 64, 128, 256, 512});
  Histogram& seconds =
      registry.AddHistogram("placement_commit_seconds", "What the store took for one transaction",
                            {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 1});
  placement.ObserveCommits([&commands, &seconds](size_t count, double took) {
    commands.Observe(static_cast<double>(count));
    seconds.Observe(took);
  });
}

StoreMetrics::~StoreMetrics() {
  placement_.ObserveCommits({});
}

void StoreMetrics::Collect(const http::Server::Counters& listener) {
  std::shared_ptr<const ResourceView> view = placement_.fleet().resources();
  providers_.Set(static_cast<double>(view->provider_count()));
  consumers_.Set(static_cast<double>(view->consumer_count()));
  allocations_.Set(static_cast<double>(view->allocation_count()));
  memory_.Set(ResidentBytes());
  connections_.Set(static_cast<double>(listener.connections));
  in_work_.Set(static_cast<double>(listener.in_work));
  const Writer::Counters& writer = placement_.writer().counters();
  commands_.To(writer.commands.load());
  commits_.To(writer.commits.load());
  failed_commits_.To(writer.failed_commits.load());
  rejected_.To(writer.rejected.load());
  refused_busy_.To(listener.refused_busy);
  refused_body_.To(listener.refused_body);
  closed_slow_.To(listener.closed_slow);
  closed_oversized_.To(listener.closed_oversized);
  closed_excess_.To(listener.closed_excess);
}

}  // namespace berth::placement
