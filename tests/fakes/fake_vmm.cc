// Stands in for berth-vmm in tests of the agent. Takes the real command line (by the VMM's own parser, so
// that wrong options fail here too), makes threads with the asked affinity, binds and fills the asked memory,
// serves the API and the serial socket, but runs no guest. Words of the kernel command line choose what it
// does:
//   fake_exit=N       prints two lines of error and exits with N before the API is there
//   fake_crash        aborts before the API is there
//   fake_no_api       never opens the API socket
//   fake_power_off    exits with 0 soon after it was pinged
//   fake_die=N        exits with N soon after it was pinged
//   fake_stubborn     ignores the power button
//   fake_slow_button  is too busy to answer when the power button is pressed first, and does not hear of it
//   fake_deaf         ignores the power button and SIGTERM
//   fake_keeps        never lets go of a device
// Pause, resume, reset, vm.info and plugged devices follow the real VMM's rules: a state that forbids a verb,
// an id that is there already or is not there is 409 or 404. A disk must be a file that can be read.
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <latch>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "vmm/config/command_line.h"
#include "vmm/config/json_config.h"

namespace {

using berth::CpuSet;

std::string g_cmdline;

bool Has(const std::string& word) {
  return (" " + g_cmdline + " ").find(" " + word + " ") != std::string::npos;
}

// The number of "key=N", or -1.
int Number(const std::string& key) {
  size_t at = (" " + g_cmdline).find(" " + key + "=");
  return at == std::string::npos ? -1 : std::atoi(g_cmdline.c_str() + at + key.size() + 1);
}

[[noreturn]] void Fail(const char* what) {
  std::fprintf(stderr, "fake_vmm: %s: %s\n", what, std::strerror(errno));
  std::_Exit(71);
}

int Listen(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) Fail("socket path too long");
  std::memcpy(address.sun_path, path.data(), path.size());
  int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) Fail(path.c_str());
  if (::listen(fd, 16) != 0) Fail("listen");
  return fd;
}

// Returns when the thread has its name and its CPUs, as the real VMM's vCPUs have before its API answers.
void StartVcpu(uint32_t id, const CpuSet* cpus) {
  std::latch ready(1);
  std::thread([id, cpus, &ready] {
    ::pthread_setname_np(::pthread_self(), ("vcpu" + std::to_string(id)).c_str());
    if (cpus != nullptr) {
      std::vector<unsigned long> mask((CpuSet::kMaxCpu + 1) / 64);
      for (uint32_t cpu : cpus->ToVector()) mask[cpu / 64] |= 1UL << (cpu % 64);
      if (::sched_setaffinity(0, mask.size() * 8, reinterpret_cast<cpu_set_t*>(mask.data())) != 0)
        Fail("affinity");
    }
    ready.count_down();
    while (true) ::pause();
  }).detach();
  ready.wait();
}

void FillZone(const berth::vmm::MemoryZoneConfig& zone) {
  size_t size = zone.size.bytes();
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) Fail("mmap");
  if (zone.host_numa_node.has_value()) {
    std::vector<unsigned long> nodes(64);
    nodes[*zone.host_numa_node / 64] |= 1UL << (*zone.host_numa_node % 64);
    constexpr int kBind = 2;  // MPOL_BIND
    if (::syscall(SYS_mbind, memory, size, kBind, nodes.data(), nodes.size() * 64, 0) != 0) Fail("mbind");
  }
  if (zone.prefault) std::memset(memory, 1, size);
}

// What the machine has become since it began.
struct MachineState {
  bool paused = false;
  int resets = 0;
  bool button_ignored = false;
  std::set<std::string> devices;
  nlohmann::json config = nlohmann::json::object();
  nlohmann::json regions = nlohmann::json::array();
};
MachineState g_machine;

