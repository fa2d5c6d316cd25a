#include "vmm/virtio/vsock.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

#include "vmm/virtio/event_fd.h"
#include "vmm/virtio/serve_queue.h"

namespace berth::vmm {
namespace {

enum Operation : uint16_t {
  kRequest = 1,
  kResponse = 2,
  kReset = 3,
  kShutdown = 4,
  kData = 5,
  kCreditUpdate = 6,
  kCreditRequest = 7,
};
constexpr uint16_t kStream = 1;
constexpr uint32_t kShutdownReceive = 1 << 0;
constexpr uint32_t kShutdownSend = 1 << 1;
constexpr uint16_t kQueueSizes[] = {256, 256, 16};
constexpr uint32_t kBudget = 64;
constexpr size_t kGreetingMax = 32;   // "CONNECT 4294967295\n"
constexpr size_t kRefusalsMax = 256;  // a guest that sends without reading loses the rest
constexpr uint32_t kPacketMax = 64 << 10;

constexpr uint32_t Bit(uint16_t operation) {
  return 1u << operation;
}

}  // namespace

Result<std::shared_ptr<VirtioVsock>> VirtioVsock::Create(uint32_t cid, const std::string& path,
                                                         EventLoop& loop) {
  Result<UnixListener> listener = UnixListener::Open(path);
  if (!listener.has_value()) return std::move(listener).error().WithField("vsock.socket");
  return std::shared_ptr<VirtioVsock>(new VirtioVsock(cid, path, *std::move(listener), loop));
}

std::span<const uint16_t> VirtioVsock::queue_sizes() const {
  return kQueueSizes;
}

void VirtioVsock::ReadConfig(uint64_t offset, std::span<uint8_t> data) {
  const uint64_t cid = cid_;
  uint8_t bytes[sizeof cid];
  std::memcpy(bytes, &cid, sizeof cid);
  for (size_t i = 0; i < data.size(); ++i) data[i] = offset + i < sizeof bytes ? bytes[offset + i] : 0;
}

Status VirtioVsock::Activate(VirtioActivation activation) {
  for (uint16_t queue : {kReceiveQueue, kTransmitQueue}) {
    if (!activation.queues[queue].ring) return InvalidArgument("the driver has not enabled both data queues");
  }
  active_ = std::move(activation);
  failed_ = false;
  // No callback does anything before all are watched: the first clients would change greeting_ under this
  // loop.
  stopping_ = true;
  Status status =
      loop_.Add(active_->queues[kTransmitQueue].kick_fd, EPOLLIN, [this](uint32_t) { Transmit(); });
  if (status.ok()) {
    status = loop_.Add(active_->queues[kReceiveQueue].kick_fd, EPOLLIN, [this](uint32_t) {
      if (stopping_) return;
      DrainEvent(active_->queues[kReceiveQueue].kick_fd);
      Pump();
    });
  }
  if (status.ok()) status = loop_.Add(listener_.fd(), EPOLLIN, [this](uint32_t) { Accept(); });
  // Those of before a suspension; the others come with the first Pump.
  for (auto& [fd, connection] : greeting_) {
    if (status.ok()) status = loop_.Add(fd, EPOLLIN, [this, number = fd](uint32_t) { Greet(number); });
  }
  for (auto& [fd, connection] : draining_) {
    if (status.ok()) status = loop_.Add(fd, EPOLLOUT, [this, number = fd](uint32_t) { Drain(number); });
  }
  if (!status.ok()) {
    Reset();
    return status;
  }
  stopping_ = false;  // what came meanwhile is still there: the watches are level-triggered
  return OkStatus();
}

void VirtioVsock::Unwatch() {
  stopping_ = true;
  // Waits for the callback that runs; those that come after it return at once.
  loop_.Remove(listener_.fd());
  for (uint16_t queue : {kReceiveQueue, kTransmitQueue}) loop_.Remove(active_->queues[queue].kick_fd);
  for (auto& [fd, connection] : greeting_) loop_.Remove(fd);
  for (auto& [fd, connection] : draining_) loop_.Remove(fd);
  for (auto& [ports, connection] : connections_) {
    loop_.Remove(connection.fd.get());
    connection.watched = 0;
  }
}

void VirtioVsock::CloseAll() {
  Unwatch();
  greeting_.clear();
  draining_.clear();
  connections_.clear();
  refusals_.clear();
}

void VirtioVsock::Reset() {
  if (!active_) return;
  CloseAll();  // also after a failure: it waits for the callback that may still run
  active_.reset();
}

Result<VirtioActivation> VirtioVsock::Suspend() {
  Unwatch();
  return *std::exchange(active_, std::nullopt);
}

void VirtioVsock::Load(StateReader& in) {
  if (in.Get<uint32_t>() != cid_) in.Fail(InvalidArgument("the guest has another cid"));
  transport_reset_ = true;
}

void VirtioVsock::Fail(const Status& reason) {
  CloseAll();
  failed_ = true;
  active_->interrupt->Fail(reason);
}

// ---- From the host
// ------------------------------------------------------------------------------------------

void VirtioVsock::Accept() {
  if (stopping_) return;
  UniqueFd fd = listener_.Accept();
  if (!fd.valid() || Count() >= kConnectionsMax) return;
  const int number = fd.get();
  Connection connection;
  connection.fd = std::move(fd);
  connection.state = State::kGreeting;
  if (!loop_.Add(number, EPOLLIN, [this, number](uint32_t) { Greet(number); }).ok()) return;
  greeting_.emplace(number, std::move(connection));
}

// Reads "CONNECT PORT\n" and not a byte more.
void VirtioVsock::Greet(int fd) {
  if (stopping_) return;
  auto found = greeting_.find(fd);
  if (found == greeting_.end()) return;
  Connection& connection = found->second;
  char byte = 0;
  ssize_t count = 0;
  while ((count = ::read(fd, &byte, 1)) == 1 && byte != '\n' && connection.greeting.size() < kGreetingMax) {
    connection.greeting += byte;
  }
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  constexpr std::string_view kConnect = "CONNECT ";
  const std::string_view text = connection.greeting;
  uint32_t port = 0;
  bool good = count == 1 && byte == '\n' && text.starts_with(kConnect);
  if (good) {
    auto [end, error] = std::from_chars(text.data() + kConnect.size(), text.data() + text.size(), port);
    good = error == std::errc() && end == text.data() + text.size();
  }
  loop_.Remove(fd);
  Connection next = std::move(connection);
  greeting_.erase(found);
  if (!good) return;
  while (connections_.contains({next_port_, port})) ++next_port_;
  next.ports = {next_port_++, port};
  if (next_port_ == 0) next_port_ = 1u << 30;
  next.state = State::kRequested;
  next.control = Bit(kRequest);
  connections_.emplace(next.ports, std::move(next));
  Pump();
}

void VirtioVsock::OnSocket(Ports ports, uint32_t events) {
  if (stopping_) return;
  auto found = connections_.find(ports);
  if (found == connections_.end()) return;
  Connection& connection = found->second;
  if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) connection.readable = true;
  if (events & (EPOLLHUP | EPOLLERR) && !connection.host_gone) {
    connection.host_gone = true;
    connection.host_ended |= connection.guest_gone;                   // nobody reads what it may have left
    if (connection.host_ended) connection.control |= Bit(kShutdown);  // more than it has told already
  }
  // Who has hung up reads nothing, and need not be writable for us to learn it.
  if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) FlushToHost(connection);
  Pump();
}

