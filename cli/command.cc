#include "cli/command.h"

#include <algorithm>

namespace berth::cli {

Result<Format> Context::ChooseFormat(const std::vector<Format>& allowed) const {
  if (output.empty()) return allowed.front();
  TRY_ASSIGN(Format format, ParseFormat(output));
  if (std::find(allowed.begin(), allowed.end(), format) != allowed.end()) return format;
  return InvalidArgument("this command has no output format \"" + output + "\"", kOutputField, "see --help");
}

const Run* Verbs::Parsed() const {
  for (const auto& [command, run] : verbs_) {
    if (command->parsed()) return &run;
  }
  return nullptr;
}

CLI::App* AddNoun(CLI::App& app, const std::string& name, const std::string& help) {
  CLI::App* noun = app.add_subcommand(name, help);
  noun->require_subcommand(1);
  return noun;
}

CLI::App* AddVerb(CLI::App& noun, const std::string& name, const std::string& help,
                  const std::string& example) {
  CLI::App* verb = noun.add_subcommand(name, help);
  verb->footer("Example:\n  " + example);
  return verb;
}

CLI::Validator Seconds(double least, double most) {
  auto check = [least, most](const std::string& text) -> std::string {
    double value = 0;
    // Written so that a NaN, which compares with nothing, is refused.
    if (CLI::detail::lexical_cast(text, value) && value >= least && value <= most) return {};
    return CLI::detail::to_string(text) + " is not a number from " + CLI::detail::to_string(least) + " to " +
           CLI::detail::to_string(most);
  };
  return CLI::Validator(check, "SECONDS");
}

void AddOutputOption(CLI::App& verb, Context& context, const std::string& formats) {
  verb.add_option("-o,--output", context.output, "Output: " + formats)->type_name("FORMAT");
}

}  // namespace berth::cli
