#include "placement/rest/keystone.h"

#include <algorithm>

#include "common/log.h"
#include "placement/rest/json_writer.h"

namespace berth::placement::rest {
namespace {

constexpr size_t kMaxToken = 8192;  // characters; Keystone's Fernet tokens have some 200
constexpr uint64_t kRenewEarlyMs = 30'000;

std::string LoginBody(const KeystoneAuthenticator::Options& options) {
  JsonWriter json;
  json.BeginObject().Key("auth").BeginObject();
  json.Key("identity").BeginObject();
  json.Key("methods").BeginArray().String("password").EndArray();
  json.Key("password").BeginObject().Key("user").BeginObject();
  json.Key("name").String(options.username);
  json.Key("domain").BeginObject().Key("name").String(options.user_domain).EndObject();
  json.Key("password").String(options.password);
  json.EndObject().EndObject().EndObject();
  json.Key("scope").BeginObject().Key("project").BeginObject();
  json.Key("name").String(options.project);
  json.Key("domain").BeginObject().Key("name").String(options.project_domain).EndObject();
  json.EndObject().EndObject().EndObject().EndObject();
  return std::move(json).Take();
}

}  // namespace

KeystoneAuthenticator::KeystoneAuthenticator(Options options, std::unique_ptr<http::Client> client,
                                             std::function<uint64_t()> now_ms)
    : options_(std::move(options)), client_(std::move(client)), now_ms_(std::move(now_ms)) {}

KeystoneAuthenticator::Found KeystoneAuthenticator::Refusal(Unauthenticated::Why why) const {
  Unauthenticated refusal{.why = why};
  if (why != Unauthenticated::Why::kUnavailable) {
    refusal.headers.Set("WWW-Authenticate", "Keystone uri=\"" + options_.url + "\"");
  }
  return tl::unexpected(std::move(refusal));
}

void KeystoneAuthenticator::Identify(const http::Request& request, Identified done) {
  const std::string* token = request.headers.Find("x-auth-token");
  if (!token || token->empty()) return done(Refusal(Unauthenticated::Why::kNoToken));
  if (token->size() > kMaxToken) return done(Refusal(Unauthenticated::Why::kBadToken));
  std::unique_lock lock(mutex_);
  auto known = cache_.find(*token);
  if (known != cache_.end() && known->second.until_ms > now_ms_()) {
    Found found = known->second.found;
    lock.unlock();
    return done(std::move(found));
  }
  lock.unlock();
  Ask(std::make_shared<Question>(Question{.token = *token, .done = std::move(done)}));
}

void KeystoneAuthenticator::Ask(const QuestionPtr& question) {
  std::string own;
  bool fetch = false;
  {
    std::lock_guard lock(mutex_);
    if (!own_token_.empty() && own_until_ms_ > now_ms_() + kRenewEarlyMs) {
      own = own_token_;
    } else {
      waiting_.push_back(question);
      fetch = !std::exchange(fetching_, true);
    }
  }
  if (!own.empty()) return Validate(question, own);
  if (fetch) FetchOwnToken();
}

void KeystoneAuthenticator::FetchOwnToken() {
  http::Headers headers;
  headers.Set("content-type", "application/json");
  client_->Send("POST", "/v3/auth/tokens?nocatalog", headers, LoginBody(options_),
                [this](const Result<http::Response>& answer) { OwnTokenFetched(answer); });
}

void KeystoneAuthenticator::OwnTokenFetched(const Result<http::Response>& answer) {
  std::vector<QuestionPtr> waiting;
  std::string own;
  Status failed;
  Result<KeystoneToken> token = answer && answer->status == 201
                                    ? ParseKeystoneToken(answer->body)
                                    : Result<KeystoneToken>(Unavailable("refused"));
  if (!answer) {
    failed = answer.error();
  } else if (answer->status != 201 || answer->headers.Get("x-subject-token").empty() || !token) {
    failed = Unavailable("the login of " + options_.username + " was answered by status " +
                         std::to_string(answer->status));
  }
  {
    std::lock_guard lock(mutex_);
    fetching_ = false;
    waiting.swap(waiting_);
    if (failed.ok()) {
      own_token_ = own = answer->headers.Get("x-subject-token");
      own_until_ms_ = token->expires_ms;
    }
  }
  if (!failed.ok()) LOG(kError, "keystone_login_failed", {{"url", options_.url}, {"error", failed}});
  for (const QuestionPtr& question : waiting) {
    if (own.empty()) {
      question->done(Refusal(Unauthenticated::Why::kUnavailable));
    } else {
      Validate(question, own);
    }
  }
}

void KeystoneAuthenticator::Validate(const QuestionPtr& question, const std::string& own_token) {
  http::Headers headers;
  headers.Set("X-Auth-Token", own_token);
  headers.Set("X-Subject-Token", question->token);
  client_->Send("GET", "/v3/auth/tokens?nocatalog", headers, "",
                [this, question, own_token](const Result<http::Response>& answer) {
                  Answered(question, own_token, answer);
                });
}

void KeystoneAuthenticator::Answered(const QuestionPtr& question, const std::string& own_token,
                                     const Result<http::Response>& answer) {
  uint64_t now = now_ms_();
  if (!answer) {
    LOG(kError, "keystone_unreachable", {{"url", options_.url}, {"error", answer.error()}});
    return question->done(Refusal(Unauthenticated::Why::kUnavailable));
  }
  if (answer->status == 404) {
    return Finish(question, Refusal(Unauthenticated::Why::kBadToken), now + options_.cache_ms);
  }
  if (answer->status == 401 && question->attempts == 0) {
    // Our own token is not valid any more, whatever its date says. Once more with a new one.
    ++question->attempts;
    {
      std::lock_guard lock(mutex_);
      if (own_token_ == own_token) own_token_.clear();
    }
    return Ask(question);
  }
  Result<KeystoneToken> token = answer->status == 200 ? ParseKeystoneToken(answer->body)
                                                      : Result<KeystoneToken>(Unavailable("refused"));
  if (!token) {
    LOG(kError, "keystone_answer_unusable", {{"status", answer->status}, {"error", token.error()}});
    return question->done(Refusal(Unauthenticated::Why::kUnavailable));
  }
  if (token->expires_ms <= now) {
    return Finish(question, Refusal(Unauthenticated::Why::kBadToken), now + options_.cache_ms);
  }
  Finish(question, std::move(token->identity), std::min(now + options_.cache_ms, token->expires_ms));
}

void KeystoneAuthenticator::Finish(const QuestionPtr& question, Found found, uint64_t until_ms) {
  {
    std::lock_guard lock(mutex_);
    if (cache_.size() >= options_.cache_limit) {
      uint64_t now = now_ms_();
      std::erase_if(cache_, [&](const auto& entry) { return entry.second.until_ms <= now; });
      if (cache_.size() >= options_.cache_limit) cache_.clear();
    }
    cache_.insert_or_assign(question->token, Cached{.found = found, .until_ms = until_ms});
  }
  question->done(std::move(found));
}

}  // namespace berth::placement::rest
