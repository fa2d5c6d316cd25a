#include "vmm/api/api_server.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/vmm/api/fake_vm_control.h"
#include "vmm/api/client.h"
#include "vmm/bus/unix_listener.h"
#include "vmm/ctl/ctl.h"

namespace berth::vmm {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

constexpr std::string_view kPing = "GET /api/v1/vmm.ping HTTP/1.1\r\n\r\n";

class ApiServerTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "berth-api-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
    path_ = (folder_ / "api.sock").string();
  }
  void TearDown() override {
    server_.reset();
    fs::remove_all(folder_);
  }
  void Start(ApiLimits limits = {}) {
    Result<std::unique_ptr<ApiServer>> server = ApiServer::Start(path_, vm_, limits);
    ASSERT_TRUE(server.has_value()) << server.status().ToString();
    server_ = *std::move(server);
  }
  UniqueFd Connect() {
    Result<UniqueFd> fd = ConnectUnix(path_);
    EXPECT_TRUE(fd.has_value()) << fd.status().ToString();
    // A test that waits for bytes that never come shall fail, not hang.
    timeval limit{20, 0};
    EXPECT_EQ(setsockopt(fd->get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    return *std::move(fd);
  }
  static void Send(const UniqueFd& fd, std::string_view text) {
    ASSERT_EQ(send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  // Reads until the connection ends, or until `wanted` bodies have come.
  static std::string Receive(const UniqueFd& fd, int wanted = -1) {
    std::string text;
    char chunk[4096];
    auto bodies = [&] {
      int count = 0;
      for (size_t at = text.find("\"features\":[]}"); at != std::string::npos;
           at = text.find("\"features\":[]}", at + 1))
        ++count;
      return count;
    };
    while (wanted < 0 || bodies() < wanted) {
      ssize_t got = recv(fd.get(), chunk, sizeof chunk, 0);
      if (got < 0 && errno != ECONNRESET) ADD_FAILURE() << "no end of the connection: " << text;
      if (got <= 0) break;
      text.append(chunk, static_cast<size_t>(got));
    }
    return text;
  }

  FakeVmControl vm_;
  fs::path folder_;
  std::string path_;
  std::unique_ptr<ApiServer> server_;
};

TEST_F(ApiServerTest, TheSocketIsForItsOwnerOnlyAndGoesWithTheServer) {
  Start();
  struct stat info{};
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_TRUE(S_ISSOCK(info.st_mode));
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_GT(server_->thread_id(), 0);

  server_.reset();

  EXPECT_FALSE(fs::exists(path_));
}

TEST_F(ApiServerTest, ReplacesALeftOverSocketButNothingElse) {
  Start();
  // A hard link keeps the file when the server removes its own.
  fs::create_hard_link(path_, path_ + ".copy");
  server_.reset();
  fs::rename(path_ + ".copy", path_);
  Start();
  EXPECT_EQ(ApiServer::Start(path_, vm_).status().code(), StatusCode::kAlreadyExists) << "somebody listens";

  std::string file = (folder_ / "file").string();
  std::ofstream(file) << "precious";
  EXPECT_EQ(ApiServer::Start(file, vm_).status().code(), StatusCode::kAlreadyExists);
  EXPECT_TRUE(fs::exists(file));
  EXPECT_EQ(ApiServer::Start(std::string(108, 'a'), vm_).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(ApiServer::Start((folder_ / "no" / "such").string(), vm_).status().code(), StatusCode::kNotFound);
}

TEST_F(ApiServerTest, KeepsAConnectionForSeveralRequests) {
  Start();
  UniqueFd client = Connect();
  for (int i = 0; i < 3; ++i) {
    Send(client, kPing);
    EXPECT_TRUE(Receive(client, 1).starts_with("HTTP/1.1 200 OK\r\n"));
  }
}

TEST_F(ApiServerTest, AnswersPipelinedRequestsInOrder) {
  Start();
  UniqueFd client = Connect();
  Send(client, std::string(kPing) +
                   "PUT /api/v1/vm.pause HTTP/1.1\r\n\r\nGET /api/v1/vm.nothing HTTP/1.1\r\n\r\n" +
                   "GET /api/v1/vmm.ping HTTP/1.0\r\n\r\n");

  std::string text = Receive(client);

  size_t ok = text.find("HTTP/1.1 200");
  size_t none = text.find("HTTP/1.1 204");
  size_t missing = text.find("HTTP/1.1 404");
  size_t last = text.rfind("HTTP/1.1 200");
  EXPECT_TRUE(ok < none && none < missing && missing < last) << text;
}

TEST_F(ApiServerTest, ARequestMayComeByteByByte) {
  Start();
  UniqueFd client = Connect();
  for (char c : kPing) Send(client, std::string_view(&c, 1));
  EXPECT_TRUE(Receive(client, 1).starts_with("HTTP/1.1 200 OK\r\n"));
}

TEST_F(ApiServerTest, AClientThatWaitsIsToldToSendItsBody) {
  Start();
  UniqueFd fd = Connect();
  for (int round = 0; round < 2; ++round) {
    Send(fd, "PUT /api/v1/vm.resize HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 19\r\n\r\n");
    std::string told(kHttpContinue.size(), '\0');
    ASSERT_EQ(recv(fd.get(), told.data(), told.size(), MSG_WAITALL), static_cast<ssize_t>(told.size()));
    EXPECT_EQ(told, "HTTP/1.1 100 Continue\r\n\r\n");
    EXPECT_EQ(vm_.calls().size(), static_cast<size_t>(round));
    Send(fd, "{\"desired_vc");
    Send(fd, "pus\":2}");
    char answer[12];
    ASSERT_EQ(recv(fd.get(), answer, sizeof answer, MSG_WAITALL), 12);
    EXPECT_EQ(std::string_view(answer, 12), "HTTP/1.1 204");
    EXPECT_EQ(vm_.calls().size(), static_cast<size_t>(round) + 1);
    char rest[4096];
    recv(fd.get(), rest, sizeof rest, MSG_DONTWAIT);
  }
}

TEST_F(ApiServerTest, AHalfClosedClientGetsItsAnswer) {
  Start();
  UniqueFd client = Connect();
  Send(client, kPing);
  ASSERT_EQ(shutdown(client.get(), SHUT_WR), 0);
  EXPECT_TRUE(Receive(client).starts_with("HTTP/1.1 200 OK\r\n"));
}

TEST_F(ApiServerTest, MalformedRequestsAreAnsweredAndTheConnectionClosed) {
  Start();
  for (auto [text, status] : std::vector<std::pair<std::string, std::string>>{
           {"nonsense\r\n\r\n", "400"},
           {"GET / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", "413"},
           {"GET /" + std::string(9000, 'a') + " HTTP/1.1\r\n\r\n", "431"},
           {"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "501"}}) {
    UniqueFd client = Connect();
    Send(client, text);
    EXPECT_TRUE(Receive(client).starts_with("HTTP/1.1 " + status)) << text.substr(0, 40);
  }
  UniqueFd client = Connect();
  Send(client, kPing);
  EXPECT_TRUE(Receive(client, 1).starts_with("HTTP/1.1 200"));
}

TEST_F(ApiServerTest, ASlowRequestIsToldAndDropped) {
  ApiLimits limits;
  limits.request_timeout = milliseconds(50);
  Start(limits);
  UniqueFd slow = Connect();
  Send(slow, "GET /api/v1/");

  EXPECT_TRUE(Receive(slow).starts_with("HTTP/1.1 408"));
}

TEST_F(ApiServerTest, ASlowBodyIsToldAndDropped) {
  ApiLimits limits;
  limits.request_timeout = milliseconds(50);
  Start(limits);
  UniqueFd slow = Connect();
  Send(slow, "PUT /api/v1/vm.pause HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc");

  EXPECT_TRUE(Receive(slow).starts_with("HTTP/1.1 408"));
  EXPECT_TRUE(vm_.actions().empty());
}

TEST_F(ApiServerTest, AnIdleConnectionIsClosed) {
  ApiLimits limits;
  limits.idle_timeout = milliseconds(50);
  Start(limits);
  UniqueFd idle = Connect();

  EXPECT_EQ(Receive(idle), "");
}

TEST_F(ApiServerTest, AClientThatDoesNotReadIsDropped) {
  ApiLimits limits;
  limits.response_timeout = milliseconds(50);
  Start(limits);
  UniqueFd deaf = Connect();
  // Sends until the server stops reading because its answers find no room, and then has dropped us.
  timeval limit{20, 0};
  ASSERT_EQ(setsockopt(deaf.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit), 0);
  std::string many;
  for (int i = 0; i < 1000; ++i) many += kPing;
  ssize_t sent = 0;
  while ((sent = send(deaf.get(), many.data(), many.size(), MSG_NOSIGNAL)) > 0) {
  }

  EXPECT_TRUE(errno == EPIPE || errno == ECONNRESET) << strerror(errno);
}

TEST_F(ApiServerTest, OneConnectionTooManyIsRefused) {
  ApiLimits limits;
  limits.connections = 2;
  Start(limits);
  UniqueFd first = Connect();
  UniqueFd second = Connect();
  for (UniqueFd* client : {&first, &second}) {
    Send(*client, kPing);
    Receive(*client, 1);
  }

  EXPECT_TRUE(Receive(Connect()).starts_with("HTTP/1.1 503"));

  first.reset();
  // The place is free as soon as the server has seen the end of the first client.
  std::string answer;
  while (!answer.starts_with("HTTP/1.1 200")) {
    UniqueFd next = Connect();
    if (send(next.get(), kPing.data(), kPing.size(), MSG_NOSIGNAL) < 0) continue;
    answer = Receive(next, 1);
  }
}

// As a service manager that holds the socket hands it over.
TEST_F(ApiServerTest, ServesOnAnInheritedSocket) {
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM, 0));
  EXPECT_EQ(UnixListener::Inherit(fd.get()).status().code(), StatusCode::kInvalidArgument)
      << "it does not listen";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path_.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(listen(fd.get(), 1), 0);
  Result<UnixListener> listener = UnixListener::Inherit(fd.release());
  ASSERT_TRUE(listener.has_value()) << listener.status().ToString();
  auto server = ApiServer::Start(*std::move(listener), vm_);
  ASSERT_TRUE(server.has_value()) << server.status().ToString();

  std::ostringstream out, err;
  EXPECT_EQ(RunCtl({"--api-socket", path_, "ping"}, out, err), 0) << err.str();

  server->reset();
  EXPECT_EQ(access(path_.c_str(), F_OK), 0) << "the file is its maker's";
  unlink(path_.c_str());
}

TEST_F(ApiServerTest, TheControlProgramMirrorsTheVerbs) {
  Start();
  std::ostringstream out;
  std::ostringstream err;
  EXPECT_EQ(RunCtl({"--api-socket", path_, "vm.counters"}, out, err), 0) << err.str();
  EXPECT_EQ(out.str(), "{\n  \"disk0\": {\n    \"read_bytes\": 4096,\n    \"write_bytes\": 0\n  }\n}\n");
  out.str("");
  EXPECT_EQ(RunCtl({"--api-socket=" + path_, "--compact", "ping"}, out, err), 0);
  EXPECT_TRUE(out.str().starts_with("{\"version\""));
  out.str("");
  EXPECT_EQ(RunCtl({"--api-socket", path_, "pause"}, out, err), 0);
  EXPECT_EQ(out.str(), "");
  EXPECT_EQ(err.str(), "");
  EXPECT_EQ(RunCtl({"--api-socket", path_, "vm.pause"}, out, err), 1);
  EXPECT_NE(err.str().find("vm.pause: HTTP status 409"), std::string::npos) << err.str();
  EXPECT_NE(err.str().find("the machine is Paused"), std::string::npos) << err.str();
}

TEST_F(ApiServerTest, TheControlProgramSaysWhatIsWrong) {
  std::ostringstream out;
  std::ostringstream err;
  EXPECT_EQ(RunCtl({"--api-socket", path_, "vm.info"}, out, err), 1) << "nobody listens";
  EXPECT_EQ(RunCtl({"--api-socket", path_, "vm.fly"}, out, err), 2);
  EXPECT_EQ(RunCtl({"vm.info"}, out, err), 2);
  EXPECT_EQ(RunCtl({"--api-socket"}, out, err), 2);
  EXPECT_EQ(RunCtl({"--api-socket", path_}, out, err), 2);
  EXPECT_EQ(RunCtl({"--colour", "--api-socket", path_, "vm.info"}, out, err), 2);
  EXPECT_EQ(RunCtl({"--api-socket", path_, "vm.info", "vm.info"}, out, err), 2);
  EXPECT_EQ(out.str(), "");
  EXPECT_EQ(RunCtl({"--help"}, out, err), 0);
  EXPECT_NE(out.str().find("vm.power-button"), std::string::npos);
}

TEST_F(ApiServerTest, TheControlProgramMakesBodiesOfItsArguments) {
  Start();
  std::ostringstream out;
  std::ostringstream err;
  auto call = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"--api-socket", path_});
    return RunCtl(arguments, out, err);
  };
  EXPECT_EQ(call({"resize", "--cpus", "4", "--memory", "1G", "--timeout", "7"}), 0) << err.str();
  EXPECT_EQ(call({"resize-zone", "--id", "m0", "--size", "2M"}), 0) << err.str();
  EXPECT_EQ(call({"add-disk", "path=\"a,b\",readonly=on"}), 0) << err.str();
  EXPECT_NE(out.str().find("0000:00:05.0"), std::string::npos);
  EXPECT_EQ(call({"remove-device", "disk7"}), 0) << err.str();
  EXPECT_EQ(call({"vm.resize", R"({"desired_vcpus":2})"}), 0) << err.str();
  EXPECT_EQ(call({"resize-disk", "--disk", "d", "--size", "1K"}), 0) << err.str();
  EXPECT_EQ(vm_.calls(), (std::vector<std::string>{"resize 4 1073741824 7", "zone m0 2097152 60000",
                                                   R"(add disk {"path":"a,b","readonly":true})",
                                                   "remove disk7 60000", "resize 2 0 60000", "disk d 1024"}));
  EXPECT_EQ(err.str(), "");
  for (const std::vector<std::string>& wrong :
       std::vector<std::vector<std::string>>{{"resize", "--cpus"},
                                             {"resize", "--cpu", "4"},
                                             {"resize", "4"},
                                             {"resize", "--memory", "1KMG"},
                                             {"resize-zone", "--id", "m0"},
                                             {"add-disk"},
                                             {"add-disk", "pth=a"},
                                             {"remove-device"},
                                             {"remove-device", "a", "b"},
                                             {"create", "/nonexistent"},
                                             {"info", "x"}})
    EXPECT_EQ(call(wrong), 2) << wrong[0];
}

TEST_F(ApiServerTest, DescriptorsTravelWithANetworkDevice) {
  Start();
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const UniqueFd reader(ends[0]), writer(ends[1]);
  const int fds[] = {reader.get(), writer.get()};
  auto added =
      CallApi(path_, "PUT", "vm.add-net", milliseconds(20000), R"({"mac":"52:54:00:00:00:01"})", fds);
  ASSERT_TRUE(added.has_value()) << added.status().ToString();
  EXPECT_EQ(added->status, 204);
  ASSERT_EQ(vm_.calls().size(), 1u);
  EXPECT_EQ(vm_.calls()[0], R"(add net {"mac":"52:54:00:00:00:01"} with 2 descriptors)");

  auto refused = CallApi(path_, "PUT", "vm.add-disk", milliseconds(20000), "{}", fds);
  ASSERT_TRUE(refused.has_value()) << refused.status().ToString();
  EXPECT_EQ(refused->status, 400);
  EXPECT_NE(refused->body.find("vm.add-disk takes no descriptors"), std::string::npos) << refused->body;

  // The command line's way.
  std::ostringstream out, err;
  const std::string keys = "fd=[" + std::to_string(fds[0]) + "," + std::to_string(fds[1]) + "],id=n";
  EXPECT_EQ(RunCtl({"--api-socket", path_, "add-net", keys}, out, err), 0) << err.str();
  EXPECT_EQ(vm_.calls().back(), R"(add net {"id":"n"} with 2 descriptors)");
}

TEST_F(ApiServerTest, DescriptorsTravelWithARestore) {
  Start();
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const UniqueFd reader(ends[0]), writer(ends[1]);
  const int fds[] = {reader.get(), writer.get()};
  auto restored = CallApi(path_, "PUT", "vm.restore", milliseconds(20000),
                          R"({"source_url":"file:///s","net_fds":[{"id":"n","num_fds":2}]})", fds);
  ASSERT_TRUE(restored.has_value()) << restored.status().ToString();
  EXPECT_EQ(restored->status, 204) << restored->body;
  EXPECT_EQ(vm_.calls().back(), "restore /s n:2");

  std::ostringstream out, err;
  const std::string keys =
      "source_url=file:///t,net_fds=[n@[" + std::to_string(fds[0]) + "],m@[" + std::to_string(fds[1]) + "]]";
  EXPECT_EQ(RunCtl({"--api-socket", path_, "restore", keys}, out, err), 0) << err.str();
  EXPECT_EQ(vm_.calls().back(), "restore /t n:1 m:1");
  const std::string body = R"({"source_url":"file:///u","net_fds":[{"id":"n","num_fds":1,"fds":[)" +
                           std::to_string(fds[0]) + "]}]}";
  EXPECT_EQ(RunCtl({"--api-socket", path_, "restore", body}, out, err), 0) << err.str();
  EXPECT_EQ(vm_.calls().back(), "restore /u n:1");
}

}  // namespace
}  // namespace berth::vmm
