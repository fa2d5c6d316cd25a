// Disks and networks that another process serves, against a back end that does not keep to the protocol:
// answers of the wrong size, number or version, without their descriptor or with bytes changed, hang-ups in
// the middle and new connections, and words of its own. No call may crash or wait for ever, and no descriptor
// may be lost.
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "common/log.h"
#include "tests/fakes/fake_interrupts.h"
#include "tests/fakes/virtio_driver.h"
#include "tests/fuzz/fuzz_input.h"
#include "vmm/bus/unix_listener.h"
#include "vmm/vhost_user/block.h"
#include "vmm/vhost_user/net.h"

namespace {

using namespace berth::vmm;
using namespace std::chrono_literals;
using berth::UniqueFd;
using vhost_user::Header;
using vhost_user::Message;
using vhost_user::Request;

void Signal(int fd) {
  const uint64_t one = 1;
  static_cast<void>(!write(fd, &one, sizeof one));
}

// Not by Channel, which sends whole messages only.
void SendRaw(int socket, const Header& header, std::span<const uint8_t> payload, int fd) {
  std::vector<uint8_t> bytes(sizeof header + payload.size());
  std::memcpy(bytes.data(), &header, sizeof header);
  std::copy(payload.begin(), payload.end(), bytes.begin() + sizeof header);
  iovec vector{bytes.data(), bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)] = {};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  if (fd >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* first = CMSG_FIRSTHDR(&message);
    first->cmsg_level = SOL_SOCKET;
    first->cmsg_type = SCM_RIGHTS;
    first->cmsg_len = CMSG_LEN(sizeof fd);
    std::memcpy(CMSG_DATA(first), &fd, sizeof fd);
  }
  static_cast<void>(!sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL));
}

// One connection after the other. Each request takes a byte of the script, which says what comes of it;
// behind the script's end all goes as it should. It never just keeps silent: that would be waited for.
class HostileBackend {
 public:
  HostileBackend(UnixListener& listener, std::span<const uint8_t> script, int file)
      : listener_(listener), script_(script.data(), script.size()), file_(file) {
    protocol_ = ~uint64_t{0} ^ script_.Take<uint16_t>();
    thread_ = std::thread([this] { Run(); });
  }
  ~HostileBackend() {
    stopping_ = true;
    Signal(wake_.get());
    thread_.join();
  }
  HostileBackend(const HostileBackend&) = delete;
  HostileBackend& operator=(const HostileBackend&) = delete;

