// What holds for every route: versions, media types, errors, authentication, policy.
#include "tests/placement/rest/api.h"

namespace berth::placement::rest {
namespace {

TEST(HttpRules, RepeatTheMicroversionInEveryAnswer) {
  Api api;

  Reply found = api.Get("/resource_providers", 17), error = api.Get("/nothing", 3);

  EXPECT_EQ(found.headers.Get("openstack-api-version"), "placement 1.17");
  EXPECT_EQ(found.headers.Get("vary"), "openstack-api-version");
  EXPECT_EQ(error.headers.Get("openstack-api-version"), "placement 1.3");
}

TEST(HttpRules, RefuseVersionsThatDoNotExist) {
  Api api;
  http::Request old = Api::Make("GET", "/", 0), broken = old;
  old.headers.Set("openstack-api-version", "placement 0.9");
  broken.headers.Set("openstack-api-version", "placement pony.horse");

  Reply unacceptable = api.Send(old), malformed = api.Send(broken);

  EXPECT_EQ(unacceptable.status, 406);
  EXPECT_EQ(unacceptable.At("/errors/0/max_version"), "1.39");
  EXPECT_EQ(unacceptable.At("/errors/0/min_version"), "1.0");
  EXPECT_EQ(malformed.status, 400);
}

TEST(HttpRules, HideRoutesFromVersionsBeforeThem) {
  Api api;
  api.Provider(kA, "a");
  struct {
    const char* method;
    std::string path;
    int since;
    int status;
  } routes[] = {{"GET", Rp(kA, "/aggregates"), 1, 404},
                {"GET", "/resource_classes", 2, 404},
                {"GET", "/traits", 6, 404},
                {"GET", Rp(kA, "/traits"), 6, 404},
                {"GET", "/usages?project_id=p", 9, 404},
                {"GET", "/allocation_candidates?resources=VCPU:1", 10, 404},
                {"POST", "/allocations", 13, 404},
                {"POST", "/reshaper", 30, 404},
                {"DELETE", Rp(kA, "/inventories"), 5, 405}};
  for (const auto& route : routes) {
    EXPECT_EQ(api.Send(Api::Make(route.method, route.path, route.since - 1)).status, route.status)
        << route.path;
    EXPECT_NE(api.Send(Api::Make(route.method, route.path, route.since)).status, route.status) << route.path;
  }
}

TEST(HttpRules, TellTheMethodsOfAPathThatHasNotTheOneAsked) {
  Api api;

  Reply reply = api.Send(Api::Make("PATCH", "/resource_providers", 39));

  EXPECT_EQ(reply.status, 405);
  EXPECT_EQ(reply.headers.Get("allow"), "GET, POST");
  EXPECT_TRUE(reply.Says("The method PATCH is not allowed for this resource."));
  EXPECT_EQ(api.Send(Api::Make("OPTIONS", "/", 39)).status, 405);
  EXPECT_EQ(api.Get("/resource_providers/").status, 404);
  EXPECT_EQ(api.Get(Rp(kA, "/cows")).status, 404);
}

TEST(HttpRules, WantJsonInAndOut) {
  Api api;
  http::Request text = Api::Make("POST", "/resource_providers", 39, "hello"), untyped = text,
                wanting = Api::Make("GET", "/resource_providers", 39);
  text.headers.Set("content-type", "text/plain");
  untyped.headers = {};
  untyped.headers.Set("x-auth-token", "admin");
  wanting.headers.Set("accept", "text/plain");
  http::Request length = Api::Make("POST", "/resource_providers", 39);
  length.headers.Set("content-length", "hi mom");

  EXPECT_EQ(api.Send(text).status, 415);
  EXPECT_TRUE(api.Send(text).Says("The media type text/plain is not supported, use application/json"));
  EXPECT_TRUE(api.Send(untyped).Says("content-type header required when content-length > 0"));
  EXPECT_TRUE(api.Send(length).Says("content-length header must be an integer"));
  EXPECT_EQ(api.Send(wanting).status, 406);
  EXPECT_TRUE(api.Send(Api::Make("PUT", Rp(kA), 39)).Says("The media type None is not supported"));
  EXPECT_TRUE(api.Post("/resource_providers", "{").Says("Malformed JSON: "));
  EXPECT_TRUE(
      api.Post("/resource_providers", "{}").Says("JSON does not validate: 'name' is a required property"));
}

TEST(HttpRules, NeedATokenButForTheVersions) {
  Api api;
  http::Request list = Api::Make("GET", "/resource_providers", 39), root = Api::Make("GET", "/", 39);
  list.headers = {};
  root.headers = {};

  Reply refused = api.Send(list), versions = api.Send(root);

  EXPECT_EQ(refused.status, 401);
  EXPECT_EQ(refused.At("/code"), "401 Unauthorized");
  EXPECT_EQ(versions.status, 200);
  EXPECT_EQ(versions.At("/versions/0/max_version"), "1.39");
  EXPECT_EQ(versions.At("/versions/0/links/0/href"), "");
}

TEST(HttpRules, AskThePolicyBeforeAnythingElse) {
  Api api;
  for (const Route& route : Routes()) {
    if (route.path.empty() || route.path == "/") continue;
    http::Request request = Api::Make(std::string(route.method), std::string(route.path), 39,
                                      route.method == "GET" || route.method == "DELETE" ? "" : "{}");
    request.headers.Set("x-roles", "member");
    Reply reply = api.Send(request);
    EXPECT_EQ(reply.status, 403) << route.method << " " << route.path;
    EXPECT_TRUE(reply.Says("Policy does not allow placement:")) << reply.body;
  }
}

TEST(HttpRules, GiveEveryRequestAnId) {
  Api api;

  Reply one = api.Get("/"), two = api.Get("/nothing");

  EXPECT_TRUE(one.headers.Get("x-openstack-request-id").starts_with("req-"));
  EXPECT_EQ(two.At("/errors/0/request_id"), two.headers.Get("x-openstack-request-id"));
  EXPECT_NE(one.headers.Get("x-openstack-request-id"), two.headers.Get("x-openstack-request-id"));
}

TEST(HttpRules, SayWhenAndNotToCacheFrom15On) {
  Api api;
  for (const char* path :
       {"/", "/resource_providers", "/traits", "/resource_classes", "/usages?project_id=p"}) {
    EXPECT_EQ(api.Get(path, 14).headers.Find("last-modified"), nullptr) << path;
    EXPECT_EQ(api.Get(path, 15).headers.Get("last-modified"), "Tue, 14 Nov 2023 22:13:20 GMT") << path;
    EXPECT_EQ(api.Get(path, 15).headers.Get("cache-control"), "no-cache") << path;
  }
}

TEST(HttpRules, ServeUnderAPrefix) {
  Api api({.prefix = "/placement", .access_log = false});

  Reply made =
      api.Post("/placement/resource_providers", R"({"name": "a", "uuid": ")" + std::string(kA) + "\"}");

