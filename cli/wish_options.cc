#include "cli/wish_options.h"

#include <string_view>
#include <utility>

namespace berth::cli {
namespace {

using Pair = std::pair<std::string_view, std::string_view>;

Result<Pair> SplitPair(std::string_view text, const char* field, const char* example) {
  size_t equals = text.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    return InvalidArgument("\"" + std::string(text) + "\" is not of the form KEY=VALUE", field, example);
  }
  return Pair(text.substr(0, equals), text.substr(equals + 1));
}

Status SetPortField(Pair pair, v1::Port& port) {
  auto [key, value] = pair;
  if (key == "id") {
    port.set_id(std::string(value));
  } else if (key == "type") {
    port.set_vnic_type(std::string(value));
  } else if (key == "network") {
    port.set_physical_network(std::string(value));
  } else if (key == "policy") {
    port.set_numa_policy(std::string(value));
  } else if (key == "trusted" && (value == "yes" || value == "no")) {
    port.set_trusted(value == "yes");
  } else if (key == "trusted") {
    return InvalidArgument("trusted is \"" + std::string(value) + "\", must be yes or no", "port");
  } else {
    return InvalidArgument("unknown key \"" + std::string(key) + "\"", "port",
                           "keys: id, type, network, policy, trusted");
  }
  return OkStatus();
}

Result<v1::Port> ParsePort(std::string_view text, size_t number) {
  constexpr const char* kExample = "for example type=direct,network=physnet0";
  v1::Port port;
  port.set_id("port" + std::to_string(number));
  port.set_vnic_type("direct");
  while (true) {
    size_t comma = text.find(',');
    TRY_ASSIGN(Pair pair, SplitPair(text.substr(0, comma), "port", kExample));
    TRY(SetPortField(pair, port));
    if (comma == std::string_view::npos) return port;
    text.remove_prefix(comma + 1);
  }
}

}  // namespace

void WishOptions::AddTo(CLI::App& verb) {
  verb.add_option("--image-property", properties, "Image property such as hw_numa_nodes=2; repeatable")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  verb.add_option("--port", ports,
                  "Port that needs a device: type=direct|macvtap|direct-physical|remote-managed|..., and if "
                  "wanted network=NAME, trusted=yes|no, policy=POLICY, id=ID; repeatable")
      ->type_name("KEY=VALUE,...")
      ->allow_extra_args(false);
}

Result<v1::Wish> WishOptions::Parse(const std::string& flavor) const {
  v1::Wish wish;
  wish.set_flavor(flavor);
  for (const std::string& property : properties) {
    TRY_ASSIGN(Pair pair, SplitPair(property, "image-property", "for example hw_numa_nodes=2"));
    (*wish.mutable_image_properties())[std::string(pair.first)] = std::string(pair.second);
  }
  for (const std::string& port : ports) {
    TRY_ASSIGN(*wish.add_ports(), ParsePort(port, static_cast<size_t>(wish.ports_size())));
  }
  return wish;
}

}  // namespace berth::cli
