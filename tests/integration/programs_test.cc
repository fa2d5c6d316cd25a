// berth-placement and berth-scheduler as an operator starts them: wrong options end them with one clear
// error, and before that nothing is made.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "common/unique_fd.h"
#include "tests/fakes/temp_folder.h"

namespace berth {
namespace {

struct Ended {
  int code = -1;
  std::string text;  // both outputs
};

class ProgramsTest : public testing::Test {
 protected:
  // In the test's folder; what should have ended by itself ends after 20 s.
  Ended Run(const std::string& program, const std::string& arguments) {
    std::string command =
        "cd " + folder_.path().string() + " && timeout 20 " + program + " " + arguments + " 2>&1";
    std::FILE* out = ::popen(command.c_str(), "r");
    Ended ended;
    for (int c = std::fgetc(out); c != EOF; c = std::fgetc(out)) ended.text += static_cast<char>(c);
    ended.code = WEXITSTATUS(::pclose(out));
    return ended;
  }
  Ended Placement(const std::string& arguments) { return Run(BERTH_PLACEMENT, arguments); }
  Ended Scheduler(const std::string& arguments) { return Run(BERTH_SCHEDULER, "--config . " + arguments); }
  std::string Put(const std::string& name, const std::string& text, unsigned mode = 0600) {
    const std::string path = (folder_.path() / name).string();
    std::ofstream(path) << text;
    ::chmod(path.c_str(), mode);
    return path;
  }
  bool Made(const std::string& name) { return std::filesystem::exists(folder_.path() / name); }

  fakes::TempFolder folder_;
};

bool Has(const Ended& ended, const std::string& text) {
  return ended.text.find(text) != std::string::npos;
}

// A port of 127.0.0.1 that somebody listens on.
struct Taken {
  Taken() : fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), size);
    ::listen(fd.get(), 1);
    ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size);
    listen = "127.0.0.1:" + std::to_string(::ntohs(address.sin_port));
  }
  UniqueFd fd;
  std::string listen;
};

TEST_F(ProgramsTest, AnAddressThatIsNoneIsNamedBeforeTheStoreIsMade) {
  Ended placement = Placement("--grpc-listen 127.0.0.1:70000");
  Ended listen = Scheduler("--grpc-listen 127.0.0.1:70000");
  Ended peer = Scheduler("--placement bad:xx");

  EXPECT_EQ(placement.code, 1);
  EXPECT_EQ(
      placement.text,
      "berth-placement: INVALID_ARGUMENT: grpc-listen: \"127.0.0.1:70000\" is no address (expected HOST:PORT "
      "or [IPv6]:PORT, port 0 to 65535)\n");
  EXPECT_FALSE(Made("placement.db"));
  EXPECT_TRUE(Has(listen, "grpc-listen: \"127.0.0.1:70000\" is no address")) << listen.text;
  EXPECT_EQ(peer.code, 1);
  EXPECT_TRUE(
      Has(peer, "placement: \"bad:xx\" is no address (expected HOST:PORT or [IPv6]:PORT, port 1 to 65535)"))
      << peer.text;
}

TEST_F(ProgramsTest, APortInUseIsOneLineWithOptionAndValue) {
  Taken taken;

  Ended placement = Placement("--grpc-listen " + taken.listen);
  Ended rest = Placement("--grpc-listen 127.0.0.1:0 --rest-listen " + taken.listen);
  Ended scheduler = Scheduler("--grpc-listen " + taken.listen);

  const std::string text = "UNAVAILABLE: grpc-listen: cannot listen on \"" + taken.listen +
                           "\" (is the port free, and the address one of this machine?)\n";
  EXPECT_TRUE(Has(placement, "berth-placement: " + text)) << placement.text;
  EXPECT_TRUE(Has(scheduler, "berth-scheduler: " + text)) << scheduler.text;
  EXPECT_TRUE(Has(rest, "UNAVAILABLE: rest-listen: cannot listen on " + taken.listen)) << rest.text;
  for (const Ended& ended : {placement, rest, scheduler}) {
    EXPECT_EQ(ended.code, 1);
    EXPECT_FALSE(Has(ended, "chttp2")) << ended.text;
  }
}

