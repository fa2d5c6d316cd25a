#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/http/client.h"
#include "placement/rest/identity.h"

namespace berth::placement::rest {

// Asks Keystone (Identity API v3) whose token it is: GET /v3/auth/tokens with a token of the service's own,
// which it fetches by password and renews by itself. Answers are kept for a while, refusals too. Thread-safe.
class KeystoneAuthenticator final : public Authenticator {
 public:
  struct Options {
    std::string url = {};  // "http://keystone:5000", with or without /v3; told to clients that lack a token
    std::string username = {};
    std::string password = {};
    std::string user_domain = "Default";
    std::string project = "service";
    std::string project_domain = "Default";
    uint64_t cache_ms = 300'000;
    size_t cache_limit = 10'000;  // tokens
  };
  // `client` sends to the server of `url` (without /v3).
  KeystoneAuthenticator(Options options, std::unique_ptr<http::Client> client,
                        std::function<uint64_t()> now_ms);

  void Identify(const http::Request& request, Identified done) override;

 private:
  using Found = tl::expected<Identity, Unauthenticated>;
  struct Cached {
    Found found;
    uint64_t until_ms = 0;
  };
  // One validation on its way.
  struct Question {
    std::string token;
    Identified done;
    int attempts = 0;
  };
  using QuestionPtr = std::shared_ptr<Question>;

  void Ask(const QuestionPtr& question);
  void FetchOwnToken();
  void OwnTokenFetched(const Result<http::Response>& answer);
  void Validate(const QuestionPtr& question, const std::string& own_token);
  void Answered(const QuestionPtr& question, const std::string& own_token,
                const Result<http::Response>& answer);
  void Finish(const QuestionPtr& question, Found found, uint64_t until_ms);
  Found Refusal(Unauthenticated::Why why) const;

  const Options options_;
  const std::unique_ptr<http::Client> client_;
  const std::function<uint64_t()> now_ms_;

  std::mutex mutex_;  // guards what follows
  std::unordered_map<std::string, Cached> cache_;
  std::string own_token_;
  uint64_t own_until_ms_ = 0;
  bool fetching_ = false;
  std::vector<QuestionPtr> waiting_;  // for the own token
};

// The "token" of Keystone's answer as an identity, and when it ends (Unix time). kInvalidArgument: it is
// none.
struct KeystoneToken {
  Identity identity;
  uint64_t expires_ms = 0;
};
Result<KeystoneToken> ParseKeystoneToken(std::string_view body);

}  // namespace berth::placement::rest
