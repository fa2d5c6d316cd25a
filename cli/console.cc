#include "cli/console.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <thread>

#include "common/unique_fd.h"

namespace berth::cli {
namespace {

constexpr char kEscape = 0x1d;  // Ctrl-]

// The terminal's input byte by byte, without echo and signals; as it was at the end.
class RawInput {
 public:
  explicit RawInput(int fd) : fd_(fd) {
    if (::tcgetattr(fd_, &saved_) != 0) return;
    termios raw = saved_;
    ::cfmakeraw(&raw);
    changed_ = ::tcsetattr(fd_, TCSANOW, &raw) == 0;
  }
  ~RawInput() {
    if (changed_) ::tcsetattr(fd_, TCSANOW, &saved_);
  }
  RawInput(const RawInput&) = delete;
  RawInput& operator=(const RawInput&) = delete;

  bool is_terminal() const { return changed_; }

 private:
  int fd_;
  termios saved_{};
  bool changed_ = false;
};

bool WriteAll(int fd, std::string_view data) {
  while (!data.empty()) {
    ssize_t n = ::write(fd, data.data(), data.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    data.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

using Stream = grpc::ClientReaderWriter<v1::ConsoleInput, v1::ConsoleOutput>;

// Sends what is typed until the escape key (true), or until the stream ends, told by `ended_fd` (false).
bool SendInput(Stream& stream, int input_fd, int ended_fd) {
  std::array<pollfd, 2> waits = {pollfd{ended_fd, POLLIN, 0}, pollfd{input_fd, POLLIN, 0}};
  std::array<char, 1024> buffer;
  while (true) {
    if (::poll(waits.data(), waits.size(), -1) < 0) {
      if (errno == EINTR) continue;
      return true;
    }
    if (waits[0].revents != 0) return false;
    if (waits[1].revents == 0) continue;
    ssize_t n = ::read(input_fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      stream.WritesDone();
      waits[1].fd = -1;  // only the stream's end is left to wait for
      continue;
    }
    std::string_view typed(buffer.data(), static_cast<size_t>(n));
    size_t escape = typed.find(kEscape);
    v1::ConsoleInput input;
    input.set_data(std::string(typed.substr(0, escape)));
    if (!input.data().empty() && !stream.Write(input)) return false;
    if (escape != std::string_view::npos) return true;
  }
}

}  // namespace

Status RunConsole(Client& client, const std::string& instance_uuid, const Terminal& terminal) {
  UniqueFd ended(::eventfd(0, EFD_CLOEXEC));
  if (!ended.valid()) return ErrnoStatus("eventfd", errno);
  grpc::ClientContext call;
  std::unique_ptr<Stream> stream = client.agent().Console(&call);
  v1::ConsoleInput first;
  first.set_instance(instance_uuid);
  stream->Write(first);  // a failure shows in Finish()
  std::atomic<bool> output_failed = false;
  bool left = false;
  {
    RawInput raw(terminal.input_fd);
    if (raw.is_terminal()) terminal.err << "connected; leave with Ctrl-]\r\n" << std::flush;
    std::thread reader([&] {
      v1::ConsoleOutput output;
      while (stream->Read(&output)) {
        if (!WriteAll(terminal.output_fd, output.data())) {
          output_failed = true;
          break;
        }
      }
      uint64_t one = 1;
      static_cast<void>(!WriteAll(ended.get(), {reinterpret_cast<const char*>(&one), sizeof(one)}));
    });
    left = SendInput(*stream, terminal.input_fd, ended.get());
    if (left || output_failed) call.TryCancel();
    reader.join();
    if (raw.is_terminal()) terminal.err << "\r\n";
  }
  if (output_failed) call.TryCancel();
  grpc::Status status = stream->Finish();
  if (left || status.ok()) return OkStatus();
  if (output_failed) return Unavailable("the console's output could not be written");
  return wire::FromGrpc(status, call);
}

}  // namespace berth::cli