// Asks for the events that would change something.
void VirtioVsock::Watch(Connection& connection) {
  uint32_t events = 0;
  const bool takes = !connection.host_ended && !connection.guest_gone;
  if (connection.state == State::kConnected && takes && !connection.readable) events |= EPOLLIN;
  // One who reads on may go.
  if (connection.state == State::kConnected && !takes && !connection.host_gone) events |= EPOLLHUP;
  if (!connection.to_host.empty()) events |= EPOLLOUT;
  if (events == connection.watched) return;
  // A hang-up is reported even without asking: what has nothing to wait for is not watched at all.
  const int fd = connection.fd.get();
  if (connection.watched == 0) {
    if (!loop_.Add(fd, events, [this, ports = connection.ports](uint32_t ready) { OnSocket(ports, ready); })
             .ok())
      return;
  } else if (events == 0) {
    loop_.Remove(fd);
  } else if (!loop_.Modify(fd, events).ok()) {
    return;
  }
  connection.watched = events;
}

void VirtioVsock::Leave(Ports ports) {
  auto found = connections_.find(ports);
  Connection connection = std::move(found->second);
  if (connection.watched != 0) loop_.Remove(connection.fd.get());
  connections_.erase(found);
  if (connection.to_host.empty() || connection.state != State::kConnected) return;
  const int fd = connection.fd.get();
  ::shutdown(fd, SHUT_RD);
  if (!loop_.Add(fd, EPOLLOUT, [this, fd](uint32_t) { Drain(fd); }).ok()) return;
  draining_.emplace(fd, std::move(connection));
}

