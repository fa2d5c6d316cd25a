#include <gtest/gtest.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "common/unique_fd.h"
#include "compute-agent/networks/net_source.h"
#include "compute-agent/networks/tap_links.h"

namespace berth::agent {
namespace {

TEST(NetSource, BridgesAndTapsAreToldApart) {
  EXPECT_EQ(*ParseNetSource("bridge=br0,mac=52:54:00:00:00:01"), (NetSource{"br0", "mac=52:54:00:00:00:01"}));
  EXPECT_EQ(*ParseNetSource("tap=tap0"), (NetSource{"", "tap=tap0"}));
  for (const char* bad : {"bridge=", "bridge=a/b", "bridge=0123456789abcdef", "bridge=br0,tap=tap0"}) {
    ASSERT_FALSE(ParseNetSource(bad).has_value()) << bad;
    EXPECT_EQ(ParseNetSource(bad).error().field(), "nets");
  }
}

TEST(NetSource, TapNamesAreThoseOfInterfacesAndDifferByInstanceAndNumber) {
  Uuid one = *Uuid::Parse("22222222-2222-4222-8222-222222222222");
  EXPECT_EQ(TapName(one, 0), "bt2222222222n0");
  EXPECT_NE(TapName(one, 1), TapName(one, 0));
  EXPECT_LE(TapName(one, 99).size(), 15u);
}

// In a network namespace of its own, in a child: the test's own process stays where it is. Status 77: not
// permitted.
int MakeAndRemove() {
  if (::unshare(CLONE_NEWNET) != 0) return 77;
  UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  char bridge[] = "berthbr0";
  if (::ioctl(socket.get(), SIOCBRADDBR, bridge) != 0) return 77;
  KernelTapLinks links;
  if (links.Create("berthtap0", "nobridge").code() != StatusCode::kNotFound) return 1;
  Status made = links.Create("berthtap0", bridge);
  if (made.code() == StatusCode::kNotFound || made.code() == StatusCode::kPermissionDenied) return 77;
  if (!made.ok()) return 2;
  if (!links.Create("berthtap0", bridge).ok()) return 3;
  ifreq request{};
  std::strcpy(request.ifr_name, "berthtap0");
  if (::ioctl(socket.get(), SIOCGIFFLAGS, &request) != 0 || (request.ifr_flags & IFF_UP) == 0) return 4;
  if (!links.Remove("berthtap0").ok() || ::if_nametoindex("berthtap0") != 0) return 5;
  return links.Remove("berthtap0").ok() ? 0 : 6;
}

TEST(KernelTapLinks, ATapIsMadeOnItsBridgeOnceAndRemoved) {
  pid_t child = ::fork();
  if (child == 0) ::_exit(MakeAndRemove());
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "no network namespace, bridge or /dev/net/tun here";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace berth::agent
