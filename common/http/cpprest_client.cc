#include <cpprest/http_client.h>

#include <algorithm>

#include "common/http/client.h"

namespace berth::http {
namespace {

using web::http::http_request;
using web::http::http_response;

class CpprestClient final : public Client {
 public:
  CpprestClient(const web::uri& base, const web::http::client::http_client_config& config, size_t max_body)
      : client_(base, config), max_body_(max_body) {}

  void Send(const std::string& method, const std::string& path, const Headers& headers,
            const std::string& body, Done done) override {
    try {
      http_request request(method);
      request.set_request_uri(path);
      for (const auto& [name, value] : headers.fields()) request.headers().add(name, value);
      if (!body.empty()) request.set_body(body, std::string(headers.Get("content-type")));
      size_t max_body = max_body_;
      client_.request(request).then([done, max_body](const pplx::task<http_response>& answered) {
        try {
          Read(answered.get(), max_body, done);
        } catch (const std::exception& error) {
          done(Unavailable(error.what()));
        }
      });
    } catch (const std::exception& error) {
      done(Unavailable(error.what()));
    }
  }

 private:
  static void Read(http_response message, size_t max_body, const Done& done) {
    if (message.headers().content_length() > max_body) {
      done(Unavailable("the answer is larger than " + std::to_string(max_body) + " bytes"));
      return;
    }
    message.extract_vector().then(
        [message, max_body, done](const pplx::task<std::vector<unsigned char>>& read) {
          Result<Response> result = Unavailable("no answer");
          try {
            const std::vector<unsigned char>& bytes = read.get();
            Response response{.status = message.status_code(), .headers = {}, .body = {}};
            for (const auto& [name, value] : message.headers()) response.headers.Add(name, value);
            response.body.assign(bytes.begin(), bytes.end());
            if (response.body.size() <= max_body) result = std::move(response);
          } catch (const std::exception& error) {
            result = Unavailable(error.what());
          }
          done(std::move(result));
        });
  }

  web::http::client::http_client client_;
  size_t max_body_;
};

}  // namespace

Result<std::unique_ptr<Client>> NewClient(const std::string& base, const ClientOptions& options) {
  try {
    if (!base.starts_with("http://") && !base.starts_with("https://")) {
      return InvalidArgument("\"" + base + "\" is no address of a server", "url",
                             "expected http://HOST[:PORT][/PREFIX] or https://...");
    }
    web::http::client::http_client_config config;
    config.set_timeout(options.timeout);
    config.set_validate_certificates(options.verify_certificate);
    if (!options.ca_file.empty()) {
      config.set_ssl_context_callback(
          [file = options.ca_file](boost::asio::ssl::context& context) { context.load_verify_file(file); });
    }
    return std::unique_ptr<Client>(
        std::make_unique<CpprestClient>(web::uri(base), config, options.max_body_bytes));
  } catch (const std::exception& error) {
    return InvalidArgument("\"" + base + "\" is no address of a server: " + error.what(), "url");
  }
}

}  // namespace berth::http