void VirtioVsock::Drain(int fd) {
  if (stopping_) return;
  auto found = draining_.find(fd);
  if (found == draining_.end()) return;
  FlushToHost(found->second);
  if (!found->second.to_host.empty()) return;
  loop_.Remove(fd);
  draining_.erase(found);
}

void VirtioVsock::Drop(Ports ports) {
  auto found = connections_.find(ports);
  if (found == connections_.end()) return;
  if (found->second.watched != 0) loop_.Remove(found->second.fd.get());
  connections_.erase(found);
}

// ---- From the guest
// -----------------------------------------------------------------------------------------

void VirtioVsock::Transmit() {
  if (stopping_) return;
  auto& [ring, kick] = active_->queues[kTransmitQueue];
  DrainEvent(kick);
  auto more = ServeQueue(
      *ring, transmit_chain_, kBudget, [this](const DescriptorChain& chain) { return Handle(chain); },
      [this] { active_->interrupt->SignalQueue(kTransmitQueue); });
  if (!more) return Fail(more.error());
  if (*more) SignalEvent(kick);
  Pump();
}

Result<uint32_t> VirtioVsock::Handle(const DescriptorChain& chain) {
  VsockHeader header;
  if (chain.readable.CopyOut(0, {reinterpret_cast<uint8_t*>(&header), sizeof header}) != sizeof header) {
    return InvalidArgument("vsock packet without a whole header");
  }
  // The length that the header tells must be there.
  if (header.length > chain.readable.size() - sizeof header) {
    return InvalidArgument("vsock packet of " + std::to_string(header.length) + " bytes has " +
                           std::to_string(chain.readable.size() - sizeof header));
  }
  Serve(header, chain);
  return 0;
}

void VirtioVsock::Serve(const VsockHeader& header, const DescriptorChain& chain) {
  // What is not from this guest to the host, or no stream, cannot be answered to anyone else.
  if (header.destination_cid != kHostCid || header.source_cid != cid_) return;
  if (header.type != kStream) return RefuseLater(header);
  const Ports ports{header.destination_port, header.source_port};
  auto found = connections_.find(ports);
  if (header.operation == kRequest) {
    if (found != connections_.end()) {
      Drop(ports);
      return RefuseLater(header);
    }
    return Connect(header);
  }
  if (found == connections_.end()) {
    if (header.operation != kReset) RefuseLater(header);
    return;
  }
  Connection& connection = found->second;
  connection.peer_buffer = header.buffer_size;
  connection.peer_forwarded = header.forwarded;
  switch (header.operation) {
    case kResponse: {
      if (connection.state != State::kRequested) break;
      connection.state = State::kConnected;
      const std::string answer = "OK " + std::to_string(ports.first) + "\n";
      connection.to_host.assign(answer.begin(), answer.end());
      connection.ours = answer.size();
      FlushToHost(connection);
      break;
    }
    case kReset:
      return Leave(ports);
    case kShutdown:
      if (header.flags & kShutdownSend) connection.guest_ended = true;
      if (header.flags & kShutdownReceive) connection.guest_gone = true;
      if (connection.guest_gone) ::shutdown(connection.fd.get(), SHUT_RD);  // its writer gets EPIPE
      FlushToHost(connection);
      break;
    case kData:
      TakeData(connection, header, chain);
      break;
    case kCreditRequest:
      connection.control |= Bit(kCreditUpdate);
      break;
    default:
      break;  // a credit update, or nothing that is known
  }
}

