#include "vmm/devices/serial_backend.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include <cstring>
#include <optional>
#include <utility>

#include "common/log.h"
#include "common/unique_fd.h"
#include "vmm/devices/byte_ring.h"

namespace berth::vmm {
namespace {

// Writes without blocking when the descriptor is a socket; others were opened so.
ssize_t WriteSome(int fd, std::span<const uint8_t> data) {
  const ssize_t sent = send(fd, data.data(), data.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent >= 0 || errno != ENOTSOCK) return sent;
  return write(fd, data.data(), data.size());
}

// Of standard input, also from the background, where the kernel would stop the process (SIGTTOU).
void SetTerminal(const termios& settings) {
  sigset_t blocked, before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTTOU);
  pthread_sigmask(SIG_BLOCK, &blocked, &before);
  tcsetattr(STDIN_FILENO, TCSANOW, &settings);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

class NullBackend : public SerialBackend {
 public:
  void SetReceiver(Receiver) override {}
  void Put(uint8_t) override {}
  void InputRoom() override {}
};

// Ring, output descriptor and input descriptor. All but Put and InputRoom runs on the loop's thread.
class StreamBackend : public SerialBackend, public std::enable_shared_from_this<StreamBackend> {
 public:
  explicit StreamBackend(EventLoop& loop) : loop_(loop), ring_(kRingBytes) {}
  ~StreamBackend() override {
    if (listener_.valid()) loop_.Remove(listener_.get());
    Flush();
    Disconnect();
    if (!socket_path_.empty()) unlink(socket_path_.c_str());
    if (terminal_) SetTerminal(*terminal_);
    for (const auto& [fd, flags] : shared_flags_) static_cast<void>(fcntl(fd, F_SETFL, flags));
  }

  Status OpenTty();
  Status OpenPty();
  Status OpenFile(const std::string& path);
  Status Listen(const std::string& path);

  void SetReceiver(Receiver receiver) override {
    receiver_ = std::move(receiver);
    WatchInput();
  }
  void Put(uint8_t byte) override {
    {
      std::lock_guard lock(mutex_);
      ring_.Put(byte);
      if (std::exchange(flush_posted_, true)) return;
    }
    PostToLoop(&StreamBackend::Flush);
  }
  void InputRoom() override { PostToLoop(&StreamBackend::DeliverInput); }
  std::string terminal() const override { return terminal_path_; }

 private:
  void PostToLoop(void (StreamBackend::*member)()) {
    loop_.Post([weak = weak_from_this(), member] {
      if (auto self = weak.lock()) ((*self).*member)();
    });
  }
  void Accept();
  void Flush();
  UniqueFd OwnStream(int fd, int flags);
  void ReadInput(uint32_t events);
  void DeliverInput();
  void WatchInput();
  void WatchOutput(bool wanted);
  void Disconnect();

  EventLoop& loop_;
  std::mutex mutex_;  // guards ring_ and flush_posted_
  ByteRing ring_;
  bool flush_posted_ = false;