  void HangUp() { Signal(wake_.get()); }
  // Until somebody is connected, if that is soon.
  void Await() {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, 5ms, [this] { return serving_; });
  }

 private:
  // False when it was woken for something else.
  bool Wait(int fd) {
    pollfd polled[] = {{fd, POLLIN, 0}, {wake_.get(), POLLIN, 0}};
    while (poll(polled, 2, -1) <= 0) {
    }
    uint64_t count = 0;
    return polled[1].revents == 0 || read(wake_.get(), &count, sizeof count) != sizeof count;
  }
  void Run() {
    while (!stopping_) {
      if (!Wait(listener_.fd())) continue;
      UniqueFd socket = listener_.Accept();
      if (!socket.valid()) continue;
      SetServing(true);
      Serve(std::move(socket));
      SetServing(false);
      own_.reset();
      vrings_.clear();
    }
  }
  void SetServing(bool serving) {
    std::lock_guard lock(mutex_);
    serving_ = serving;
    changed_.notify_all();
  }
  void Serve(UniqueFd socket) {
    const int raw = socket.get();
    vhost_user::Channel channel(std::move(socket), 1000ms);
    while (Wait(raw)) {
      auto message = channel.Receive();
      if (!message.has_value() || !Answer(raw, *message)) return;
    }
  }

  // What a good one says. False: nothing.
  bool ProperAnswer(const Message& message, std::vector<uint8_t>& answer, int& fd) {
    const auto number = [&answer](uint64_t value) {
      const auto bytes = vhost_user::BytesOf(value);
      answer.assign(bytes.begin(), bytes.end());
      return true;
    };
    switch (static_cast<Request>(message.header.request)) {
      case Request::kGetFeatures:
        return number(kVirtioRingFeatures | vhost_user::kProtocolFeatures | 0xffff);
      case Request::kGetProtocolFeatures:
        return number(protocol_);
      case Request::kGetQueueNumber:
      case Request::kGetMaxMemorySlots:
        return number(8);
      case Request::kGetInflightFd:
        fd = file_;
        [[fallthrough]];
      case Request::kGetConfig:
      case Request::kGetVringBase:
        answer = message.payload;
        return true;
      default:
        number(0);
        return (message.header.flags & Header::kNeedReply) != 0;
    }
  }
  void Keep(Message& message) {
    if (message.descriptors.empty()) return;
    const auto request = static_cast<Request>(message.header.request);
    if (request == Request::kSetBackendRequestFd) own_ = std::move(message.descriptors[0]);
    if (request == Request::kSetVringCall || request == Request::kSetVringError)
      vrings_[message.header.request] = std::move(message.descriptors[0]);
  }
  // What a back end says unasked.
  void Speak(uint8_t whim) {
    if (whim % 4 == 0 && own_.valid()) {
      const uint8_t odd = script_.Take<uint8_t>();
      const Header header{odd & 1 ? odd : 2u, Header::kVersion | (odd & 2 ? Header::kNeedReply : 0),
                          odd & 4u};
      SendRaw(own_.get(), header, script_.TakeBytes(odd & 12), odd & 16 ? file_ : -1);
    }
    const uint32_t request =
        static_cast<uint32_t>(whim % 4 == 1 ? Request::kSetVringError : Request::kSetVringCall);
    if (whim % 4 != 0 && vrings_.contains(request)) Signal(vrings_[request].get());
  }
  // False: to hang up.
  bool Answer(int socket, Message& message) {
    Keep(message);
    std::vector<uint8_t> answer;
    int fd = -1;
    const uint8_t whim = script_.Take<uint8_t>();
    if (whim >= 0xa0 && whim < 0xc0) Speak(whim);
    if (!ProperAnswer(message, answer, fd)) return whim != 0xff;
    Header header{message.header.request, Header::kVersion | Header::kReply, 0};
    const uint8_t fault = whim < 0xc0 ? 0 : whim % 8;
    if (fault == 1) answer.resize(script_.Take<uint8_t>() % 128);
    if (fault == 2 && !answer.empty()) {
      const size_t at = script_.Take<uint8_t>() % answer.size();
      answer[at] ^= script_.Take<uint8_t>();
    }
    if (fault == 3) fd = fd < 0 ? file_ : -1;
    if (fault == 4) header.request = script_.Take<uint8_t>();
    if (fault == 5) header.flags = script_.Take<uint8_t>();
    header.size = static_cast<uint32_t>(answer.size());
    if (fault == 6) header.size = script_.Take<uint16_t>();
    if (fault == 7) return false;
    SendRaw(socket, header, answer, fd);
    return fault != 6;
  }

  UnixListener& listener_;
  berth::FuzzInput script_;
  const int file_;
  uint64_t protocol_ = 0;
  UniqueFd own_;                         // on which it may say something
  std::map<uint32_t, UniqueFd> vrings_;  // of the last ring: call, error
  std::atomic<bool> stopping_{false};
  const UniqueFd wake_{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  bool serving_ = false;
  std::thread thread_;
};

berth::Result<std::shared_ptr<VirtioDevice>> MakeDevice(uint8_t kind, const std::string& socket) {
  if (kind & 1) {
    TRY_ASSIGN(auto net, VhostUserNet::Create({.id = "fuzz",
                                               .socket = socket,
                                               .pairs = static_cast<uint16_t>(1 + (kind >> 1 & 1)),
                                               .queue_size = 16,
                                               .mtu = 1500,
                                               .patience = 200ms,
                                               .retry = 1ms},
                                              {0x52, 0x54, 0, 0, 0, 1}));
    return net;
  }
  TRY_ASSIGN(auto block, VhostUserBlock::Create({.id = "fuzz",
                                                 .socket = socket,
                                                 .queues = static_cast<uint16_t>(1 + (kind >> 1 & 1)),
                                                 .queue_size = 16,
                                                 .patience = 200ms,
                                                 .retry = 1ms}));
  return block;
}

