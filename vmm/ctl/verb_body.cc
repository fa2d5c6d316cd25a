#include "vmm/ctl/verb_body.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <nlohmann/json.hpp>

#include "common/byte_size.h"
#include "common/file.h"
#include "vmm/config/json_config.h"
#include "vmm/config/option_values.h"

namespace berth::vmm {
namespace {

using Json = nlohmann::ordered_json;

enum class Kind { kText, kNumber, kSize, kToggle };
struct Flag {
  std::string_view name;   // "--cpus"
  std::string_view field;  // of the body
  Kind kind;
  bool required = false;
};
struct VerbSpec {
  std::string_view verb;
  std::vector<Flag> flags;
  std::string_view positional = {};  // field of an argument without a flag, which is required
};

const std::vector<VerbSpec>& Specs() {
  static const Flag kTimeout = {"--timeout", "timeout_ms", Kind::kNumber};
  static const std::vector<VerbSpec> specs = {
      {"vm.resize",
       {{"--cpus", "desired_vcpus", Kind::kNumber},
        {"--memory", "desired_ram", Kind::kSize},
        {"--balloon", "desired_balloon", Kind::kSize},
        kTimeout}},
      {"vm.resize-zone",
       {{"--id", "id", Kind::kText, true}, {"--size", "desired_ram", Kind::kSize, true}, kTimeout}},
      {"vm.resize-disk",
       {{"--disk", "id", Kind::kText, true}, {"--size", "desired_size", Kind::kSize, true}}},
      {"vm.remove-device", {kTimeout}, "id"},
      {"vm.coredump", {}, "destination_url"},
      {"vm.snapshot", {}, "destination_url"},
      {"vm.restore",
       {{"--prefault", "prefault", Kind::kToggle},
        {"--memory-restore-mode", "memory_restore_mode", Kind::kText},
        {"--resume", "resume", Kind::kToggle}},
       "source_url"},
  };
  return specs;
}

Result<Json> Value(const Flag& flag, const std::string& text) {
  const std::string name(flag.name);
  if (flag.kind == Kind::kText) return Json(text);
  if (flag.kind == Kind::kSize) {
    Result<ByteSize> size = ByteSize::Parse(text);
    if (!size.has_value()) return std::move(size).error().WithContext(name);
    return Json(size->bytes());
  }
  if (flag.kind == Kind::kToggle) {
    if (text == "on" || text == "true") return Json(true);
    if (text == "off" || text == "false") return Json(false);
    return InvalidArgument(name + ": '" + text + "' is not on or off");
  }
  uint64_t number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) {
    return InvalidArgument(name + ": '" + text + "' is not a number");
  }
  return Json(number);
}

Result<std::string> Flags(const VerbSpec& spec, const std::vector<std::string>& arguments) {
  Json body = Json::object();
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (!argument.starts_with("--")) {
      if (spec.positional.empty() || body.contains(spec.positional)) {
        return InvalidArgument("unexpected argument " + argument);
      }
      body[std::string(spec.positional)] = argument;
      continue;
    }
    const Flag* flag = nullptr;
    for (const Flag& candidate : spec.flags) {
      if (candidate.name == argument) flag = &candidate;
    }
    if (flag == nullptr) return InvalidArgument("unknown option " + argument);
    if (++i == arguments.size()) return InvalidArgument(argument + " needs a value");
    TRY_ASSIGN(body[std::string(flag->field)], Value(*flag, arguments[i]));
  }
  for (const Flag& flag : spec.flags) {
    if (flag.required && !body.contains(flag.field))
      return InvalidArgument(std::string(flag.name) + " is missing");
  }
  if (!spec.positional.empty() && !body.contains(spec.positional)) {
    return InvalidArgument("the " + std::string(spec.positional) + " is missing");
  }
  return body.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// One argument that is written as an option of berth-vmm.
Result<std::string> AsOption(const OptionSpec& option, const std::vector<std::string>& arguments) {
  if (arguments.size() != 1)
    return InvalidArgument("needs one argument, as --" + std::string(option.name) + " has it");
  ConfigErrors errors;
  const OptionValues values = ReadOptionString(option, std::string(option.name), arguments[0], errors);
  if (errors.empty()) return OptionToJson(values);
  std::string text = ToText(errors);
  while (text.ends_with('\n')) text.pop_back();
  return InvalidArgument(text);
}

Result<std::string> File(const std::vector<std::string>& arguments) {
  if (arguments.size() > 1) return InvalidArgument("takes one file with a configuration as JSON");
  const bool input = arguments.empty() || arguments[0] == "-";
  return ReadFile(input ? "/dev/stdin" : arguments[0], kMaxJsonConfig);
}

// The numbers in "fds" of an object, which loses them.
bool TakeFrom(Json& json, std::vector<int>& fds) {
  if (!json.is_object() || !json.contains("fds") || !json["fds"].is_array()) return false;
  const Json& list = json["fds"];
  if (!std::all_of(list.begin(), list.end(), [](const Json& fd) { return fd.is_number_unsigned(); }))
    return false;
  for (const Json& fd : list) fds.push_back(fd.get<int>());
  json.erase("fds");
  return true;
}

}  // namespace

Result<std::string> VerbBody(std::string_view verb, const std::vector<std::string>& arguments) {
  if (arguments.size() == 1 && arguments[0].starts_with("{")) return arguments[0];
  if (verb == "vm.create" || (verb == "vm.preflight" && !arguments.empty())) return File(arguments);
  constexpr std::string_view kAdd = "vm.add-";
  if (verb.starts_with(kAdd)) {
    const OptionSpec* option = FindOption(verb.substr(kAdd.size()));
    CHECK(option != nullptr);
    return AsOption(*option, arguments);
  }
  if (verb == "vm.restore" && arguments.size() == 1 && !arguments[0].starts_with("file:") &&
      arguments[0].find('=') != std::string::npos)
    return AsOption(*FindOption("restore"), arguments);
  for (const VerbSpec& spec : Specs()) {
    if (spec.verb == verb) return Flags(spec, arguments);
  }
  if (arguments.empty()) return std::string();
  return InvalidArgument(std::string(verb) + " takes no arguments, not " + arguments[0]);
}

bool HasErrorFindings(const std::string& findings) {
  const Json json = Json::parse(findings, nullptr, /*allow_exceptions=*/false);
  return json.is_array() && std::any_of(json.begin(), json.end(), [](const Json& finding) {
           return finding.is_object() && finding.value("severity", Json()) == "error";
         });
}

std::vector<int> TakeDescriptors(std::string_view verb, std::string& body) {
  if (verb != "vm.add-net" && verb != "vm.restore") return {};
  Json json = Json::parse(body, nullptr, /*allow_exceptions=*/false);
  std::vector<int> fds;
  bool taken = false;
  if (verb == "vm.add-net") {
    taken = TakeFrom(json, fds);
  } else if (json.is_object() && json.contains("net_fds") && json["net_fds"].is_array()) {
    for (Json& net : json["net_fds"]) taken = TakeFrom(net, fds) || taken;
  }
  if (!taken) return {};
  body = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  return fds;
}

}  // namespace berth::vmm
