#include "vmm/config/command_line.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <string_view>

#include "vmm/config/option_table.h"
#include "vmm/config/option_values.h"
#include "vmm/config/validate.h"
#include "vmm/config/validate_rules.h"

namespace berth::vmm {
namespace {

// The values of each option in the order given.
using Occurrences = std::map<const OptionSpec*, std::vector<std::string>>;

bool LooksLikeOption(std::string_view argument) {
  return argument.starts_with("--") || argument == "-v" || argument == "-h";
}

const OptionSpec* FindArgument(std::string_view argument) {
  if (argument.starts_with("--")) return FindOption(argument.substr(2));
  for (const OptionSpec& option : OptionTable()) {
    if (option.short_name != 0 && argument.size() == 2 && argument[1] == option.short_name) return &option;
  }
  return nullptr;
}

// Walks over the arguments, groups them by option.
class ArgumentReader {
 public:
  ArgumentReader(const std::vector<std::string>& arguments, ConfigErrors& errors)
      : arguments_(arguments), errors_(errors) {}

  Occurrences Read() {
    while (next_ < arguments_.size()) ReadOne();
    return std::move(found_);
  }

 private:
  void ReadOne() {
    std::string_view argument = arguments_[next_++];
    std::optional<std::string> attached;
    if (size_t equals = argument.find('='); argument.starts_with("--") && equals != std::string_view::npos) {
      attached = argument.substr(equals + 1);
      argument = argument.substr(0, equals);
    }
    if (!LooksLikeOption(argument)) {
      errors_.push_back({"UnexpectedArgument", std::string(argument), "", "",
                         "argument that belongs to no option", "", "see --help"});
      return;
    }
    std::string name(argument.substr(argument.starts_with("--") ? 2 : 1));
    const OptionSpec* spec = FindArgument(argument);
    std::vector<std::string> values;
    if (attached) values.push_back(*attached);
    if (spec == nullptr || !spec->supported()) {
      while (!attached && HasValue()) values.push_back(arguments_[next_++]);
      const bool harmless =
          spec != nullptr && values.size() == 1 && !FindWord(spec->harmless, values[0]).empty();
      if (!harmless) Refuse(spec, name);
      return;
    }
    if (!attached && spec->form != OptionSpec::Form::kFlag) TakeValues(*spec, values);
    Record(*spec, name, std::move(values));
  }

  bool HasValue() const { return next_ < arguments_.size() && !LooksLikeOption(arguments_[next_]); }

  void TakeValues(const OptionSpec& spec, std::vector<std::string>& values) {
    while (HasValue() && (spec.repeatable || values.empty())) values.push_back(arguments_[next_++]);
  }

  void Refuse(const OptionSpec* spec, const std::string& name) {
    if (spec == nullptr) {
      errors_.push_back({"UnknownOption", name, "", "", "unknown option", "", NearestOptionHint(name)});
    } else {
      errors_.push_back(
          {"NotSupported", name, "", "", "not supported: " + std::string(spec->refusal), "", "leave it out"});
    }
  }

  void Record(const OptionSpec& spec, const std::string& name, std::vector<std::string> values) {
    bool flag = spec.form == OptionSpec::Form::kFlag;
    if (flag && !values.empty()) {
      errors_.push_back({"InvalidValue", name, "", values[0], "takes no value", "", ""});
      return;
    }
    if (!flag && values.empty()) {
      errors_.push_back({"MissingValue", name, "", "", "needs a value", std::string(spec.placeholder),
                         "a value that begins with -- is written --" + name + "=VALUE"});
      return;
    }
    auto [found, first] = found_.try_emplace(&spec);
    if (!first && !spec.repeatable) {
      errors_.push_back(
          {"DuplicateOption", name, "", values.empty() ? "" : values[0], "given twice", "once", ""});
      return;
    }
    found->second.insert(found->second.end(), values.begin(), values.end());
  }

  const std::vector<std::string>& arguments_;
  ConfigErrors& errors_;
  size_t next_ = 0;
  Occurrences found_;
};

constexpr int kFirstInherited = 3;

// "PATH", "path=PATH" or "fd=N".
void ApplyApiSocket(std::string_view value, CommandLine& line, ConfigErrors& errors) {
  constexpr std::string_view kPath = "path=", kFd = "fd=";
  if (!value.starts_with(kFd)) {
    line.api_socket = value.starts_with(kPath) ? value.substr(kPath.size()) : value;
    return;
  }
  value.remove_prefix(kFd.size());
  int fd = 0;
  auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), fd);
  if (error == std::errc() && end == value.data() + value.size() && fd >= kFirstInherited) {
    line.api_fd = fd;
  } else {
    errors.push_back({"InvalidValue", "api-socket", "fd", value, "not the number of an inherited descriptor",
                      "3 and above", ""});
  }
}