TEST_F(ProgramsTest, CheckRefusesWhatTheStartRefusesAndMakesNothing) {
  const std::string open = Put("open.yaml", "tokens: []\n", 0644);
  const std::string broken = Put("broken.yaml", "tokens: [{token: short, user: u, project: p, roles: []}]\n");
  const std::string policy = Put("policy.yaml", "\"placement:nonsense\": \"@\"\n");
  const std::string rest = "--check --rest-listen 127.0.0.1:0 ";
  const std::string tokens = rest + "--auth token-file --token-file ";
  auto keystone = [&](const std::string& keys) {
    return "--check --config " +
           Put("placement.yaml", "rest: {listen: '127.0.0.1:0', auth: keystone, keystone: {" + keys +
                                     "username: u, password: p}}\n");
  };

  auto refuses = [&](const std::string& arguments, const std::string& text) {
    Ended ended = Placement(arguments);
    EXPECT_EQ(ended.code, 1) << arguments;
    EXPECT_TRUE(Has(ended, text)) << arguments << ": " << ended.text;
  };
  refuses("--check --store foo:bar", "store: \"foo:bar\" names no store");
  refuses("--check --grpc-listen bad", "grpc-listen: \"bad\"");
  refuses("--check --rest-listen bad", "rest-listen: \"bad\"");
  refuses("--check --rest-listen 0.0.0.0:1", "auth: \"none\"");
  refuses("--check --rest-listen '[::1]:1'",
          "rest-listen: cpprestsdk cannot listen on the IPv6 address [::1]:1 (use "
          "--rest-listener beast");
  refuses(rest + "--rest-prefix x", "rest-prefix: \"x\"");
  refuses(tokens + "/nowhere", "token-file: /nowhere");
  refuses(tokens + open, "token-file: " + open + " can be read by everybody");
  refuses(tokens + broken, "tokens[0].token: " + broken);
  refuses(rest + "--policy-file /nowhere", "policy-file: /nowhere");
  refuses(rest + "--policy-file " + policy, "policy.placement:nonsense: " + policy);
  refuses(keystone(""), "rest.keystone.url: ");
  refuses(keystone("url: foo, "), "rest.keystone.url: \"foo\"");

  Ended all = Placement(rest + "--store foo:bar --grpc-listen bad --rest-prefix x --policy-file /nowhere");
  for (const char* field : {"4 errors", "store:", "grpc-listen:", "rest-prefix:", "policy-file:"})
    EXPECT_TRUE(Has(all, field)) << all.text;
  Ended good = Placement(rest + "--store sqlite:a.db");
  EXPECT_EQ(good.code, 0) << good.text;
  EXPECT_FALSE(Made("a.db"));
  EXPECT_FALSE(Made("placement.db"));
}

TEST_F(ProgramsTest, AnUnknownVerbOfDbIsNamed) {
  Ended unknown = Placement("db nope");
  Ended none = Placement("db");
  Ended missing = Placement("db check --store sqlite:none.db");

  EXPECT_EQ(unknown.code, 2);
  EXPECT_EQ(unknown.text, "berth-placement db: no verb \"nope\"; there are check, export and import\n");
  Ended more = Placement("db check more");
  EXPECT_EQ(more.code, 2);
  EXPECT_TRUE(Has(more, "not expected: more")) << more.text;  // it is no verb that is wrong
  EXPECT_EQ(none.code, 2);
  EXPECT_TRUE(Has(none, "there are check, export and import")) << none.text;
  EXPECT_EQ(missing.code, 1);
  EXPECT_EQ(missing.text, "berth-placement db check: NOT_FOUND: store: there is no store none.db\n");
  EXPECT_FALSE(Made("none.db"));
}

TEST_F(ProgramsTest, TheSchedulerTellsThatPlacementIsAway) {
  Ended ended =
      Run("timeout 8 " BERTH_SCHEDULER, "--config . --grpc-listen 127.0.0.1:0 --placement 127.0.0.1:1");

  const std::string line = "placement_unreachable endpoint=127.0.0.1:1";
  const size_t first = ended.text.find(line);
  ASSERT_NE(first, std::string::npos) << ended.text;
  EXPECT_EQ(ended.text.find(line, first + 1), std::string::npos) << ended.text;
}

}  // namespace
}  // namespace berth