void VirtioVsock::Connect(const VsockHeader& header) {
  if (Count() >= kConnectionsMax) return RefuseLater(header);
  Result<UniqueFd> fd = ConnectUnix(path_ + "_" + std::to_string(header.destination_port), /*now=*/true);
  if (!fd.has_value()) return RefuseLater(header);
  Connection connection;
  connection.fd = *std::move(fd);
  connection.ports = {header.destination_port, header.source_port};
  connection.peer_buffer = header.buffer_size;
  connection.peer_forwarded = header.forwarded;
  connection.control = Bit(kResponse);
  connections_.emplace(connection.ports, std::move(connection));
}

void VirtioVsock::TakeData(Connection& connection, const VsockHeader& header, const DescriptorChain& chain) {
  const bool room = header.length <= kBufferBytes - connection.to_host.size();
  if (connection.state != State::kConnected || connection.guest_ended || !room) {
    // Data before the connection, after its end, or beyond the credit.
    const Ports ports = connection.ports;
    RefuseLater(header);
    return Drop(ports);
  }
  const size_t before = connection.to_host.size();
  connection.to_host.resize(before + header.length);
  chain.readable.CopyOut(sizeof header, std::span(connection.to_host).subspan(before));
  FlushToHost(connection);
}

void VirtioVsock::FlushToHost(Connection& connection) {
  while (!connection.to_host.empty()) {
    const ssize_t count = ::send(connection.fd.get(), connection.to_host.data(), connection.to_host.size(),
                                 MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) break;
    if (count <= 0) {  // the host reads no more; what it has sent is still the guest's
      connection.to_host.clear();
      connection.ours = 0;
      connection.host_gone = connection.readable = true;
      connection.host_ended |= connection.guest_gone;
      connection.control |= Bit(kShutdown);
      break;
    }
    const size_t ours = std::min(connection.ours, static_cast<size_t>(count));
    connection.ours -= ours;
    connection.forwarded += static_cast<uint32_t>(static_cast<size_t>(count) - ours);
    connection.to_host.erase(connection.to_host.begin(), connection.to_host.begin() + count);
  }
  if (connection.forwarded - connection.told_forwarded >= kBufferBytes / 4)
    connection.control |= Bit(kCreditUpdate);
  if (connection.to_host.empty() && connection.guest_ended) ::shutdown(connection.fd.get(), SHUT_WR);
  if (connection.Over()) connection.control |= Bit(kReset);
}

void VirtioVsock::RefuseLater(const VsockHeader& header) {
  if (refusals_.size() >= kRefusalsMax) return;
  VsockHeader answer;
  answer.source_cid = header.destination_cid;
  answer.destination_cid = header.source_cid;
  answer.source_port = header.destination_port;
  answer.destination_port = header.source_port;
  answer.type = header.type;
  answer.operation = kReset;
  refusals_.push_back(answer);
}

// ---- To the guest
// -------------------------------------------------------------------------------------------

VsockHeader VirtioVsock::HeaderOf(const Connection& connection, uint16_t operation) const {
  VsockHeader header;
  header.source_cid = kHostCid;
  header.destination_cid = cid_;
  header.source_port = connection.ports.first;
  header.destination_port = connection.ports.second;
  header.type = kStream;
  header.operation = operation;
  header.buffer_size = kBufferBytes;
  header.forwarded = connection.forwarded;
  return header;
}

void VirtioVsock::Put(const DescriptorChain& chain, const VsockHeader& header, uint32_t& written) {
  chain.writable.CopyIn(0, {reinterpret_cast<const uint8_t*>(&header), sizeof header});
  written = sizeof header;
}

void VirtioVsock::Pump() {
  if (!active_ || failed_ || stopping_) return;
  if (transport_reset_) {
    if (Status told = TellTransportReset(); !told.ok()) return Fail(told);
  }
  SplitQueue& ring = *active_->queues[kReceiveQueue].ring;
  bool pushed = false;
  for (uint32_t i = 0; i < kBudget; ++i) {
    Result<bool> popped = ring.Pop(receive_chain_);
    if (!popped.has_value()) return Fail(popped.error());
    if (!*popped) {
      if (!ring.EnableNotifications()) break;
      continue;
    }
    if (receive_chain_.writable.size() < sizeof(VsockHeader)) {
      return Fail(InvalidArgument("vsock buffer that cannot hold a header"));
    }
    uint32_t written = 0;
    if (!Next(receive_chain_, written)) {
      ring.Unpop();
      break;
    }
    ring.Push(receive_chain_.head, written);
    pushed = true;
    // Others have their turn before the rest.
    if (i + 1 == kBudget) SignalEvent(active_->queues[kReceiveQueue].kick_fd);
  }
  if (pushed && ring.NeedsInterrupt()) active_->interrupt->SignalQueue(kReceiveQueue);
  for (auto& [ports, connection] : connections_) Watch(connection);
}

