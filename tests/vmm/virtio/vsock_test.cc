#include "vmm/virtio/vsock.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <thread>
#include <vector>

#include "tests/fakes/fake_interrupts.h"
#include "tests/fakes/virtio_driver.h"

namespace berth::vmm {
namespace {

enum : uint16_t { kRequest = 1, kResponse = 2, kRst = 3, kShutdown = 4, kRw = 5, kUpdate = 6, kAsk = 7 };
constexpr uint32_t kTakesNoMore = 1, kEnds = 2;  // flags of a shutdown
constexpr uint32_t kCid = 7;
constexpr uint64_t kTx = 0x20000, kRx = 0x30000;
constexpr uint32_t kRxBytes = 512;

// Plays the guest's driver by packets and a host program by sockets. The test's thread is the event loop.
class VsockTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "berth-vsock-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
    path_ = folder_ + "/v";
    device_ = *VirtioVsock::Create(kCid, path_, *loop_);
    transport_ = *VirtioPciTransport::Create(device_, ram_.memory(), interrupts_, io_events_);
    driver_.emplace(*transport_);
    ASSERT_TRUE(driver_->Negotiate(kVirtioVersion1));
    driver_->EnableMsix(4);
    driver_->SetUpQueue(0, rx_);
    driver_->SetUpQueue(1, tx_);
    driver_->SetUpQueue(2, events_);
    driver_->Start();
    ASSERT_EQ(driver_->status(), 0x0f);
  }
  void TearDown() override {
    driver_.reset();
    transport_.reset();
    device_.reset();
    std::filesystem::remove_all(folder_);
  }

  void RunOnce() {
    for (int i = 0; i < 3; ++i) {
      loop_->Stop();
      ASSERT_TRUE(loop_->Run().ok());
    }
  }
  void GiveBuffers(int count) {
    for (int i = 0; i < count; ++i) {
      rx_.Post({{kRx + uint64_t{given_ % 16u} * kRxBytes, kRxBytes, true}});
      ++given_;
    }
    driver_->Notify(0);
    RunOnce();
  }
  void Send(uint16_t operation, uint32_t host_port, uint32_t guest_port, const std::string& data = {},
            uint32_t flags = 0, uint32_t room = 1 << 16) {
    VsockHeader header;
    header.source_cid = kCid;
    header.destination_cid = 2;
    header.source_port = guest_port;
    header.destination_port = host_port;
    header.length = static_cast<uint32_t>(data.size());
    header.type = 1;
    header.operation = operation;
    header.flags = flags;
    header.buffer_size = room;
    header.forwarded = forwarded_;
    ram_.PutObject(kTx, header);
    if (!data.empty()) ram_.Put(kTx + sizeof header, {data.begin(), data.end()});
    tx_.Post({{kTx, static_cast<uint32_t>(sizeof header + data.size())}});
    driver_->Notify(1);
    RunOnce();
  }
  struct Packet {
    VsockHeader header;
    std::string data;
  };
  // The next packet that the guest has got; its buffer is given back.
  std::optional<Packet> Receive() {
    if (taken_ == rx_.UsedIndex()) return std::nullopt;
    const uint64_t at = kRx + uint64_t{taken_ % 16u} * kRxBytes;
    Packet packet{ram_.GetObject<VsockHeader>(at), {}};
    const auto used = rx_.Used(taken_++);
    EXPECT_EQ(used.written, sizeof(VsockHeader) + packet.header.length);
    const auto bytes = ram_.Get(at + sizeof(VsockHeader), packet.header.length);
    packet.data.assign(bytes.begin(), bytes.end());
    return packet;
  }
  uint16_t Operation() {
    auto packet = Receive();
    return packet ? packet->header.operation : 0;
  }
  // From the guest, 20,000 bytes more than the host's socket holds: they wait in the device. Returns how many
  // in all.
  size_t FillSocket(int host) {
    int room = 0;
    socklen_t length = sizeof room;
    EXPECT_EQ(getsockopt(host, SOL_SOCKET, SO_SNDBUF, &room, &length), 0);
    size_t sent = 0;
    while (sent < static_cast<size_t>(room) + 20000) {
      Send(kRw, 80, 1000, std::string(4000, 'x'));
      sent += 4000;
    }
    return sent;
  }
  static std::string Read(int fd) {
    char buffer[4096];
    const ssize_t count = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
    return count > 0 ? std::string(buffer, static_cast<size_t>(count)) : std::string();
  }

