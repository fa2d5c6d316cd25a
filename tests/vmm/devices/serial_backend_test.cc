#include "vmm/devices/serial_backend.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "common/file.h"
#include "common/unique_fd.h"
#include "tests/fakes/fake_irq_line.h"
#include "vmm/devices/byte_ring.h"

namespace berth::vmm {
namespace {

class SerialBackendTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "serial-XXXXXX";
    ASSERT_NE(mkdtemp(folder_.data()), nullptr);
    path_ = folder_ + "/serial";
  }
  void TearDown() override {
    unlink(path_.c_str());
    rmdir(folder_.c_str());
  }
  std::shared_ptr<SerialBackend> Open(SerialConfig::Mode mode) {
    auto backend = OpenSerialBackend({mode, path_}, *loop_);
    EXPECT_TRUE(backend.has_value()) << backend.status().ToString();
    return *backend;
  }
  UniqueFd Connect() {
    UniqueFd client(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    RunOnce();
    return client;
  }
  void RunOnce() {
    loop_->Stop();
    ASSERT_TRUE(loop_->Run().ok());
  }
  static void Put(SerialBackend& backend, const std::string& text) {
    for (char c : text) backend.Put(static_cast<uint8_t>(c));
  }
  std::string Read(const UniqueFd& client) {
    std::string text;
    char buffer[4096];
    for (;;) {
      const ssize_t count = read(client.get(), buffer, sizeof buffer);
      if (count <= 0) return text;
      text.append(buffer, static_cast<size_t>(count));
      RunOnce();
    }
  }

  std::string folder_;
  std::string path_;
  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create();
};

TEST(ByteRing, KeepsTheLastBytes) {
  ByteRing ring(4);
  for (char c : std::string("abcdef")) ring.Put(static_cast<uint8_t>(c));
  uint64_t position = 0;
  auto piece = ring.Next(position);
  EXPECT_EQ(position, 2u);
  EXPECT_EQ(std::string(piece.begin(), piece.end()), "cd");
  position += piece.size();
  piece = ring.Next(position);
  EXPECT_EQ(std::string(piece.begin(), piece.end()), "ef");
  position += piece.size();
  EXPECT_TRUE(ring.Next(position).empty());
}

TEST_F(SerialBackendTest, WritesToAFile) {
  auto backend = Open(SerialConfig::Mode::kFile);
  Put(*backend, "hello ");
  RunOnce();
  EXPECT_EQ(*ReadFile(path_), "hello ");
  Put(*backend, "world");
  backend.reset();  // what was not written yet goes out at the end
  EXPECT_EQ(*ReadFile(path_), "hello world");
}

TEST_F(SerialBackendTest, NamesAFileThatCannotBeOpened) {
  auto backend = OpenSerialBackend({SerialConfig::Mode::kFile, folder_ + "/none/x"}, *loop_);
  EXPECT_EQ(backend.status().code(), StatusCode::kNotFound);
  EXPECT_NE(backend.status().message().find("/none/x"), std::string::npos);
  EXPECT_FALSE(OpenSerialBackend({SerialConfig::Mode::kOff, ""}, *loop_).has_value());
}

TEST_F(SerialBackendTest, ReplaysWhatWasWrittenToANewClient) {
  auto backend = Open(SerialConfig::Mode::kSocket);
  Put(*backend, "boot\n");
  RunOnce();
  UniqueFd client = Connect();
  EXPECT_EQ(Read(client), "boot\n");
  Put(*backend, "login:");
  RunOnce();
  EXPECT_EQ(Read(client), "login:");

  UniqueFd second = Connect();  // takes over
  EXPECT_EQ(Read(second), "boot\nlogin:");
  char byte;
  EXPECT_EQ(read(client.get(), &byte, 1), 0);
}

TEST_F(SerialBackendTest, NeverWaitsForASlowReaderAndKeepsTheNewestBytes) {
  auto backend = Open(SerialConfig::Mode::kSocket);
  UniqueFd client = Connect();
  const std::string line(1023, 'x');
  for (int i = 0; i < 2000; ++i) {
    Put(*backend, line + "\n");
    if (i % 100 == 0) RunOnce();
  }
  Put(*backend, "the end");
  RunOnce();
  const std::string text = Read(client);
  EXPECT_LT(text.size(), 2000u * 1024);
  EXPECT_EQ(text.substr(text.size() - 7), "the end");
}

TEST_F(SerialBackendTest, PassesInputToThePortAsFastAsItTakesIt) {
  auto backend = Open(SerialConfig::Mode::kSocket);
  IrqRecord irq;
  auto port = std::make_shared<Serial>(std::make_unique<FakeIrqLine>(irq), backend);
  ConnectSerialInput(*backend, port);
  UniqueFd client = Connect();
  std::string sent;
  for (int i = 0; i < 500; ++i) sent.push_back(static_cast<char>('a' + i % 26));
  ASSERT_EQ(write(client.get(), sent.data(), sent.size()), 500);

  std::string received;
  for (int rounds = 0; received.size() < sent.size() && rounds < 1000; ++rounds) {
    RunOnce();
    uint8_t status = 0;
    for (port->Read(5, {&status, 1}); status & 1; port->Read(5, {&status, 1})) {
      uint8_t byte = 0;
      port->Read(0, {&byte, 1});
      received.push_back(static_cast<char>(byte));
    }
  }
  EXPECT_EQ(received, sent);
}

TEST_F(SerialBackendTest, TakesANewClientAfterTheOldOneLeft) {
  auto backend = Open(SerialConfig::Mode::kSocket);
  backend->SetReceiver([](std::span<const uint8_t> data) { return data.size(); });
  {
    UniqueFd client = Connect();
  }
  RunOnce();
  Put(*backend, "later");
  RunOnce();
  UniqueFd client = Connect();
  EXPECT_EQ(Read(client), "later");
}

TEST_F(SerialBackendTest, AClientThatEndsItsHalfReadsOn) {
  auto backend = Open(SerialConfig::Mode::kSocket);
  std::string input;
  backend->SetReceiver([&](std::span<const uint8_t> data) {
    input.append(data.begin(), data.end());
    return data.size();
  });
  UniqueFd client = Connect();
  ASSERT_EQ(write(client.get(), "ls", 2), 2);
  ASSERT_EQ(shutdown(client.get(), SHUT_WR), 0);
  RunOnce();
  RunOnce();
  EXPECT_EQ(input, "ls");
  Put(*backend, "file");
  RunOnce();
  EXPECT_EQ(Read(client), "file");
  client.reset();
  RunOnce();
  Put(*backend, "kept");
  RunOnce();
  UniqueFd next = Connect();
  EXPECT_EQ(Read(next), "filekept");
}

TEST_F(SerialBackendTest, AReaderOfAFifoMayStartAgain) {
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  UniqueFd reader(open(path_.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  auto backend = Open(SerialConfig::Mode::kFile);
  Put(*backend, "a");
  RunOnce();
  EXPECT_EQ(Read(reader), "a");
  reader.reset();
  signal(SIGPIPE, SIG_IGN);  // as in main()
  Put(*backend, "b");
  RunOnce();
  reader.reset(open(path_.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  Put(*backend, "c");
  RunOnce();
  EXPECT_EQ(Read(reader), "bc");
}

TEST_F(SerialBackendTest, AFileThatIsEmptiedGoesOnAtItsBeginning) {
  auto backend = Open(SerialConfig::Mode::kFile);
  Put(*backend, "before");
  RunOnce();
  ASSERT_EQ(truncate(path_.c_str(), 0), 0);
  Put(*backend, "after");
  RunOnce();
  EXPECT_EQ(*ReadFile(path_), "after");
}

TEST_F(SerialBackendTest, ReplacesAnAbandonedSocketButNotALiveOneOrAFile) {
  {
    auto dead = Open(SerialConfig::Mode::kSocket);
  }
  struct stat info{};
  EXPECT_NE(stat(path_.c_str(), &info), 0);  // removed at the end
  auto live = Open(SerialConfig::Mode::kSocket);
  EXPECT_EQ(OpenSerialBackend({SerialConfig::Mode::kSocket, path_}, *loop_).status().code(),
            StatusCode::kAlreadyExists);
  EXPECT_EQ(stat(path_.c_str(), &info), 0);
  live.reset();

  {  // left behind by a process that was killed
    UniqueFd abandoned(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(bind(abandoned.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  {
    auto reopened = Open(SerialConfig::Mode::kSocket);
  }
  ASSERT_TRUE(WriteFileAtomically(path_, "precious").ok());
  EXPECT_FALSE(OpenSerialBackend({SerialConfig::Mode::kSocket, path_}, *loop_).has_value());
  EXPECT_EQ(*ReadFile(path_), "precious");
}

}  // namespace
}  // namespace berth::vmm