void ApplyText(std::string_view name, const std::string& value, CommandLine& line, ConfigErrors& errors) {
  if (value.empty() && name != "cmdline") {
    errors.push_back(
        {"MissingValue", std::string(name), "", "", "needs a value", "a text that is not empty", ""});
    return;
  }
  if (name == "kernel") line.config.kernel = value;
  if (name == "firmware") line.config.firmware = value;
  if (name == "igvm") line.config.igvm = value;
  if (name == "host-data") line.config.host_data = value;
  if (name == "initramfs") line.config.initramfs = value;
  if (name == "cmdline") line.config.cmdline = value;
  if (name == "api-socket") ApplyApiSocket(value, line, errors);
  if (name == "log-file") line.log_file = value;
  if (name == "seccomp") {
    if (value == "true") {
      line.seccomp = SeccompMode::kKill;
    } else if (value == "log") {
      line.seccomp = SeccompMode::kLog;
    } else if (value == "false") {
      line.seccomp = SeccompMode::kOff;
    } else {
      errors.push_back({"InvalidValue", "seccomp", "", value, "unknown mode", "true, false, log", ""});
    }
  }
  if (name == "log-level") {
    Result<LogLevel> level = ParseLogLevel(value);
    if (level.has_value()) {
      line.log_level = *level;
    } else {
      errors.push_back(
          {"InvalidValue", "log-level", "", value, "unknown level", "debug, info, warning, error", ""});
    }
  }
}

void ApplyMonitor(const OptionValues& values, CommandLine& line, ConfigErrors& errors) {
  const auto* path = values.Get<std::string>("path");
  const auto* fd = values.Get<uint64_t>("fd");
  if ((path != nullptr) == (fd != nullptr)) {
    errors.push_back(
        {"InvalidValue", values.label, "path", "", "needs a path or a descriptor", "path= or fd=", ""});
  } else if (fd != nullptr && (*fd < uint64_t{kFirstInherited} || *fd > INT32_MAX)) {
    errors.push_back({"InvalidValue", values.label, "fd", std::to_string(*fd),
                      "descriptors 0 to 2 are reserved", "3 and above", ""});
  } else if (fd != nullptr) {
    line.event_fd = static_cast<int>(*fd);
  } else {
    line.event_path = *path;
  }
}

void ApplyRestoredNets(const OptionValues& values, RestoreCommand& restore, ConfigErrors& errors) {
  const auto* lists = values.Get<DescriptorLists>("net_fds");
  if (lists == nullptr) return;
  CpuSet taken;
  for (const auto& [id, fds] : *lists) {
    RestoredNet& net = restore.nets.emplace_back();
    net.id = id;
    for (const uint32_t fd : fds.ToVector()) {
      const bool reserved = fd < uint32_t{kFirstInherited};
      if (reserved || taken.Contains(fd)) {
        errors.push_back({"InvalidValue", values.label, "net_fds", std::to_string(fd),
                          id + ": " + (reserved ? "descriptors 0 to 2 are reserved" : "stands twice"),
                          "each descriptor once, from 3 on", ""});
      }
      taken.Add(fd);
      net.fds.push_back(static_cast<int>(fd));
    }
  }
}

void ApplyRestore(const OptionValues& values, CommandLine& line, ConfigErrors& errors) {
  RestoreCommand& restore = line.restore.emplace();
  constexpr std::string_view kScheme = "file://";
  const auto* url = values.Get<std::string>("source_url");
  if (url != nullptr && url->starts_with(std::string(kScheme) + "/") && url->size() > kScheme.size() + 1) {
    restore.directory = url->substr(kScheme.size());
  } else if (url != nullptr) {
    errors.push_back(
        {"InvalidValue", values.label, "source_url", *url, "not a directory's URL", "file:///DIRECTORY", ""});
  }
  if (const auto* prefault = values.Get<bool>("prefault")) restore.prefault = *prefault;
  if (const auto* resume = values.Get<bool>("resume")) restore.resume = *resume;
  ApplyRestoredNets(values, restore, errors);
  const auto* mode = values.Get<std::string>("memory_restore_mode");
  restore.on_demand = mode != nullptr && *mode == "ondemand";
  if (restore.on_demand && restore.prefault.value_or(false)) {
    errors.push_back({"InvalidValue", values.label, "prefault", "on",
                      "memory that comes on demand is not there before", "off",
                      "use memory_restore_mode=copy"});
  }
}