  std::string folder_, path_;
  GuestRam ram_{{{0, 0x40000}}};
  DriverQueue rx_{ram_, 0x1000, 16}, tx_{ram_, 0x3000, 16}, events_{ram_, 0x5000, 16};
  FakeMsiController interrupts_;
  FakeIoEvents io_events_;
  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create();
  std::shared_ptr<VirtioVsock> device_;
  std::shared_ptr<VirtioPciTransport> transport_;
  std::optional<VirtioDriver> driver_;
  uint16_t given_ = 0, taken_ = 0;
  uint32_t forwarded_ = 0;
};

TEST_F(VsockTest, AConnectionOfTheGuestReachesTheSocketOfItsPort) {
  UnixListener listener = *UnixListener::Open(path_ + "_80");
  GiveBuffers(4);

  Send(kRequest, 80, 1000);
  EXPECT_EQ(Operation(), kResponse);
  UniqueFd host = listener.Accept();
  ASSERT_TRUE(host.valid());
  Send(kRw, 80, 1000, "hello");
  EXPECT_EQ(Read(host.get()), "hello");
  ASSERT_EQ(send(host.get(), "world", 5, 0), 5);
  RunOnce();
  auto packet = Receive();
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->header.operation, kRw);
  EXPECT_EQ(packet->data, "world");
  EXPECT_EQ(packet->header.source_port, 80u);
  EXPECT_EQ(packet->header.forwarded, 5u);

  host.reset();
  RunOnce();
  EXPECT_EQ(Operation(), kShutdown);
  Send(kShutdown, 80, 1000, {}, 3);
  EXPECT_EQ(Operation(), kRst);
}

TEST_F(VsockTest, WhereNobodyListensTheGuestIsRefused) {
  GiveBuffers(2);
  Send(kRequest, 81, 1000);
  auto packet = Receive();
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->header.operation, kRst);
  EXPECT_EQ(packet->header.source_port, 81u);
  EXPECT_EQ(packet->header.destination_port, 1000u);
  EXPECT_EQ(packet->header.destination_cid, kCid);
}

TEST_F(VsockTest, AProgramOfTheHostConnectsByName) {
  GiveBuffers(4);
  UniqueFd client = *ConnectUnix(path_);
  RunOnce();
  ASSERT_EQ(send(client.get(), "CONNECT 22\nearly", 16, 0), 16);
  RunOnce();
  auto request = Receive();
  ASSERT_TRUE(request);
  EXPECT_EQ(request->header.operation, kRequest);
  EXPECT_EQ(request->header.destination_port, 22u);
  const uint32_t port = request->header.source_port;

  Send(kResponse, port, 22);
  EXPECT_EQ(Read(client.get()), "OK " + std::to_string(port) + "\n");
  auto data = Receive();
  ASSERT_TRUE(data);
  EXPECT_EQ(data->data, "early");
  Send(kRst, port, 22);
  EXPECT_EQ(recv(client.get(), &data->header, 1, MSG_DONTWAIT), 0) << "closed";
}

TEST_F(VsockTest, NonsenseOfAClientIsClosed) {
  GiveBuffers(2);
  for (const char* text : {"HELLO 22\n", "CONNECT x\n", "CONNECT 99999999999\n", "CONNECT 1 2\n",
                           "CONNECT 11111111111111111111111111111111111111\n"}) {
    UniqueFd client = *ConnectUnix(path_);
    RunOnce();
    ASSERT_GT(send(client.get(), text, strlen(text), MSG_NOSIGNAL), 0);
    RunOnce();
    char byte;
    const ssize_t count = recv(client.get(), &byte, 1, MSG_DONTWAIT);
    EXPECT_TRUE(count == 0 || (count < 0 && errno == ECONNRESET)) << text;
  }
  EXPECT_FALSE(Receive());
}