Status VirtioVsock::TellTransportReset() {
  constexpr uint32_t kTransportReset = 0;  // virtio 1.2, 5.10.6.7
  SplitQueue* ring = active_->queues[kEventQueue].ring.get();
  if (ring == nullptr) return OkStatus();
  TRY_ASSIGN(const bool popped, ring->Pop(receive_chain_));
  if (!popped) return OkStatus();
  const size_t written =
      receive_chain_.writable.CopyIn(0, {reinterpret_cast<const uint8_t*>(&kTransportReset), 4});
  ring->Push(receive_chain_.head, static_cast<uint32_t>(written));
  if (ring->NeedsInterrupt()) active_->interrupt->SignalQueue(kEventQueue);
  transport_reset_ = false;
  return OkStatus();
}

bool VirtioVsock::Next(const DescriptorChain& chain, uint32_t& written) {
  if (!refusals_.empty()) {
    Put(chain, refusals_.front(), written);
    refusals_.pop_front();
    return true;
  }
  // In turn, starting behind the one that was served last.
  for (size_t i = connections_.size(); i > 0; --i) {
    auto next = connections_.upper_bound(last_served_);
    if (next == connections_.end()) next = connections_.begin();
    last_served_ = next->first;
    Connection& connection = next->second;
    if (SendControl(connection, chain, written) || SendData(connection, chain, written)) return true;
  }
  return false;
}

bool VirtioVsock::SendControl(Connection& connection, const DescriptorChain& chain, uint32_t& written) {
  for (uint16_t operation : {kRequest, kResponse, kCreditUpdate}) {
    if (!(connection.control & Bit(operation)) || connection.control & Bit(kReset)) continue;
    connection.control &= ~Bit(operation);
    connection.told_forwarded = connection.forwarded;
    Put(chain, HeaderOf(connection, operation), written);
    return true;
  }
  if (connection.control & Bit(kReset)) {
    Put(chain, HeaderOf(connection, kReset), written);
    Drop(connection.ports);
    return true;
  }
  if (!(connection.control & Bit(kShutdown))) return false;
  connection.control &= ~Bit(kShutdown);
  VsockHeader header = HeaderOf(connection, kShutdown);
  if (connection.host_gone) header.flags |= kShutdownReceive;
  if (connection.host_ended) header.flags |= kShutdownSend;
  Put(chain, header, written);
  return true;
}

bool VirtioVsock::SendData(Connection& connection, const DescriptorChain& chain, uint32_t& written) {
  if (connection.state != State::kConnected || !connection.readable) return false;
  if (connection.host_ended || connection.guest_gone) return false;
  // A guest that gives away less room than it has said has a credit that wrapped: then it gets nothing.
  const uint32_t credit = connection.Credit();
  if (credit == 0 || credit > connection.peer_buffer) return false;
  const uint64_t room = std::min<uint64_t>({credit, kPacketMax, chain.writable.size() - sizeof(VsockHeader)});
  if (room == 0) return false;
  buffers_.clear();
  chain.writable.AppendIovecs(sizeof(VsockHeader), room, buffers_);
  constexpr size_t kVectorsMax = 1024;
  const ssize_t count =
      ::readv(connection.fd.get(), buffers_.data(), static_cast<int>(std::min(buffers_.size(), kVectorsMax)));
  if (count < 0) {
    connection.readable = errno == EINTR;
    if (errno != EAGAIN && errno != EINTR) connection.control |= Bit(kReset);
    return errno == EAGAIN || errno == EINTR ? false : SendControl(connection, chain, written);
  }
  if (count == 0) {
    connection.readable = false;
    connection.host_ended = true;
    connection.control |= Bit(kShutdown);
    return SendControl(connection, chain, written);
  }
  VsockHeader header = HeaderOf(connection, kData);
  header.length = static_cast<uint32_t>(count);
  connection.sent += header.length;
  connection.told_forwarded = connection.forwarded;
  Put(chain, header, written);
  written += header.length;
  return true;
}

}  // namespace berth::vmm
