#include <gtest/gtest.h>

#include "placement/rest/accept.h"
#include "placement/rest/api_error.h"
#include "placement/rest/cors.h"

namespace berth::placement::rest {
namespace {

TEST(ApiErrors, HaveTheFormOfTheApi) {
  Microversion version{1, 23};
  http::Response response = RenderError(Conflict("resource provider generation conflict", kConcurrentUpdate),
                                        {.method = "PUT",
                                         .accept = "application/json",
                                         .content_type = "",
                                         .version = &version,
                                         .request_id = "req-1"});

  EXPECT_EQ(response.status, 409);
  EXPECT_EQ(response.headers.Get("content-type"), "application/json");
  EXPECT_EQ(
      response.body,
      R"({"errors":[{"status":409,"title":"Conflict","detail":"There was a conflict when trying to complete )"
      R"(your request.\u000a\u000a resource provider generation conflict  ",)"
      R"("code":"placement.concurrent_update","request_id":"req-1"}]})");
}

TEST(ApiErrors, HaveNoCodeBefore23AndTheRangeWhenTheVersionIsUnacceptable) {
  Microversion version{1, 22};
  ErrorContext context{
      .method = "GET", .accept = "", .content_type = "", .version = &version, .request_id = "r"};
  EXPECT_EQ(RenderError(NotFoundError("x"), context).body.find("code"), std::string::npos);
  context.version = nullptr;
  std::string body = RenderError({.status = 406, .detail = "x"}, context).body;
  EXPECT_NE(body.find(R"("max_version":"1.39","min_version":"1.0")"), std::string::npos) << body;
}

TEST(ApiErrors, AreHtmlForBrowsersWithEverythingEscaped) {
  http::Response response = RenderError(
      BadRequest("<script>"),
      {.method = "GET", .accept = "text/html", .content_type = "", .version = nullptr, .request_id = "r"});

  EXPECT_EQ(response.headers.Get("content-type"), "text/html; charset=UTF-8");
  EXPECT_NE(response.body.find("&lt;script&gt;"), std::string::npos);
  EXPECT_NE(response.body.find("<h1>400 Bad Request</h1>"), std::string::npos);
}

TEST(ApiErrors, LoseWhatLooksLikeATagInJson) {
  http::Response response =
      RenderError(BadRequest("a <b>bold</b> name\nhere"),
                  {.method = "GET", .accept = "", .content_type = "", .version = nullptr, .request_id = ""});

  EXPECT_NE(response.body.find(" a bold name here "), std::string::npos) << response.body;
}

// A client's text as long as a body may be; a look at the rest for each opening bracket would take hours.
TEST(ApiErrors, LoseTagsOfLongTextsInOneLook) {
  const std::string open(4 << 20, '<');
  http::Response response =
      RenderError(BadRequest("b>" + open),
                  {.method = "PUT", .accept = "", .content_type = "", .version = nullptr, .request_id = ""});

  EXPECT_NE(response.body.find("b>" + open), std::string::npos);
}

TEST(Accept, DecidesWhetherJsonWillDo) {
  EXPECT_TRUE(AcceptsJson(""));
  EXPECT_TRUE(AcceptsJson("application/json"));
  EXPECT_TRUE(AcceptsJson("text/html,application/xml;q=0.9,*/*;q=0.8"));
  EXPECT_TRUE(AcceptsJson("application/*"));
  EXPECT_FALSE(AcceptsJson("text/plain"));
  EXPECT_FALSE(AcceptsJson("text/html,application/xml;q=0.9"));
  EXPECT_FALSE(AcceptsJson("*/*, application/json;q=0"));
}

TEST(Accept, DecidesTheFormOfErrors) {
  EXPECT_EQ(PreferredErrorForm(""), ErrorForm::kJson);
  EXPECT_EQ(PreferredErrorForm("*/*"), ErrorForm::kJson);
  EXPECT_EQ(PreferredErrorForm("text/html"), ErrorForm::kHtml);
  EXPECT_EQ(PreferredErrorForm("application/json, text/html;q=0.5"), ErrorForm::kJson);
  EXPECT_EQ(PreferredErrorForm("text/plain"), ErrorForm::kText);
}

http::Request Preflight(std::string origin) {
  http::Request request{
      .method = "OPTIONS", .path = "/", .query = "", .headers = {}, .body = "", .remote = ""};
  request.headers.Set("Origin", std::move(origin));
  request.headers.Set("Access-Control-Request-Method", "GET");
  request.headers.Set("Access-Control-Request-Headers", "OpenStack-API-Version");
  return request;
}

TEST(Cors, AnswersAllowedOriginsOnly) {
  CorsOptions options{.allowed_origins = {"http://valid.example.com"},
                      .allow_headers = {"openstack-api-version"}};
  http::Response allowed{.status = 405, .headers = {}, .body = "x"}, refused = allowed, plain;
  http::Request get = Preflight("http://valid.example.com");
  get.method = "GET";

  ApplyCors(options, Preflight("http://valid.example.com"), allowed);
  ApplyCors(options, Preflight("http://evil.example.com"), refused);
  ApplyCors(options, get, plain);

  EXPECT_EQ(allowed.status, 200);
  EXPECT_EQ(allowed.headers.Get("access-control-allow-origin"), "http://valid.example.com");
  EXPECT_EQ(allowed.headers.Get("access-control-allow-headers"), "OpenStack-API-Version");
  EXPECT_EQ(refused.status, 200);
  EXPECT_EQ(refused.headers.Find("access-control-allow-origin"), nullptr);
  EXPECT_EQ(plain.headers.Get("access-control-allow-origin"), "http://valid.example.com");
}

TEST(Cors, IsSilentUnlessConfigured) {
  http::Response response{.status = 405, .headers = {}, .body = "x"};

  ApplyCors({}, Preflight("http://valid.example.com"), response);

  EXPECT_EQ(response.status, 405);
  EXPECT_TRUE(response.headers.fields().empty());
}

}  // namespace
}  // namespace berth::placement::rest