// One request, read to the end of its body.
std::string ReadRequest(int fd) {
  std::string request;
  char buffer[4096];
  while (true) {
    size_t head = request.find("\r\n\r\n");
    if (head != std::string::npos) {
      size_t field = request.find("Content-Length: ");
      size_t length = field < head ? std::strtoul(request.c_str() + field + 16, nullptr, 10) : 0;
      if (request.size() >= head + 4 + length) return request;
    }
    ssize_t got = ::recv(fd, buffer, sizeof buffer, 0);
    if (got <= 0) return request;
    request.append(buffer, static_cast<size_t>(got));
  }
}

struct Answer {
  std::string head = "HTTP/1.1 204 No Content";
  std::string body;
};

Answer Refuse(const char* status, const std::string& message) {
  return {std::string("HTTP/1.1 ") + status,
          R"([{"code":"FailedPrecondition","message":")" + message + "\"}]"};
}

Answer Change(const std::string& verb, const std::string& body) {
  const nlohmann::json json = nlohmann::json::parse(body, nullptr, false);
  if (verb == "vm.pause") {
    if (g_machine.paused) return Refuse("409 Conflict", "pause: the VM is Paused, must be Running");
    g_machine.paused = true;
    return {};
  }
  if (verb == "vm.resume") {
    if (!g_machine.paused) return Refuse("409 Conflict", "resume: the VM is Running, must be Paused");
    g_machine.paused = false;
    return {};
  }
  if (verb == "vm.reboot") {
    ++g_machine.resets;
    std::fprintf(stderr, "fake_vmm: reset\n");
    return {};
  }
  if (!json.is_object() || !json.contains("id")) return Refuse("400 Bad Request", "no id");
  const std::string id = json["id"];
  if (verb == "vm.remove-device") {
    if (!g_machine.devices.contains(id)) return Refuse("404 Not Found", "no device " + id);
    if (!Has("fake_keeps")) g_machine.devices.erase(id);
    return {};
  }
  if (g_machine.devices.contains(id)) return Refuse("409 Conflict", "id " + id + " is taken");
  if (verb == "vm.add-disk" && ::access(json.value("path", "").c_str(), R_OK) != 0) {
    return Refuse("400 Bad Request", "disk: " + json.value("path", "") + ": " + std::strerror(errno));
  }
  g_machine.devices.insert(id);
  return {"HTTP/1.1 200 OK", R"({"id":")" + id + "\"}"};
}

Answer Info() {
  nlohmann::json json = {
      {"state", g_machine.paused ? "Paused" : "Running"},
      {"resets", g_machine.resets},
      {"config", g_machine.config},
      {"runtime", {{"devices", nlohmann::json::array()}, {"memory_regions", g_machine.regions}}}};
  for (const std::string& id : g_machine.devices)
    json["runtime"]["devices"].push_back({{"id", id}, {"bdf", ""}});
  return {"HTTP/1.1 200 OK", json.dump()};
}

// Answers one request; true when the guest is to power off.
bool ServeApi(int listener) {
  int fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
  if (fd < 0) return false;
  const std::string request = ReadRequest(fd);
  std::string_view line(request);
  std::string body;
  std::string head = "HTTP/1.1 404 Not Found";
  bool off = false;
  if (line.starts_with("GET /api/v1/vmm.ping ")) {
    head = "HTTP/1.1 200 OK";
    body = "{\"build_version\":\"fake\",\"version\":\"0\",\"pid\":" + std::to_string(::getpid()) + "}";
    if (Has("fake_power_off")) off = true;
    if (int code = Number("fake_die"); code >= 0) {
      std::fprintf(stderr, "fake_vmm: died as asked\n");
      std::_Exit(code);
    }
  } else if (line.starts_with("PUT /api/v1/vm.power-button ")) {
    if (Has("fake_slow_button") && !std::exchange(g_machine.button_ignored, true)) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1500));
      ::close(fd);
      return false;
    }
    head = "HTTP/1.1 204 No Content";
    off = !Has("fake_stubborn") && !Has("fake_deaf") && !g_machine.paused;
    if (g_machine.paused) head = "HTTP/1.1 409 Conflict";
    if (off) std::fprintf(stderr, "fake_vmm: the power button was pressed\n");
  } else if (line.starts_with("GET /api/v1/vm.info ")) {
    Answer answer = Info();
    head = answer.head;
    body = answer.body;
  } else if (line.starts_with("PUT /api/v1/vm.")) {
    constexpr size_t kVerb = std::string_view("PUT /api/v1/").size();
    Answer answer = Change(std::string(line.substr(kVerb, line.find(' ', kVerb) - kVerb)),
                           request.substr(std::min(request.find("\r\n\r\n"), request.size() - 4) + 4));
    head = answer.head;
    body = answer.body;
  }
  std::string answer = head + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  [[maybe_unused]] ssize_t sent = ::send(fd, answer.data(), answer.size(), MSG_NOSIGNAL);
  ::close(fd);
  return off;
}