  EXPECT_EQ(made.headers.Get("location"),
            "http://placement:8778/placement/resource_providers/" + std::string(kA));
  EXPECT_EQ(made.At("/links/0/href"), "/placement/resource_providers/" + std::string(kA));
  EXPECT_EQ(api.Get("/placement/").status, 200);
  EXPECT_EQ(api.Get("/placement").status, 200);
  EXPECT_EQ(api.Get("/resource_providers").status, 404);
}

TEST(HttpRules, TellMonitorsWithoutAToken) {
  Api api;
  http::Request health = Api::Make("GET", "/healthcheck", 39), metrics = Api::Make("GET", "/metrics", 39);
  health.headers = {};
  metrics.headers = {};
  api.Get("/traits");

  EXPECT_EQ(api.Send(health).body, "OK\n");
  std::string text = api.Send(metrics).body;
  EXPECT_NE(text.find(R"(placement_rest_requests_total{method="GET",route="/traits",status="200"} 1)"),
            std::string::npos)
      << text;
}

TEST(HttpRules, RefuseBrokenPaths) {
  Api api;

  EXPECT_EQ(api.Get("/traits/%zz").status, 400);
  EXPECT_EQ(api.Get("/traits/%ff").status, 400);
  EXPECT_EQ(api.Get("/traits/%e2%98%83").status, 404);
}

}  // namespace
}  // namespace berth::placement::rest
