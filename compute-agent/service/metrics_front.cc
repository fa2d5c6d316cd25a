#include "compute-agent/service/metrics_front.h"

#include <utility>

#include "common/host_port.h"

namespace berth::agent {
namespace {

http::Response Plain(int status, std::string body) {
  http::Response response;
  response.status = status;
  response.headers.Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
  response.body = std::move(body);
  return response;
}

}  // namespace

class MetricsFront::Handler : public http::Handler {
 public:
  explicit Handler(std::function<std::string()> text) : text_(std::move(text)) {}

  void Handle(http::Request request, Respond respond) override {
    if (request.path != "/metrics") return respond(Plain(404, "only /metrics is here\n"));
    if (request.method != "GET") {
      http::Response refused = Plain(405, "only GET\n");
      refused.headers.Set("Allow", "GET");
      return respond(std::move(refused));
    }
    respond(Plain(200, text_()));
  }
  http::Response Refuse(const http::Request&, int status, const std::string& reason) override {
    return Plain(status, reason + "\n");
  }

 private:
  std::function<std::string()> text_;
};

Result<std::unique_ptr<MetricsFront>> MetricsFront::Start(const std::string& listen,
                                                          std::function<std::string()> text) {
  http::ServerOptions options;
  options.max_body_bytes = 4096;
  options.max_concurrent = 16;
  options.max_connections = 64;
  TRY_ASSIGN(HostPort address, ParseListen(listen, "metrics_listen"));
  options.host = std::move(address.host);
  options.port = address.port;
  std::unique_ptr<MetricsFront> front(new MetricsFront);
  front->handler_ = std::make_unique<Handler>(std::move(text));
  TRY_ASSIGN(front->server_, http::StartServer(options, *front->handler_));
  return front;
}

MetricsFront::~MetricsFront() {
  if (server_ != nullptr) server_->Stop(std::chrono::seconds(1));
}

int MetricsFront::port() const {
  return server_->port();
}

}  // namespace berth::agent