class Guest {
 public:
  Guest(const std::shared_ptr<VirtioDevice>& device, GuestRam& ram)
      : ram_(ram),
        transport_(*VirtioPciTransport::Create(device, ram.memory(), interrupts_, io_events_)),
        driver_(*transport_) {
    for (size_t i = 0; i < device->queue_sizes().size(); ++i)
      queues_.emplace_back(ram, 0x1000 + 0x800 * i, 8);
  }
  void Start() {
    if (!driver_.Negotiate(driver_.DeviceFeatures())) return;
    driver_.EnableMsix(static_cast<uint16_t>(queues_.size() + 1));
    for (uint16_t i = 0; i < queues_.size(); ++i) driver_.SetUpQueue(i, queues_[i]);
    driver_.Start();
  }
  void Step(berth::FuzzInput& input, HostileBackend& backend) {
    const auto index = static_cast<uint16_t>(input.Take<uint8_t>() % queues_.size());
    switch (input.Take<uint8_t>() % 6) {
      case 0: {
        const auto command = input.Take<uint32_t>();
        if (!berth::kThreadSanitizer) ram_.PutObject(0x6000, command);
        queues_[index].Post({{0x6000, 1u + input.Take<uint8_t>()}, {0x7000, 1, true}});
        return driver_.Notify(index);
      }
      case 1: {
        const uint64_t at = 0x1000 + input.Take<uint16_t>() % 0x3000;
        const auto bytes = input.TakeBytes(input.Take<uint8_t>() % 16);
        // The session looks at the used ring when it is connected again.
        if (!berth::kThreadSanitizer) ram_.Put(at, {bytes.begin(), bytes.end()});
        return;
      }
      case 2:
        return driver_.Write<uint32_t>(VirtioPciTransport::kDeviceOffset + input.Take<uint8_t>() % 64,
                                       input.Take<uint32_t>());
      case 3:
        driver_.SetStatus(0);
        return Start();
      case 4:
        return backend.Await();
      default:
        return backend.HangUp();
    }
  }

 private:
  GuestRam& ram_;
  FakeMsiController interrupts_;
  FakeIoEvents io_events_;
  std::shared_ptr<VirtioPciTransport> transport_;
  VirtioDriver driver_;
  std::vector<DriverQueue> queues_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const bool quiet = berth::InitFileLogging("fuzz", berth::LogLevel::kError, "/dev/null").ok();
  static_cast<void>(quiet);
  static const std::string path = "/tmp/berth-fuzz-vhost-" + std::to_string(getpid()) + ".sock";
  static UnixListener listener = *UnixListener::Open(path);
  static const UniqueFd file(memfd_create("inflight", MFD_CLOEXEC));
  while (listener.Accept().valid()) {
  }  // who came last and was not looked at
  berth::FuzzInput input(data, size);
  const uint8_t kind = input.Take<uint8_t>();
  const auto script = input.TakeBytes(input.Take<uint16_t>() % 512);
  GuestRam ram({{0, 0x8000}, {0x8000, 0x8000}}, /*shared=*/true);
  int before = -1;
  {
    const UniqueFd lowest(fcntl(file.get(), F_DUPFD_CLOEXEC, 3));
    before = lowest.get();
  }
  {
    HostileBackend backend(listener, script, file.get());
    auto device = MakeDevice(kind, path);
    if (device.has_value()) {
      Guest guest(*device, ram);
      guest.Start();
      for (int steps = 0; !input.empty() && steps < 40; ++steps) guest.Step(input, backend);
    }
  }
  const UniqueFd after(fcntl(file.get(), F_DUPFD_CLOEXEC, 3));
  CHECK(after.get() == before);
  return 0;
}
