#pragma once

#include <sys/uio.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/status.h"
#include "common/unique_fd.h"
#include "vmm/bus/event_loop.h"
#include "vmm/bus/unix_listener.h"
#include "vmm/virtio/device.h"

namespace berth::vmm {

// struct virtio_vsock_hdr (virtio 1.2, 5.10.6).
struct __attribute__((packed)) VsockHeader {
  uint64_t source_cid = 0;
  uint64_t destination_cid = 0;
  uint32_t source_port = 0;
  uint32_t destination_port = 0;
  uint32_t length = 0;
  uint16_t type = 0;
  uint16_t operation = 0;
  uint32_t flags = 0;
  uint32_t buffer_size = 0;
  uint32_t forwarded = 0;
};
static_assert(sizeof(VsockHeader) == 44);

// Socket device (virtio 1.2, 5.10) whose host side are UNIX sockets, as Cloud Hypervisor and Firecracker have
// it: a connection of the guest to port N of the host goes to the listening socket "PATH_N"; who connects to
// "PATH" and sends "CONNECT N\n" is connected to port N of the guest and first reads "OK PORT\n". Streams
// only. Each side may end its half and read on (5.10.6.6: the two flags of a shutdown). Served on the event
// loop.
class VirtioVsock : public VirtioDevice {
 public:
  static constexpr uint16_t kReceiveQueue = 0;
  static constexpr uint16_t kTransmitQueue = 1;
  static constexpr uint16_t kEventQueue = 2;
  static constexpr uint64_t kHostCid = 2;
  static constexpr size_t kConnectionsMax = 1024;
  static constexpr uint32_t kBufferBytes = 256 << 10;  // of data from the guest that waits for its reader

  // Listens at `path`. Errors as UnixListener::Open. `loop` outlives the device.
  static Result<std::shared_ptr<VirtioVsock>> Create(uint32_t cid, const std::string& path, EventLoop& loop);
  ~VirtioVsock() override { Reset(); }

  uint16_t type() const override { return kVirtioVsock; }
  uint64_t features() const override { return 0; }
  std::span<const uint16_t> queue_sizes() const override;
  void ReadConfig(uint64_t offset, std::span<uint8_t> data) override;
  void WriteConfig(uint64_t, std::span<const uint8_t>) override {}
  Status Activate(VirtioActivation activation) override;
  void Reset() override;
  // Connections stay with this device; another one that is loaded tells the guest that all of its are gone.
  Result<VirtioActivation> Suspend() override;
  void Save(StateWriter& out) override { out.Put(cid_); }
  void Load(StateReader& in) override;

 private:
  using Ports = std::pair<uint32_t, uint32_t>;  // the host's, the guest's

  enum class State {
    kGreeting,   // a client of ours that has not said CONNECT yet
    kRequested,  // the guest was asked
    kConnected,
  };
  struct Connection {
    UniqueFd fd;
    State state = State::kConnected;
    Ports ports;
    std::string greeting;          // read so far
    std::vector<uint8_t> to_host;  // from the guest, waits for the socket
    size_t ours = 0;               // bytes at its start that are our greeting
    uint32_t forwarded = 0;        // bytes of the guest that were given to the socket, modulo 2^32
    uint32_t told_forwarded = 0;   // as the guest knows
    uint32_t sent = 0;             // bytes to the guest
    uint32_t peer_buffer = 0;      // its room
    uint32_t peer_forwarded = 0;
    uint32_t control = 0;      // operations to be sent, a bit each
    bool readable = false;     // the socket may have data
    bool host_ended = false;   // its program sends no more; it may still read
    bool host_gone = false;    // nor does it read
    bool guest_ended = false;  // the guest sends no more; it may still read
    bool guest_gone = false;   // nor does it read
    uint32_t watched = 0;      // epoll events
    uint32_t Credit() const { return peer_buffer - (sent - peer_forwarded); }
    // The guest has closed, and the host has all that it sent.
    bool Over() const { return guest_ended && guest_gone && to_host.empty(); }
  };

  VirtioVsock(uint32_t cid, std::string path, UnixListener listener, EventLoop& loop)
      : cid_(cid), path_(std::move(path)), listener_(std::move(listener)), loop_(loop) {}
  void Accept();
  void Greet(int fd);
  void OnSocket(Ports ports, uint32_t events);
  void Transmit();
  Result<uint32_t> Handle(const DescriptorChain& chain);
  void Serve(const VsockHeader& header, const DescriptorChain& chain);
  void Connect(const VsockHeader& header);
  void TakeData(Connection& connection, const VsockHeader& header, const DescriptorChain& chain);
  void FlushToHost(Connection& connection);
  // Fills receive buffers with what there is to send, as far as both last.
  void Pump();
  // Puts one packet into the chain; false when there is nothing to send.
  bool Next(const DescriptorChain& chain, uint32_t& written);
  bool SendControl(Connection& connection, const DescriptorChain& chain, uint32_t& written);
  bool SendData(Connection& connection, const DescriptorChain& chain, uint32_t& written);
  void Put(const DescriptorChain& chain, const VsockHeader& header, uint32_t& written);
  VsockHeader HeaderOf(const Connection& connection, uint16_t operation) const;
  void RefuseLater(const VsockHeader& header);
  void Watch(Connection& connection);
  void Drop(Ports ports);
  // The guest has reset it: what it has sent before still goes to the host.
  void Leave(Ports ports);
  void Drain(int fd);
  size_t Count() const { return connections_.size() + greeting_.size() + draining_.size(); }
  void Fail(const Status& reason);
  // When it returns no callback runs, and none will.
  void Unwatch();
  void CloseAll();
  // Puts the event that all connections have ended into a buffer, once there is one.
  Status TellTransportReset();

  const uint32_t cid_;
  const std::string path_;
  UnixListener listener_;
  EventLoop& loop_;
  std::optional<VirtioActivation> active_;
  // Set before the watches go: a callback of a socket that was due then changes nothing any more.
  std::atomic<bool> stopping_{false};
  bool failed_ = false;
  bool transport_reset_ = false;  // the guest has yet to be told
  std::map<Ports, Connection> connections_;
  std::map<int, Connection> greeting_;  // by descriptor
  std::map<int, Connection> draining_;  // by descriptor; of no ports any more
  std::deque<VsockHeader> refusals_;
  Ports last_served_{};
  uint32_t next_port_ = 1u << 30;
  DescriptorChain receive_chain_, transmit_chain_;
  std::vector<iovec> buffers_;
};

}  // namespace berth::vmm