  Receiver receiver_;
  UniqueFd listener_;
  std::string socket_path_;
  UniqueFd output_;        // not valid while no client is connected
  UniqueFd input_;         // a descriptor of its own, so that both can be watched
  uint64_t position_ = 0;  // next byte of the ring to write
  bool output_watched_ = false;
  bool input_watched_ = false;
  bool input_ended_ = false;                       // a client that sends no more, and may still read
  bool output_failed_ = false;                     // was told of
  std::vector<std::pair<int, int>> shared_flags_;  // of streams that are others' too, to be restored
  std::vector<uint8_t> unread_;                    // input that the port had no room for
  std::optional<termios> terminal_;                // to be restored
  std::string terminal_path_;                      // of a pseudo terminal
  UniqueFd terminal_slave_;  // kept open: without any user its other end could not be read
};

// An open file description of our own on a standard stream, so that O_NONBLOCK does not leak to whoever
// shares it. Regular files keep the shared one, because of its offset, and sockets, which cannot be reopened.
// Others that cannot be (they are another user's, or Landlock forbids it) become non-blocking for all until
// the end: a reader that does not keep up must not hold the event loop.
UniqueFd StreamBackend::OwnStream(int fd, int flags) {
  struct stat info{};
  if (fstat(fd, &info) != 0) return {};
  if (!S_ISREG(info.st_mode)) {
    UniqueFd own(
        open(("/proc/self/fd/" + std::to_string(fd)).c_str(), flags | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
    if (own.valid()) return own;
  }
  UniqueFd shared(fcntl(fd, F_DUPFD_CLOEXEC, 3));
  const int before = fcntl(fd, F_GETFL);
  if (shared.valid() && !S_ISREG(info.st_mode) && !S_ISSOCK(info.st_mode) && (before & O_NONBLOCK) == 0 &&
      fcntl(fd, F_SETFL, before | O_NONBLOCK) == 0) {
    shared_flags_.emplace_back(fd, before);
  }
  return shared;
}

Status StreamBackend::OpenTty() {
  output_ = OwnStream(STDOUT_FILENO, O_WRONLY);
  if (!output_.valid()) return ErrnoStatus("standard output for the serial port", errno);
  const bool terminal = isatty(STDIN_FILENO) == 1;
  // Who reads from the background, or changes the terminal there, is stopped by the kernel, vCPUs and all.
  const pid_t foreground = terminal ? tcgetpgrp(STDIN_FILENO) : -1;
  if (foreground > 0 && foreground != getpgrp()) {
    LOG(kInfo, "serial_without_input", {{"reason", "started in the background of its terminal"}});
    return OkStatus();
  }
  input_ = OwnStream(STDIN_FILENO, O_RDONLY);  // may be closed: then there is no input
  termios settings{};
  if (terminal && tcgetattr(STDIN_FILENO, &settings) == 0) {
    terminal_ = settings;
    const tcflag_t output_flags = settings.c_oflag;
    cfmakeraw(&settings);
    settings.c_oflag = output_flags;
    SetTerminal(settings);
  }
  return OkStatus();
}

Status StreamBackend::OpenPty() {
  output_.reset(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
  char name[64];
  if (!output_.valid() || grantpt(output_.get()) != 0 || unlockpt(output_.get()) != 0 ||
      ptsname_r(output_.get(), name, sizeof name) != 0) {
    return ErrnoStatus("pseudo terminal", errno);
  }
  terminal_path_ = name;
  terminal_slave_.reset(open(name, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!terminal_slave_.valid()) return ErrnoStatus("pseudo terminal " + terminal_path_, errno);
  termios settings{};
  if (tcgetattr(terminal_slave_.get(), &settings) == 0) {
    cfmakeraw(&settings);
    tcsetattr(terminal_slave_.get(), TCSANOW, &settings);
  }
  input_.reset(fcntl(output_.get(), F_DUPFD_CLOEXEC, 3));
  if (!input_.valid()) return ErrnoStatus("pseudo terminal " + terminal_path_, errno);
  return OkStatus();
}

Status StreamBackend::OpenFile(const std::string& path) {
  // O_NONBLOCK: a FIFO without a reader must be an error, not a wait. O_APPEND: whoever empties the file
  // (logrotate's copytruncate) finds no hole before what comes next.
  output_.reset(
      open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600));
  if (!output_.valid()) return ErrnoStatus("serial file " + path, errno).WithField("serial.path");
  return OkStatus();
}

Status StreamBackend::Listen(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return InvalidArgument("serial socket path \"" + path + "\" must have 1 to " +
                               std::to_string(sizeof address.sun_path - 1) + " bytes",
                           "serial.path");
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  UniqueFd probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (connect(probe.get(), generic, sizeof address) == 0) {
    return AlreadyExists("serial socket " + path + " is served by another process", "serial.path");
  }
  struct stat info{};
  if (errno == ECONNREFUSED && lstat(path.c_str(), &info) == 0 && S_ISSOCK(info.st_mode)) {
    unlink(path.c_str());
  }
  listener_.reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener_.valid()) return ErrnoStatus("serial socket", errno);
  if (bind(listener_.get(), generic, sizeof address) != 0) {
    return ErrnoStatus("serial socket " + path, errno).WithField("serial.path");
  }
  socket_path_ = path;
  chmod(path.c_str(), 0600);
  if (listen(listener_.get(), 4) != 0) return ErrnoStatus("serial socket " + path, errno);
  return loop_.Add(listener_.get(), EPOLLIN, [this](uint32_t) { Accept(); });
}

// A new client replaces the old one and first sees what the ring still holds.
void StreamBackend::Accept() {
  UniqueFd client(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!client.valid()) return;
  UniqueFd second(fcntl(client.get(), F_DUPFD_CLOEXEC, 3));
  if (!second.valid()) return;
  Disconnect();
  output_ = std::move(client);
  input_ = std::move(second);
  position_ = 0;
  unread_.clear();
  input_ended_ = false;
  WatchInput();
  Flush();
}

void StreamBackend::Disconnect() {
  WatchOutput(false);
  if (std::exchange(input_watched_, false)) loop_.Remove(input_.get());
  output_.reset();
  input_.reset();
}

void StreamBackend::Flush() {
  for (;;) {
    uint8_t chunk[4096];
    size_t length = 0;
    {
      std::lock_guard lock(mutex_);
      flush_posted_ = false;
      if (!output_.valid()) return;
      const auto piece = ring_.Next(position_);
      length = std::min(piece.size(), sizeof chunk);
      std::memcpy(chunk, piece.data(), length);
    }
    if (length == 0) return WatchOutput(false);
    const ssize_t written = WriteSome(output_.get(), {chunk, length});
    if (written > 0) {
      position_ += static_cast<uint64_t>(written);
      output_failed_ = false;
    } else if (written < 0 && errno == EAGAIN) {
      return WatchOutput(true);
    } else if (written == 0 || errno != EINTR) {
      if (listener_.valid()) return Disconnect();
      // A full disk, or a FIFO whose reader is starting again: what the ring holds is tried with the next
      // byte.
      if (!std::exchange(output_failed_, true)) {
        LOG(kWarning, "serial_output_failed", {{"error", ErrnoStatus("write", errno).message()}});
      }
      return WatchOutput(false);
    }
  }
}

void StreamBackend::WatchOutput(bool wanted) {
  if (wanted == output_watched_) return;
  if (!wanted) {
    loop_.Remove(output_.get());
  } else if (!loop_.Add(output_.get(), EPOLLOUT, [this](uint32_t) { Flush(); }).ok()) {
    return;  // cannot be polled: the next byte of the guest tries again
  }
  output_watched_ = wanted;
}

void StreamBackend::WatchInput() {
  if (!receiver_ || !input_.valid() || input_watched_) return;
  // A regular file or /dev/null cannot be watched: there is no interactive input then.
  const uint32_t events = input_ended_ ? EPOLLHUP : EPOLLIN;
  input_watched_ = loop_.Add(input_.get(), events, [this](uint32_t ready) { ReadInput(ready); }).ok();
}

void StreamBackend::ReadInput(uint32_t events) {
  uint8_t buffer[1024];
  const ssize_t count = read(input_.get(), buffer, sizeof buffer);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count <= 0) {
    loop_.Remove(input_.get());
    input_watched_ = false;
    if (!listener_.valid()) return input_.reset();
    // It has ended its half (nc -N, socat) and reads on until it hangs up.
    input_ended_ = count == 0 && (events & (EPOLLHUP | EPOLLERR)) == 0;
    return input_ended_ ? WatchInput() : Disconnect();
  }
  unread_.insert(unread_.end(), buffer, buffer + count);
  DeliverInput();
}

// Input is watched only while all that was read has been taken.
void StreamBackend::DeliverInput() {
  if (!unread_.empty() && receiver_) {
    const size_t taken = receiver_(unread_);
    unread_.erase(unread_.begin(), unread_.begin() + static_cast<ptrdiff_t>(taken));
  }
  if (unread_.empty()) return WatchInput();
  if (std::exchange(input_watched_, false)) loop_.Remove(input_.get());
}

}  // namespace

Result<std::shared_ptr<SerialBackend>> OpenSerialBackend(const SerialConfig& config, EventLoop& loop) {
  if (config.mode == SerialConfig::Mode::kNull) return std::make_shared<NullBackend>();
  auto backend = std::make_shared<StreamBackend>(loop);
  switch (config.mode) {
    case SerialConfig::Mode::kTty:
      TRY(backend->OpenTty());
      break;
    case SerialConfig::Mode::kPty:
      TRY(backend->OpenPty());
      break;
    case SerialConfig::Mode::kFile:
      TRY(backend->OpenFile(config.path));
      break;
    case SerialConfig::Mode::kSocket:
      TRY(backend->Listen(config.path));
      break;
    default:
      return InvalidArgument("the serial port is off", "serial.mode");
  }
  return backend;
}

}  // namespace berth::vmm
