#include "vmm/ctl/ctl.h"

#include <chrono>
#include <optional>

#include "vmm/api/client.h"
#include "vmm/api/router.h"
#include "vmm/config/version.h"
#include "vmm/ctl/verb_body.h"

namespace berth::vmm {
namespace {

constexpr std::chrono::seconds kTimeout{30};
constexpr int kFailed = 1;
constexpr int kUsage = 2;

struct Request {
  std::string socket;
  std::string verb;
  std::vector<std::string> arguments;  // behind the verb
  bool compact = false;
  bool help = false;
  bool version = false;
};

std::string HelpText() {
  std::string text =
      "berth-vmmctl: talks to a running berth-vmm\n\n"
      "usage: berth-vmmctl --api-socket PATH [--compact] VERB [ARGUMENT...]\n\n"
      "examples: berth-vmmctl --api-socket /run/vm1.sock info\n"
      "          berth-vmmctl --api-socket /run/vm1.sock resize --cpus 4 --memory 2G\n"
      "          berth-vmmctl --api-socket /run/vm1.sock add-disk path=data.img,id=data\n\n"
      "  --api-socket PATH   the VMM's socket\n"
      "  --compact           print JSON on one line\n"
      "  -h, --help          print this text\n"
      "  -v, --version       print the version\n\n"
      "verbs (the part before the dot may be left out, vm. is tried first; shutdown-vmm is vmm.shutdown):\n";
  for (const ApiVerb& verb : ApiVerbs()) {
    std::string row = "  " + std::string(verb.name);
    row.resize(22, ' ');
    text += row + std::string(verb.help) + "\n";
  }
  text +=
      "\narguments:\n"
      "  create [FILE], preflight [FILE]      a configuration as JSON; - is standard input, as is no file "
      "of\n"
      "                                       create. preflight ends with 1 when it has found an error\n"
      "  resize [--cpus N] [--memory SIZE] [--balloon SIZE] [--timeout MS]\n"
      "  resize-zone --id ID --size SIZE [--timeout MS]\n"
      "  resize-disk --disk ID --size SIZE\n"
      "  add-disk KEYS, add-net KEYS, add-device KEYS, add-vsock KEYS\n"
      "                                       as the options --disk, --net, --device and --vsock of "
      "berth-vmm;\n"
      "                                       the descriptors of fd=[N,...] are this program's, and travel "
      "with\n"
      "                                       the request\n"
      "  remove-device ID [--timeout MS]\n"
      "  coredump file:///PATH, snapshot file:///DIRECTORY\n"
      "  restore file:///DIRECTORY [--prefault on|off] [--memory-restore-mode Copy|OnDemand] [--resume "
      "on|off]\n"
      "  restore source_url=file:///DIRECTORY,...   as the option --restore of berth-vmm; the descriptors "
      "of\n"
      "                                       net_fds=[ID@[N,...],...] travel with the request\n"
      "  or the request's JSON object itself\n";
  return text;
}

std::optional<std::string> ReadArguments(const std::vector<std::string>& arguments, Request& request) {
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (!request.verb.empty() && argument != "--compact") {
      request.arguments.push_back(argument);
      continue;
    }
    constexpr std::string_view kSocket = "--api-socket";
    if (argument == kSocket) {
      if (++i == arguments.size()) return "--api-socket needs a path";
      request.socket = arguments[i];
    } else if (argument.starts_with("--api-socket=")) {
      request.socket = argument.substr(kSocket.size() + 1);
    } else if (argument == "--compact") {
      request.compact = true;
    } else if (argument == "-h" || argument == "--help") {
      request.help = true;
    } else if (argument == "-v" || argument == "--version") {
      request.version = true;
    } else if (argument.starts_with("-")) {
      return "unknown option " + argument;
    } else {
      request.verb = argument;
    }
  }
  if (request.help || request.version) return std::nullopt;
  if (request.socket.empty()) return "--api-socket is missing";
  if (request.verb.empty()) return "no verb given";
  return std::nullopt;
}

const ApiVerb* FindVerb(const std::string& given) {
  const std::string name = given == "shutdown-vmm" ? "vmm.shutdown" : given;  // as ch-remote has it
  for (const std::string& full : {name, "vm." + name, "vmm." + name}) {
    for (const ApiVerb& verb : ApiVerbs()) {
      if (verb.name == full) return &verb;
    }
  }
  return nullptr;
}

int Call(const Request& request, const ApiVerb& verb, std::ostream& out, std::ostream& err) {
  Result<std::string> arguments = VerbBody(verb.name, request.arguments);
  if (!arguments.has_value()) {
    err << "berth-vmmctl: " << verb.name << ": " << arguments.error().message() << " (see --help)\n";
    return kUsage;
  }
  const std::vector<int> fds = TakeDescriptors(verb.name, *arguments);
  Result<HttpResponse> response = CallApi(request.socket, verb.method, verb.name, kTimeout, *arguments, fds);
  if (!response.has_value()) {
    err << "berth-vmmctl: " << response.error().ToString() << "\n";
    return kFailed;
  }
  bool good = response->status < 300;
  std::string body = request.compact ? response->body : IndentJson(response->body);
  if (!good) err << "berth-vmmctl: " << verb.name << ": HTTP status " << response->status << "\n";
  if (!body.empty()) (good ? out : err) << body << "\n";
  const bool lacking = verb.name == "vm.preflight" && HasErrorFindings(response->body);
  return good && !lacking ? 0 : kFailed;
}

}  // namespace

int RunCtl(const std::vector<std::string>& arguments, std::ostream& out, std::ostream& err) {
  Request request;
  if (auto wrong = ReadArguments(arguments, request)) {
    err << "berth-vmmctl: " << *wrong << " (see --help)\n";
    return kUsage;
  }
  if (request.help || request.version) {
    out << (request.help ? HelpText() : "berth-vmmctl " + std::string(kVersion) + "\n");
    return 0;
  }
  const ApiVerb* verb = FindVerb(request.verb);
  if (verb == nullptr) {
    std::string_view refusal = VerbRefusal(request.verb);
    if (refusal.empty()) refusal = VerbRefusal("vm." + request.verb);
    if (!refusal.empty()) {
      err << "berth-vmmctl: " << request.verb << ": not supported: " << refusal << "\n";
      return kUsage;
    }
    err << "berth-vmmctl: unknown verb " << request.verb << " (see --help)\n";
    return kUsage;
  }
  return Call(request, *verb, out, err);
}

}  // namespace berth::vmm