void ApplyJail(const OptionValues& values, CommandLine& line, ConfigErrors& errors) {
  JailOptions& jail = line.jail.emplace();
  auto number = [&values](std::string_view key, auto& target) {
    using T = std::decay_t<decltype(target)>;
    if (const auto* value = values.Get<uint64_t>(key)) target = static_cast<typename T::value_type>(*value);
  };
  auto set = [&values](std::string_view key, std::optional<CpuSet>& target) {
    if (const auto* value = values.Get<CpuSet>(key)) target = *value;
  };
  number("uid", jail.uid);
  number("gid", jail.gid);
  set("cpus", jail.cpus);
  set("nodes", jail.nodes);
  number("memory", jail.memory);
  number("hugepages_2m", jail.huge_pages_2m);
  number("hugepages_1g", jail.huge_pages_1g);
  number("processes", jail.processes);
  if (const auto* group = values.Get<std::string>("cgroup")) jail.cgroup = *group;
  if (const auto* files = values.Get<uint64_t>("open_files")) jail.open_files = *files;
  constexpr uint64_t kFewestFiles = 64;
  if (jail.open_files < kFewestFiles) {
    errors.push_back({"InvalidValue", values.label, "open_files", std::to_string(jail.open_files),
                      "too few for a machine", "64 and above", ""});
  }
  const bool limits =
      jail.cpus || jail.nodes || jail.memory || jail.huge_pages_2m || jail.huge_pages_1g || jail.processes;
  if (limits && !jail.cgroup) {
    errors.push_back({"MissingKey", values.label, "cgroup", "",
                      "limits without a control group that has them", "", "give cgroup=/NAME"});
  }
}

void ApplyOccurrences(const Occurrences& found, CommandLine& line, ConfigErrors& errors) {
  std::vector<OptionValues> options;
  for (const auto& [spec, texts] : found) {
    for (size_t i = 0; i < texts.size(); ++i) {
      std::string label(spec->name);
      if (spec->repeatable) label += "[" + std::to_string(i) + "]";
      if (spec->form == OptionSpec::Form::kText) ApplyText(spec->name, texts[i], line, errors);
      if (spec->form == OptionSpec::Form::kKeys)
        options.push_back(ReadOptionString(*spec, std::move(label), texts[i], errors));
    }
  }
  for (const OptionValues& values : options) {
    if (values.spec->name == "event-monitor") ApplyMonitor(values, line, errors);
    if (values.spec->name == "jail") ApplyJail(values, line, errors);
    if (values.spec->name == "restore") ApplyRestore(values, line, errors);
  }
  ApplyOptions(options, line.config, errors);
}

// Options that say nothing of a VM.
bool IsOptionOfProcess(std::string_view name) {
  constexpr std::string_view kNames[] = {"api-socket", "log-file", "log-level", "event-monitor",
                                         "json",       "seccomp",  "landlock",  "landlock-rules",
                                         "jail",       "restore"};
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

}  // namespace

bool WantsJson(const std::vector<std::string>& arguments) {
  return std::find(arguments.begin(), arguments.end(), "--json") != arguments.end();
}

ConfigResult<CommandLine> ParseCommandLine(const std::vector<std::string>& arguments) {
  ConfigErrors errors;
  Occurrences found = ArgumentReader(arguments, errors).Read();
  auto given = [&](std::string_view name) { return found.contains(FindOption(name)); };
  CommandLine line;
  line.json = given("json");
  if (given("help") || given("version")) {
    line.action = given("help") ? CommandLine::Action::kHelp : CommandLine::Action::kVersion;
    if (!errors.empty()) return tl::unexpected(std::move(errors));
    return line;
  }
  line.config.pvpanic = given("pvpanic");
  line.config.landlock.enable = given("landlock");
  if (given("check")) line.action = CommandLine::Action::kCheck;
  ApplyOccurrences(found, line, errors);
  line.has_vm = (!given("api-socket") && !given("restore")) || line.action == CommandLine::Action::kCheck ||
                std::any_of(found.begin(), found.end(),
                            [](const auto& entry) { return !IsOptionOfProcess(entry.first->name); });
  if (line.restore && line.has_vm) {
    errors.push_back({"Conflict", "restore", "", "", "a snapshot has a VM of its own",
                      "no other options of a VM, and no --check",
                      "edit config.json in its directory instead"});
  }
  if (line.restore && !line.restore->resume && !given("api-socket")) {
    errors.push_back({"InvalidValue", "restore", "resume", "off", "a VM that stays paused for ever", "on",
                      "give resume=on, or --api-socket and then vm.resume"});
  }
  if (line.has_vm && !line.restore) {
    AppendValidation(line.config, errors);
  } else {
    CheckLandlock(line.config.landlock, errors);
  }
  if (!errors.empty()) return tl::unexpected(std::move(errors));
  return line;
}

}  // namespace berth::vmm
