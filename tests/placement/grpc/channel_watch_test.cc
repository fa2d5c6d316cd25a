#include "placement/client/channel_watch.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <vector>

#include "berth/v1/placement.grpc.pb.h"
#include "placement/client/channel.h"

namespace berth::placement {
namespace {

using namespace std::chrono_literals;

// What was told, in order.
class Told {
 public:
  void Add(bool reachable) {
    std::lock_guard lock(mutex_);
    told_.push_back(reachable);
    more_.notify_all();
  }
  std::vector<bool> Await(size_t count) {
    std::unique_lock lock(mutex_);
    more_.wait_for(lock, 20s, [&] { return told_.size() >= count; });
    return told_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable more_;
  std::vector<bool> told_;
};

// A server whose calls do not matter: what is watched is the connection.
std::unique_ptr<grpc::Server> Serve(const std::string& address, int* port) {
  static v1::Placement::Service none;
  grpc::ServerBuilder builder;
  builder.RegisterService(&none);
  builder.AddListeningPort(address, grpc::InsecureServerCredentials(), port);
  return builder.BuildAndStart();
}

TEST(ChannelWatch, TellsOnceThatItIsAwayAndOnceThatItIsThere) {
  int port = 0;
  auto server = Serve("127.0.0.1:0", &port);
  const std::string address = "127.0.0.1:" + std::to_string(port);
  server->Shutdown();
  server.reset();
  Told told;
  ChannelWatch watch(MakeChannel(address), 20ms, [&](bool reachable) { told.Add(reachable); });

  EXPECT_EQ(told.Await(1), std::vector<bool>{false});
  std::this_thread::sleep_for(200ms);  // as long as it is away, nothing more
  server = Serve(address, &port);
  ASSERT_NE(server, nullptr);
  EXPECT_EQ(told.Await(2), (std::vector<bool>{false, true}));

  server->Shutdown();
  server.reset();
  EXPECT_EQ(told.Await(3), (std::vector<bool>{false, true, false}));
}

}  // namespace
}  // namespace berth::placement
