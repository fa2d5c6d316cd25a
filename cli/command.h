#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

#include "cli/output.h"
#include "cli/terminal.h"
#include "common/status.h"

namespace berth::cli {

// What every verb can use. Filled from the command line before a verb runs.
struct Context {
  explicit Context(Terminal t) : terminal(t) {}

  Terminal terminal;
  std::string endpoint = "127.0.0.1:8778";  // --endpoint, BERTH_ENDPOINT
  double timeout_s = 30;                    // of one call
  std::string output;                       // -o, empty: the verb's own default

  // The format that -o asks for, if it is among `allowed`; the first of them without -o.
  Result<Format> ChooseFormat(const std::vector<Format>& allowed) const;
};

// One verb of the command line. `run` is called after parsing; its error becomes exit status 1.
using Run = std::function<Status(Context&)>;

// Collects the verbs: each adds its CLI11 subcommand and says what it does. The first verb that was parsed is
// run.
class Verbs {
 public:
  void Add(CLI::App* command, Run run) { verbs_.emplace_back(command, std::move(run)); }
  const Run* Parsed() const;

 private:
  std::vector<std::pair<CLI::App*, Run>> verbs_;
};

CLI::App* AddNoun(CLI::App& app, const std::string& name, const std::string& help);
// Adds a verb under a noun with its options -o and examples.
CLI::App* AddVerb(CLI::App& noun, const std::string& name, const std::string& help,
                  const std::string& example);
// Accepts a number of seconds from `least` to `most`, and neither "nan" nor "inf".
CLI::Validator Seconds(double least, double most);
void AddOutputOption(CLI::App& verb, Context& context, const std::string& formats);

// One per file: the verbs of a noun.
void AddDiscover(CLI::App& app, Context& context, Verbs& verbs);
void AddHost(CLI::App& app, Context& context, Verbs& verbs);
void AddHostCheck(CLI::App& noun, Context& context, Verbs& verbs);   // a verb of host
void AddHostStatus(CLI::App& noun, Context& context, Verbs& verbs);  // verbs of host: drain, enable, delete
void AddLists(CLI::App& app, Context& context, Verbs& verbs);        // device, flavor, alias
void AddInstance(CLI::App& app, Context& context, Verbs& verbs);
void AddBatch(CLI::App& noun, Context& context, Verbs& verbs);  // verbs of instance: create-many, watch
void AddGroups(CLI::App& app, Context& context, Verbs& verbs);  // group, aggregate
void AddLiveInstance(CLI::App& noun, Context& context, Verbs& verbs);  // verbs of instance
void AddImport(CLI::App& app, Context& context, Verbs& verbs);
void AddWhatif(CLI::App& app, Context& context, Verbs& verbs);
void AddExplain(CLI::App& app, Context& context, Verbs& verbs);  // explain, capacity

}  // namespace berth::cli
