#include <memory>

#include "cli/command.h"
#include "cli/nova_conf.h"
#include "common/file.h"

namespace berth::cli {
namespace {

struct ImportOptions {
  std::string file;
  std::string part = "all";
};

Status ImportNovaConf(Context& context, const ImportOptions& options) {
  Result<std::string> text = ReadFile(options.file);
  if (!text.has_value()) return std::move(text).error().WithField("file");
  TRY_ASSIGN(NovaConf conf, ConvertNovaConf(*text, options.file));
  for (const std::string& note : conf.notes) context.terminal.err << "berthctl: " << note << "\n";
  if (conf.device_spec.empty() && conf.aliases.empty()) {
    return NotFound("no device_spec and no alias in " + options.file, "file");
  }
  std::ostream& out = context.terminal.out;
  if (options.part != "aliases") {
    if (options.part == "all") out << "# agent.yaml\n";
    out << ToYamlText({{"device_spec", conf.device_spec}});
  }
  if (options.part == "all") out << "---\n# aliases.yaml\n";
  if (options.part != "agent") out << ToYamlText({{"aliases", conf.aliases}});
  return OkStatus();
}

}  // namespace

void AddImport(CLI::App& app, Context& context, Verbs& verbs) {
  (void)context;
  CLI::App* noun = AddNoun(app, "import", "Take over the configuration of other programs");
  CLI::App* verb = AddVerb(*noun, "nova-conf", "Convert Nova's [pci] device_spec and alias options to YAML",
                           "berthctl import nova-conf --part aliases /etc/nova/nova.conf > aliases.yaml");
  auto options = std::make_shared<ImportOptions>();
  verb->add_option("file", options->file, "nova.conf")->required()->type_name("FILE");
  verb->add_option("--part", options->part, "What to print: agent (device_spec), aliases, or all")
      ->check(CLI::IsMember({"agent", "aliases", "all"}))
      ->capture_default_str();
  verbs.Add(verb, [options](Context& c) { return ImportNovaConf(c, *options); });
}

}  // namespace berth::cli
