#include "placement/rest/policy_check.h"

#include <algorithm>
#include <vector>

#include "common/http/message.h"
#include "placement/rest/text.h"

namespace berth::placement::rest {
namespace {

using CheckPtr = std::unique_ptr<PolicyCheck>;
constexpr int kMaxDepth = 32;  // of parentheses, and of rules that name rules

class Constant final : public PolicyCheck {
 public:
  explicit Constant(bool passes) : passes_(passes) {}
  bool Passes(const Context&) const override { return passes_; }

 private:
  bool passes_;
};

class Not final : public PolicyCheck {
 public:
  explicit Not(CheckPtr inner) : inner_(std::move(inner)) {}
  bool Passes(const Context& context) const override { return !inner_->Passes(context); }

 private:
  CheckPtr inner_;
};

class Joined final : public PolicyCheck {
 public:
  Joined(bool all, std::vector<CheckPtr> parts) : all_(all), parts_(std::move(parts)) {}
  bool Passes(const Context& context) const override {
    auto passes = [&](const CheckPtr& part) { return part->Passes(context); };
    return all_ ? std::all_of(parts_.begin(), parts_.end(), passes)
                : std::any_of(parts_.begin(), parts_.end(), passes);
  }

 private:
  bool all_;
  std::vector<CheckPtr> parts_;
};

class RoleCheck final : public PolicyCheck {
 public:
  explicit RoleCheck(std::string role) : role_(std::move(role)) {}
  bool Passes(const Context& context) const override {
    const auto& roles = context.identity.roles;
    return std::any_of(roles.begin(), roles.end(),
                       [&](const std::string& role) { return http::EqualsIgnoreCase(role, role_); });
  }

 private:
  std::string role_;
};

class RuleCheck final : public PolicyCheck {
 public:
  explicit RuleCheck(std::string rule) : rule_(std::move(rule)) {}
  bool Passes(const Context& context) const override {
    if (context.depth >= kMaxDepth) return false;  // rules that name each other
    const PolicyCheck* rule = context.find_rule(rule_);
    Context inner{context.identity, context.target, context.find_rule, context.depth + 1};
    return rule != nullptr && rule->Passes(inner);
  }

 private:
  std::string rule_;
};

// "project_id:%(project_id)s", "user_id:abc", "'literal':%(user_id)s"
class AttributeCheck final : public PolicyCheck {
 public:
  AttributeCheck(std::string kind, std::string match) : kind_(std::move(kind)), match_(std::move(match)) {}
  bool Passes(const Context& context) const override {
    std::string wanted = match_;
    if (match_ == "%(project_id)s") wanted = context.target.project_id;
    if (match_ == "%(user_id)s") wanted = context.target.user_id;
    std::string actual;
    if (kind_ == "project_id" || kind_ == "tenant_id" || kind_ == "tenant") {
      actual = context.identity.project_id;
    } else if (kind_ == "user_id" || kind_ == "user") {
      actual = context.identity.user_id;
    } else if (kind_.size() >= 2 && kind_.front() == '\'' && kind_.back() == '\'') {
      actual = kind_.substr(1, kind_.size() - 2);
    }
    return !actual.empty() && actual == wanted;
  }

 private:
  std::string kind_;
  std::string match_;
};

class Parser {
 public:
  explicit Parser(std::string_view text) {
    for (size_t i = 0; i < text.size();) {
      size_t begin = text.find_first_not_of(" \t\r\n", i);
      if (begin == std::string_view::npos) break;
      i = begin;
      if (text[i] == '(' || text[i] == ')') {
        tokens_.emplace_back(text.substr(i++, 1));
        continue;
      }
      // Parentheses belong to "%(name)s" when a '%' stands before.
      while (i < text.size() && std::string_view(" \t\r\n").find(text[i]) == std::string_view::npos) {
        if (text[i] == '%' && i + 1 < text.size() && text[i + 1] == '(') {
          i = std::min(text.find(')', i), text.size() - 1) + 1;
        } else if (text[i] == '(' || text[i] == ')') {
          break;
        } else {
          ++i;
        }
      }
      tokens_.emplace_back(text.substr(begin, i - begin));
    }
  }

  Result<CheckPtr> Parse() {
    if (tokens_.empty()) return CheckPtr(std::make_unique<Constant>(true));
    TRY_ASSIGN(CheckPtr check, ParseJoined("or", 0));
    if (at_ < tokens_.size()) return InvalidArgument("\"" + tokens_[at_] + "\" is not expected there");
    return check;
  }

 private:
  bool Take(std::string_view word) {
    if (at_ >= tokens_.size() || !http::EqualsIgnoreCase(tokens_[at_], word)) return false;
    ++at_;
    return true;
  }

  Result<CheckPtr> ParseJoined(std::string_view word, int depth) {
    std::vector<CheckPtr> parts;
    do {
      TRY_ASSIGN(CheckPtr part, word == "or" ? ParseJoined("and", depth) : ParseOne(depth));
      parts.push_back(std::move(part));
    } while (Take(word));
    if (parts.size() == 1) return std::move(parts[0]);
    return CheckPtr(std::make_unique<Joined>(word == "and", std::move(parts)));
  }

  Result<CheckPtr> ParseOne(int depth) {
    if (depth > kMaxDepth) return InvalidArgument("nested too deeply");
    if (at_ >= tokens_.size()) return InvalidArgument("a check is missing at the end");
    if (Take("not")) {
      TRY_ASSIGN(CheckPtr inner, ParseOne(depth + 1));
      return CheckPtr(std::make_unique<Not>(std::move(inner)));
    }
    if (Take("(")) {
      TRY_ASSIGN(CheckPtr inner, ParseJoined("or", depth + 1));
      if (!Take(")")) return InvalidArgument("a ')' is missing");
      return inner;
    }
    const std::string& token = tokens_[at_++];
    if (token == "@") return CheckPtr(std::make_unique<Constant>(true));
    if (token == "!") return CheckPtr(std::make_unique<Constant>(false));
    size_t colon = token.find(':');
    if (colon == std::string::npos || colon == 0 || colon + 1 == token.size()) {
      return InvalidArgument("\"" + token + "\" is no check", "", "expected KIND:VALUE, @ or !");
    }
    std::string kind = token.substr(0, colon), match = token.substr(colon + 1);
    if (kind == "role") return CheckPtr(std::make_unique<RoleCheck>(std::move(match)));
    if (kind == "rule") return CheckPtr(std::make_unique<RuleCheck>(std::move(match)));
    return CheckPtr(std::make_unique<AttributeCheck>(std::move(kind), std::move(match)));
  }

  std::vector<std::string> tokens_;
  size_t at_ = 0;
};

}  // namespace

Result<CheckPtr> ParsePolicyCheck(std::string_view text) {
  return Parser(text).Parse();
}

}  // namespace berth::placement::rest