TEST_F(VsockTest, TheGuestsRoomIsNotExceeded) {
  UnixListener listener = *UnixListener::Open(path_ + "_80");
  GiveBuffers(8);
  Send(kRequest, 80, 1000, {}, 0, 8);
  EXPECT_EQ(Operation(), kResponse);
  UniqueFd host = listener.Accept();
  ASSERT_EQ(send(host.get(), "0123456789", 10, 0), 10);
  RunOnce();
  EXPECT_EQ(Receive()->data, "01234567");
  EXPECT_FALSE(Receive());

  forwarded_ = 8;
  Send(kUpdate, 80, 1000, {}, 0, 8);
  EXPECT_EQ(Receive()->data, "89");
}

TEST_F(VsockTest, DataBeyondOurRoomEndsTheConnection) {
  UnixListener listener = *UnixListener::Open(path_ + "_80");
  GiveBuffers(12);
  Send(kRequest, 80, 1000);
  EXPECT_EQ(Operation(), kResponse);
  UniqueFd host = listener.Accept();
  int small = 4096;
  setsockopt(host.get(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  bool refused = false;
  for (int i = 0; i < 2000 && !refused; ++i) {
    Send(kRw, 80, 1000, std::string(4000, 'x'));
    while (auto packet = Receive()) refused |= packet->header.operation == kRst;
    if (taken_ % 8 == 7) GiveBuffers(1);
  }
  EXPECT_TRUE(refused);
}

TEST_F(VsockTest, WhatTheGuestSentBeforeItClosedReachesTheHost) {
  UnixListener listener = *UnixListener::Open(path_ + "_80");
  GiveBuffers(16);
  Send(kRequest, 80, 1000);
  EXPECT_EQ(Operation(), kResponse);
  UniqueFd host = listener.Accept();
  // More than the socket holds, so that the rest waits in the device.
  int room = 0;
  socklen_t length = sizeof room;
  ASSERT_EQ(getsockopt(host.get(), SOL_SOCKET, SO_SNDBUF, &room, &length), 0);
  if (room > static_cast<int>(VirtioVsock::kBufferBytes)) GTEST_SKIP() << "large socket buffers";
  size_t sent = 0;
  while (sent < static_cast<size_t>(room) + 20000) {
    Send(kRw, 80, 1000, std::string(4000, 'x'));
    sent += 4000;
  }
  Send(kShutdown, 80, 1000, {}, 3);
  while (auto packet = Receive()) ASSERT_EQ(packet->header.operation, kUpdate);

  size_t read = 0;
  for (std::string piece = Read(host.get()); !piece.empty(); piece = Read(host.get())) {
    read += piece.size();
    RunOnce();
  }
  EXPECT_EQ(read, sent);
  uint16_t last = 0;
  while (auto packet = Receive()) last = packet->header.operation;
  EXPECT_EQ(last, kRst);
}

TEST_F(VsockTest, AProgramThatEndsItsHalfReadsOn) {
  UnixListener listener = *UnixListener::Open(path_ + "_80");
  GiveBuffers(6);
  Send(kRequest, 80, 1000);
  EXPECT_EQ(Operation(), kResponse);
  UniqueFd host = listener.Accept();
  ASSERT_EQ(send(host.get(), "question", 8, 0), 8);
  ASSERT_EQ(shutdown(host.get(), SHUT_WR), 0);
  RunOnce();
  EXPECT_EQ(Receive()->data, "question");
  auto end = Receive();
  ASSERT_TRUE(end);
  EXPECT_EQ(end->header.operation, kShutdown);
  EXPECT_EQ(end->header.flags, kEnds) << "it may still read";

  Send(kRw, 80, 1000, "answer");
  EXPECT_EQ(Read(host.get()), "answer");
  EXPECT_FALSE(Receive());
  host.reset();
  RunOnce();
  end = Receive();
  ASSERT_TRUE(end) << "a program that reads no more is told of without data";
  EXPECT_EQ(end->header.operation, kShutdown);
  EXPECT_EQ(end->header.flags, kEnds | kTakesNoMore);
  EXPECT_FALSE(Receive());
  Send(kShutdown, 80, 1000, {}, kEnds | kTakesNoMore);
  EXPECT_EQ(Operation(), kRst);
}

TEST_F(VsockTest, AGuestThatEndsItsHalfReadsOn) {
  UnixListener listener = *UnixListener::Open(path_ + "_80");
  GiveBuffers(6);
  Send(kRequest, 80, 1000);
  EXPECT_EQ(Operation(), kResponse);
  UniqueFd host = listener.Accept();
  Send(kRw, 80, 1000, "question");
  Send(kShutdown, 80, 1000, {}, kEnds);
  EXPECT_EQ(Read(host.get()), "question");
  char byte = 0;
  EXPECT_EQ(recv(host.get(), &byte, 1, MSG_DONTWAIT), 0) << "and its end";
  ASSERT_EQ(send(host.get(), "answer", 6, MSG_NOSIGNAL), 6);
  RunOnce();
  EXPECT_EQ(Receive()->data, "answer");
  host.reset();
  RunOnce();
  EXPECT_EQ(Operation(), kShutdown);
}

// A reset makes Linux forget what its program has not read yet.
TEST_F(VsockTest, NoResetBeforeTheGuestHasClosed) {
  UnixListener listener = *UnixListener::Open(path_ + "_80");
  GiveBuffers(6);
  Send(kRequest, 80, 1000);
  EXPECT_EQ(Operation(), kResponse);
  UniqueFd host = listener.Accept();
  ASSERT_EQ(send(host.get(), "unread", 6, 0), 6);
  ASSERT_EQ(shutdown(host.get(), SHUT_WR), 0);
  RunOnce();
  EXPECT_EQ(Receive()->data, "unread");
  EXPECT_EQ(Operation(), kShutdown);
  Send(kShutdown, 80, 1000, {}, kEnds);
  while (auto packet = Receive()) EXPECT_NE(packet->header.operation, kRst);
  Send(kShutdown, 80, 1000, {}, kEnds | kTakesNoMore);
  EXPECT_EQ(Operation(), kRst);
}

TEST_F(VsockTest, WhoWritesToAGuestThatTakesNoMoreIsTold) {
  UnixListener listener = *UnixListener::Open(path_ + "_80");
  GiveBuffers(6);
  Send(kRequest, 80, 1000);
  EXPECT_EQ(Operation(), kResponse);
  UniqueFd host = listener.Accept();
  Send(kShutdown, 80, 1000, {}, kTakesNoMore);
  EXPECT_EQ(send(host.get(), "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT), -1);
  EXPECT_EQ(errno, EPIPE);
  Send(kRw, 80, 1000, "still");
  EXPECT_EQ(Read(host.get()), "still");
  EXPECT_FALSE(Receive());
  host.reset();
  RunOnce();
  auto end = Receive();
  ASSERT_TRUE(end);
  EXPECT_EQ(end->header.operation, kShutdown);
  EXPECT_EQ(end->header.flags, kEnds | kTakesNoMore);
}

TEST_F(VsockTest, WhatAProgramSaidBeforeItWentReachesTheGuest) {
  UnixListener listener = *UnixListener::Open(path_ + "_80");
  GiveBuffers(6);
  Send(kRequest, 80, 1000);
  EXPECT_EQ(Operation(), kResponse);
  UniqueFd host = listener.Accept();
  ASSERT_EQ(send(host.get(), "too large", 9, 0), 9);
  host.reset();
  Send(kRw, 80, 1000, std::string(4000, 'x'));
  std::string data;
  uint32_t flags = 0;
  while (auto packet = Receive()) {
    EXPECT_TRUE(packet->header.operation == kRw || packet->header.operation == kShutdown);
    data += packet->data;
    if (packet->header.operation == kShutdown) flags = packet->header.flags;
  }
  EXPECT_EQ(data, "too large");
  EXPECT_EQ(flags, kEnds | kTakesNoMore);
}

// A socket that is full and shut down is not writable, and must not be watched for that.
TEST_F(VsockTest, AProgramThatHangsUpWithAFullSocketIsTold) {
  UnixListener listener = *UnixListener::Open(path_ + "_80");
  GiveBuffers(16);
  Send(kRequest, 80, 1000);
  EXPECT_EQ(Operation(), kResponse);
  UniqueFd host = listener.Accept();
  FillSocket(host.get());
  while (auto packet = Receive()) ASSERT_EQ(packet->header.operation, kUpdate);
  ASSERT_EQ(shutdown(host.get(), SHUT_RDWR), 0);
  RunOnce();
  uint32_t flags = 0;
  while (auto packet = Receive()) {
    if (packet->header.operation == kShutdown) flags = packet->header.flags;
  }
  EXPECT_EQ(flags, kEnds | kTakesNoMore);
}

TEST_F(VsockTest, WhatTheGuestSentBeforeItsResetReachesTheHost) {
  UnixListener listener = *UnixListener::Open(path_ + "_80");
  GiveBuffers(16);
  Send(kRequest, 80, 1000);
  EXPECT_EQ(Operation(), kResponse);
  UniqueFd host = listener.Accept();
  const size_t sent = FillSocket(host.get());
  Send(kRst, 80, 1000);
  size_t read = 0;
  for (std::string piece = Read(host.get()); !piece.empty(); piece = Read(host.get())) {
    read += piece.size();
    RunOnce();
  }
  EXPECT_EQ(read, sent);
  char byte = 0;
  EXPECT_EQ(recv(host.get(), &byte, 1, MSG_DONTWAIT), 0) << "and the end";
}

TEST_F(VsockTest, TellsItsCreditWhenItIsAsked) {
  UnixListener listener = *UnixListener::Open(path_ + "_80");
  GiveBuffers(4);
  Send(kRequest, 80, 1000);
  EXPECT_EQ(Operation(), kResponse);
  Send(kRw, 80, 1000, "abc");
  Send(kAsk, 80, 1000);
  auto packet = Receive();
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->header.operation, kUpdate);
  EXPECT_EQ(packet->header.forwarded, 3u);
  EXPECT_EQ(packet->header.buffer_size, VirtioVsock::kBufferBytes);
}

TEST_F(VsockTest, APacketThatLiesAboutItsLengthBreaksTheRules) {
  VsockHeader header;
  header.length = 100;
  ram_.PutObject(kTx, header);
  tx_.Post({{kTx, sizeof header}});
  driver_->Notify(1);
  RunOnce();
  EXPECT_TRUE(driver_->status() & VirtioDriver::kNeedsReset);
}

TEST_F(VsockTest, StrangersAndUnknownConnectionsAreRefused) {
  GiveBuffers(4);
  Send(kRw, 80, 1000, "x");
  EXPECT_EQ(Operation(), kRst);
  Send(kRst, 80, 1000);
  EXPECT_FALSE(Receive()) << "a reset is not answered";
  Send(99, 80, 1000);
  EXPECT_EQ(Operation(), kRst);
}

// Clients that come and talk while the driver resets: none of their callbacks may run into what is taken
// down, and no watch may be left behind.
TEST_F(VsockTest, ADriverResetsWhileClientsComeAndTalk) {
  std::thread loop([this] { EXPECT_TRUE(loop_->Run().ok()); });
  std::atomic<bool> done{false};
  std::vector<std::thread> clients;
  for (int i = 0; i < 3; ++i) {
    clients.emplace_back([this, &done] {
      while (!done) {
        Result<UniqueFd> fd = ConnectUnix(path_, /*now=*/true);
        if (!fd.has_value()) continue;
        for (const char* text : {"CONN", "ECT 80\n", "data"}) {
          static_cast<void>(!send(fd->get(), text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT));
        }
      }
    });
  }
  for (int round = 0; round < 300; ++round) {
    DriverQueue rx(ram_, 0x1000, 16), tx(ram_, 0x3000, 16), events(ram_, 0x5000, 16);
    ram_.Put(0x1000, std::vector<uint8_t>(0x6000));
    ASSERT_TRUE(driver_->Negotiate(kVirtioVersion1));
    driver_->SetUpQueue(0, rx);
    driver_->SetUpQueue(1, tx);
    driver_->SetUpQueue(2, events);
    driver_->Start();
    ASSERT_EQ(driver_->status(), 0x0f) << round;
    for (uint64_t i = 0; i < 8; ++i) rx.Post({{kRx + i * kRxBytes, kRxBytes, true}});
    driver_->Notify(0);
  }
  driver_->SetStatus(0);
  done = true;
  for (std::thread& client : clients) client.join();
  loop_->Stop();
  loop.join();
}

}  // namespace
}  // namespace berth::vmm
