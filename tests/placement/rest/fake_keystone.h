#pragma once

#include <map>
#include <mutex>
#include <set>
#include <string>

#include "common/http/server.h"
#include "placement/rest/json_value.h"
#include "placement/rest/json_writer.h"

namespace berth::placement::rest {

// Keystone's /v3/auth/tokens with its rules: a login needs the right method, name, domain, password and
// scope; a validation needs a valid token of its own with the role admin or service, and the subject's token;
// what is unknown, expired or revoked is 404 as a subject and 401 as one's own.
class FakeKeystone final : public http::Handler {
 public:
  struct Token {
    std::string user_id;
    std::string project_id;  // "": a token of the domain, or else of the system
    std::vector<std::string> roles;
    std::string expires_at = "2099-01-01T00:00:00.000000Z";
    std::string domain_id = {};
  };

  // What is asked after the login of "placement" with this password in Default/service.
  std::string password = "secret";
  int logins = 0;
  int validations = 0;
  int fail_with = 0;  // a status to answer everything with

  void Add(const std::string& id, Token token) {
    std::lock_guard lock(mutex_);
    tokens_[id] = std::move(token);
  }
  void Revoke(const std::string& id) {
    std::lock_guard lock(mutex_);
    tokens_.erase(id);
  }
  void RevokeService() {
    std::lock_guard lock(mutex_);
    for (const std::string& id : own_) tokens_.erase(id);
    own_.clear();
  }

  void Handle(http::Request request, Respond respond) override {
    std::lock_guard lock(mutex_);
    if (fail_with != 0) return respond(Error(fail_with));
    if (request.path != "/v3/auth/tokens") return respond(Error(404));
    if (request.method == "POST") return respond(Login(request));
    if (request.method == "GET") return respond(Validate(request));
    respond(Error(405));
  }
  http::Response Refuse(const http::Request&, int status, const std::string&) override {
    return Error(status);
  }

 private:
  static http::Response Error(int status) {
    http::Response response{.status = status, .headers = {}, .body = R"({"error":{"message":"no"}})"};
    response.headers.Set("content-type", "application/json");
    return response;
  }

  static std::string At(const JsonValue& value, std::initializer_list<const char*> path) {
    const JsonValue* at = &value;
    for (const char* name : path) {
      if (!at->IsObject() || !at->HasMember(name)) return "";
      at = &(*at)[name];
    }
    return at->IsString() ? std::string(TextOf(*at)) : "";
  }

  http::Response Login(const http::Request& request) {
    ++logins;
    auto body = ParseJson(request.body);
    if (!body || request.headers.Get("content-type") != "application/json") return Error(400);
    bool good = At(*body, {"auth", "identity", "password", "user", "name"}) == "placement" &&
                At(*body, {"auth", "identity", "password", "user", "domain", "name"}) == "Default" &&
                At(*body, {"auth", "identity", "password", "user", "password"}) == password &&
                At(*body, {"auth", "scope", "project", "name"}) == "service" &&
                At(*body, {"auth", "scope", "project", "domain", "name"}) == "Default";
    if (!good) return Error(401);
    std::string id = "own-" + std::to_string(logins);
    tokens_[id] = {.user_id = "placement-id", .project_id = "service-id", .roles = {"service"}};
    own_.insert(id);
    http::Response response = Describe(tokens_[id], 201);
    response.headers.Set("X-Subject-Token", id);
    return response;
  }

  http::Response Validate(const http::Request& request) {
    ++validations;
    auto own = tokens_.find(std::string(request.headers.Get("x-auth-token")));
    if (own == tokens_.end()) return Error(401);
    bool may = false;
    for (const std::string& role : own->second.roles) may = may || role == "admin" || role == "service";
    if (!may) return Error(403);
    if (!request.headers.Find("x-subject-token")) return Error(400);
    auto subject = tokens_.find(std::string(request.headers.Get("x-subject-token")));
    return subject == tokens_.end() ? Error(404) : Describe(subject->second, 200);
  }

  static http::Response Describe(const Token& token, int status) {
    JsonWriter json;
    json.BeginObject().Key("token").BeginObject();
    json.Key("methods").BeginArray().String("password").EndArray();
    json.Key("user").BeginObject().Key("id").String(token.user_id).Key("name").String("n").EndObject();
    if (token.project_id.empty() && !token.domain_id.empty()) {
      json.Key("domain").BeginObject().Key("id").String(token.domain_id).Key("name").String("d").EndObject();
    } else if (token.project_id.empty()) {
      json.Key("system").BeginObject().Key("all").Raw("true").EndObject();
    } else {
      json.Key("project").BeginObject().Key("id").String(token.project_id).EndObject();
    }
    json.Key("roles").BeginArray();
    for (const std::string& role : token.roles) json.BeginObject().Key("name").String(role).EndObject();
    json.EndArray().Key("expires_at").String(token.expires_at);
    json.Key("issued_at").String("2026-01-01T00:00:00.000000Z").EndObject().EndObject();
    http::Response response{.status = status, .headers = {}, .body = std::move(json).Take()};
    response.headers.Set("content-type", "application/json");
    return response;
  }

  std::mutex mutex_;
  std::map<std::string, Token> tokens_;
  std::set<std::string> own_;
};

}  // namespace berth::placement::rest
