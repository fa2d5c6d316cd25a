#include "cli/berthctl.h"

#include <algorithm>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/rebalance_command.h"
#include "cli/replay_command.h"

namespace berth::cli {
namespace {

constexpr int kDone = 0;
constexpr int kFailed = 1;
constexpr int kUsage = 2;

// CLI11 reports by exceptions; none leaves this function. Empty: go on and run the verb.
std::optional<int> Parse(CLI::App& app, std::vector<std::string> arguments, const Terminal& terminal) {
  std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them from the back
  try {
    app.parse(std::move(arguments));
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    int code = app.exit(error, terminal.out, terminal.err);
    return code == 0 ? kDone : kUsage;  // --help ends with 0
  } catch (const std::exception& error) {
    terminal.err << "berthctl: " << error.what() << "\n";
    return kUsage;
  }
}

// CLI11 tells of a missing command where an unknown one was given.
std::string WhatIsWrong(const CLI::App& root, const CLI::Error& error) {
  const std::vector<std::string> rest = root.remaining(true);
  const CLI::App* noun = &root;
  while (!noun->get_subcommands().empty()) noun = noun->get_subcommands().front();
  const bool missing = error.get_exit_code() == static_cast<int>(CLI::ExitCodes::RequiredError) &&
                       noun->get_require_subcommand_min() > 0;
  if (!missing || rest.empty()) return error.what();
  std::string text = "there is no command \"" + rest.front() + "\"; there are:";
  for (const CLI::App* verb : noun->get_subcommands([](const CLI::App*) { return true; })) {
    text += " " + verb->get_name();
  }
  return text;
}

}  // namespace

int RunBerthctl(std::vector<std::string> arguments, Terminal terminal) {
  Context context(terminal);
  Verbs verbs;
  CLI::App app("berthctl: look at hosts, devices and instances of Berth, and change them", "berthctl");
  app.require_subcommand(1);
  app.failure_message([](const CLI::App* root, const CLI::Error& error) {
    return "berthctl: " + WhatIsWrong(*root, error) + "\nRun with --help for more.\n";
  });
  app.add_option("--endpoint", context.endpoint, "Address of the berth services")
      ->envname("BERTH_ENDPOINT")
      ->type_name("HOST:PORT")
      ->capture_default_str();
  app.add_option("--timeout", context.timeout_s, "Seconds to wait for an answer")
      ->check(Seconds(0.1, 3600))
      ->capture_default_str();
  app.fallthrough();
  AddDiscover(app, context, verbs);
  AddHost(app, context, verbs);
  AddLists(app, context, verbs);
  AddInstance(app, context, verbs);
  AddGroups(app, context, verbs);
  AddImport(app, context, verbs);
  AddWhatif(app, context, verbs);
  AddExplain(app, context, verbs);
  AddReplay(app, context, verbs);
  AddRebalance(app, context, verbs);

  if (std::optional<int> exit = Parse(app, std::move(arguments), terminal)) return *exit;
  const Run* run = verbs.Parsed();
  if (run == nullptr) return kUsage;
  Status status = (*run)(context);
  terminal.out.flush();
  // What was asked for may have been done, but the answer is incomplete (a full disk, a closed pipe).
  if (status.ok() && !terminal.out) status = {StatusCode::kDataLoss, "the output could not be written"};
  if (status.ok()) return kDone;
  terminal.err << "berthctl: " << status.ToString() << "\n";
  const bool usage = status.field() == kOutputField || status.field() == kEndpointField;
  return usage && status.code() == StatusCode::kInvalidArgument ? kUsage : kFailed;
}

}  // namespace berth::cli
