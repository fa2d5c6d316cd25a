#include "cli/wish_options.h"

#include <string_view>
#include <utility>

#include "cli/port_option.h"

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

}  // namespace

void WishOptions::AddTo(CLI::App& verb) {
  verb.add_option("--image-property", properties, "Image property such as hw_numa_nodes=2; repeatable")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  verb.add_option(
          "--port", ports,
          "Network port that needs a device: vnic=direct|macvtap|direct-physical|remote-managed|..., and if "
          "wanted id, network, trusted, mac, vlan, spoof-check, numa-policy; repeatable")
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
    TRY_ASSIGN(*wish.add_ports(), ParsePort(port, "port" + std::to_string(wish.ports_size())));
  }
  return wish;
}

}  // namespace berth::cli
