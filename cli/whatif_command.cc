#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string>

#include "cli/command.h"
#include "common/unique_fd.h"
#include "scheduler/whatif/stream.h"

namespace berth::cli {
namespace {

struct WhatifOptions {
  std::string scenarios;
  unsigned threads = 0;
};

Status RunWhatif(Context& context, const WhatifOptions& options) {
  UniqueFd file;
  int descriptor = STDIN_FILENO;
  if (options.scenarios != "-") {
    file = UniqueFd(open(options.scenarios.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file.valid())
      return ErrnoStatus("can not open \"" + options.scenarios + "\"", errno).WithField("scenarios");
    descriptor = file.get();
  }
  auto read = [descriptor](char* buffer, size_t size) -> Result<size_t> {
    while (true) {
      ssize_t got = ::read(descriptor, buffer, size);
      if (got >= 0) return static_cast<size_t>(got);
      if (errno != EINTR) return ErrnoStatus("can not read the scenarios", errno).WithField("scenarios");
    }
  };
  auto write = [&context](std::string_view text) {
    context.terminal.out.write(text.data(), static_cast<std::streamsize>(text.size()));
    context.terminal.out.flush();
    return context.terminal.out.good() ? OkStatus() : DataLoss("can not write the answers");
  };
  scheduler::whatif::StreamOptions stream;
  stream.threads = options.threads;
  TRY_ASSIGN(auto totals, scheduler::whatif::AnswerStream(read, write, stream));
  if (totals.undecided > 0) {
    context.terminal.err << "berthctl: " << totals.undecided
                         << " hosts are undecided: the step budget ran out\n";
  }
  if (totals.bad_lines == 0) return OkStatus();
  return InvalidArgument(
      std::to_string(totals.bad_lines) + " of " + std::to_string(totals.lines) + " lines are no scenarios",
      "scenarios", "see the answers with request_error and line");
}

}  // namespace

void AddWhatif(CLI::App& app, Context& context, Verbs& verbs) {
  (void)context;
  CLI::App* verb =
      AddVerb(app, "whatif", "Answer what-if scenarios: does a request fit on these hosts, and where",
              "berthctl whatif --scenarios scenarios.jsonl | jq -c '.hosts'");
  auto options = std::make_shared<WhatifOptions>();
  verb->add_option("--scenarios", options->scenarios,
                   "Scenarios of the form whatif/1, one per line; - for standard input")
      ->type_name("FILE")
      ->required();
  verb->add_option("--threads", options->threads, "Threads; 0: one for each core")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  verbs.Add(verb, [options](Context& c) { return RunWhatif(c, *options); });
}

}  // namespace berth::cli