// Greets every client and echoes what it says in capitals.
void ServeSerial(int listener) {
  std::thread([listener] {
    while (true) {
      int fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) continue;
      std::thread([fd] {
        const char kGreeting[] = "fake guest login: ";
        [[maybe_unused]] ssize_t sent = ::send(fd, kGreeting, sizeof kGreeting - 1, MSG_NOSIGNAL);
        char buffer[1024];
        ssize_t got = 0;
        while ((got = ::recv(fd, buffer, sizeof buffer, 0)) > 0) {
          for (ssize_t i = 0; i < got; ++i) buffer[i] = static_cast<char>(std::toupper(buffer[i]));
          sent = ::send(fd, buffer, static_cast<size_t>(got), MSG_NOSIGNAL);
        }
        ::close(fd);
      }).detach();
    }
  }).detach();
}

}  // namespace

int main(int argc, char** argv) {
  auto line = berth::vmm::ParseCommandLine(argc, argv);
  if (!line.has_value()) {
    std::fputs(berth::vmm::ToText(line.error()).c_str(), stderr);
    return 2;
  }
  const berth::vmm::VmConfig& config = line->config;
  g_cmdline = config.cmdline;
  if (::access(config.kernel.c_str(), R_OK) != 0) {
    std::fprintf(stderr, "fake_vmm: kernel %s: %s\n", config.kernel.c_str(), std::strerror(errno));
    return 1;
  }
  if (int code = Number("fake_exit"); code >= 0) {
    std::fprintf(stderr, "fake_vmm: first line of trouble\nfake_vmm: second line of trouble\n");
    return code;
  }
  if (Has("fake_crash")) std::abort();
  if (Has("fake_deaf")) ::signal(SIGTERM, SIG_IGN);
  g_machine.config = nlohmann::json::parse(berth::vmm::ConfigToJson(config));
  for (const auto& zone : config.memory_zones) {
    FillZone(zone);
    nlohmann::json region = {{"zone", zone.id}, {"plugged", zone.size.bytes()}, {"host_numa_node", nullptr}};
    if (zone.host_numa_node) region["host_numa_node"] = *zone.host_numa_node;
    g_machine.regions.push_back(std::move(region));
  }
  for (uint32_t id = 0; id < config.cpus.boot; ++id) {
    auto found = config.cpus.affinity.find(id);
    StartVcpu(id, found == config.cpus.affinity.end() ? nullptr : &found->second);
  }
  if (config.serial.mode == berth::vmm::SerialConfig::Mode::kSocket) ServeSerial(Listen(config.serial.path));
  if (Has("fake_no_api")) {
    while (true) ::pause();
  }
  for (const auto& disk : config.disks) {
    if (::access(disk.path.c_str(), R_OK) != 0) {
      std::fprintf(stderr, "fake_vmm: disk %s: %s\n", disk.path.c_str(), std::strerror(errno));
      return 1;
    }
    if (!disk.id.empty()) g_machine.devices.insert(disk.id);
  }
  for (const auto& device : config.devices) {
    if (!device.id.empty()) g_machine.devices.insert(device.id);
  }
  int api = Listen(line->api_socket.value_or(""));
  while (!ServeApi(api)) {
  }
  std::_Exit(0);
}
