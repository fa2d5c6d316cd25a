#include "compute-agent/instances/vmm_client.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <nlohmann/json.hpp>

#include "common/unique_fd.h"

namespace berth::agent {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMaxAnswer = 1 << 20;  // vm.info of a machine with hundreds of vCPUs and devices

// Waits for `events`, false at the deadline.
bool Wait(int fd, short events, Clock::time_point deadline) {
  while (true) {
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return false;
    pollfd poll_fd{fd, events, 0};
    int ready = ::poll(&poll_fd, 1, static_cast<int>(left));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
  }
}

Result<UniqueFd> Connect(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return InvalidArgument("the socket path " + path + " is too long");
  std::memcpy(address.sun_path, path.data(), path.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return ErrnoStatus("socket", errno);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return Unavailable(ErrnoStatus("connect to " + path, errno).message());
  }
  return fd;
}

// 0 when the headers do not tell.
size_t ContentLength(std::string headers) {
  for (char& c : headers) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  constexpr std::string_view kField = "\r\ncontent-length:";
  size_t at = headers.find(kField);
  if (at == std::string::npos) return 0;
  return std::min<size_t>(std::strtoul(headers.c_str() + at + kField.size(), nullptr, 10), 2 * kMaxAnswer);
}

// Everything until the other side closes, or until the headers' Content-Length is complete.
Result<std::string> ReadAnswer(int fd, Clock::time_point deadline) {
  std::string answer;
  while (true) {
    size_t head = answer.find("\r\n\r\n");
    if (head != std::string::npos && answer.size() >= head + 4 + ContentLength(answer.substr(0, head)))
      return answer;
    if (answer.size() > kMaxAnswer) return Internal("the VMM's answer is too long");
    if (!Wait(fd, POLLIN, deadline))
      return Status{StatusCode::kDeadlineExceeded, "the VMM did not answer in time"};
    char buffer[4096];
    ssize_t got = ::recv(fd, buffer, sizeof buffer, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got < 0) return ErrnoStatus("recv", errno);
    if (got == 0) return answer;
    answer.append(buffer, static_cast<size_t>(got));
  }
}

// Throws what nlohmann::json throws.
std::vector<GuestNode> NodesOf(const nlohmann::json& info) {
  std::vector<GuestNode> nodes;
  const nlohmann::json none = nlohmann::json::array();
  const nlohmann::json& config = info.at("config");
  for (const nlohmann::json& given : config.contains("numa") ? config.at("numa") : none) {
    GuestNode& node = nodes.emplace_back();
    node.id = given.at("guest_numa_id").get<uint32_t>();
    for (uint32_t cpu : given.value("cpus", std::vector<uint32_t>())) {
      if (cpu <= CpuSet::kMaxCpu) node.cpus.Add(cpu);
    }
    const auto zones = given.value("memory_zones", std::set<std::string>());
    for (const nlohmann::json& region : info.at("runtime").at("memory_regions")) {
      if (!zones.contains(region.at("zone").get<std::string>())) continue;
      node.memory_bytes += region.at("plugged").get<uint64_t>();
      if (region.at("host_numa_node").is_number())
        node.host_nodes.insert(region.at("host_numa_node").get<uint32_t>());
    }
  }
  return nodes;
}

}  // namespace

Result<VmmInfo> VmmClient::Info() const {
  TRY_ASSIGN(std::string text, Call("GET", "vm.info"));
  try {
    const nlohmann::json json = nlohmann::json::parse(text);
    VmmInfo info;
    info.state = json.at("state").get<std::string>();
    for (const nlohmann::json& device : json.at("runtime").at("devices")) {
      info.devices.insert(device.at("id").get<std::string>());
    }
    info.nodes = NodesOf(json);
    return info;
  } catch (const std::exception& error) {
    return Internal(std::string("the VMM's vm.info makes no sense: ") + error.what());
  }
}

Status VmmClient::RemoveDevice(const std::string& id) const {
  return Call("PUT", "vm.remove-device", nlohmann::json{{"id", id}}.dump()).status();
}

Result<std::string> VmmClient::Call(std::string_view method, std::string_view name,
                                    std::string_view body) const {
  Clock::time_point deadline = Clock::now() + timeout_;
  TRY_ASSIGN(UniqueFd fd, Connect(socket_path_));
  std::string request =
      std::string(method) + " /api/v1/" + std::string(name) +
      " HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\nContent-Length: " + std::to_string(body.size()) +
      "\r\nConnection: close\r\n\r\n" + std::string(body);
  // A fresh UNIX socket takes these few bytes at once.
  if (::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(request.size())) {
    return Unavailable(ErrnoStatus("send", errno).message());
  }
  TRY_ASSIGN(std::string answer, ReadAnswer(fd.get(), deadline));
  // "HTTP/1.1 204 No Content"
  if (!answer.starts_with("HTTP/1.") || answer.size() < 12) return Internal("the VMM's answer is not HTTP");
  size_t head = answer.find("\r\n\r\n");
  std::string text = head == std::string::npos ? "" : answer.substr(head + 4);
  if (answer[9] == '2') return text;
  return Status{StatusCode::kFailedPrecondition,
                std::string(name) + ": " + answer.substr(9, answer.find('\r') - 9) + ": " + text};
}

}  // namespace berth::agent
