#include "vmm/vhost_user/session.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <utility>

#include "common/log.h"
#include "vmm/virtio/event_fd.h"

namespace berth::vmm::vhost_user {
namespace {

constexpr uint64_t kUsedIndexAt = 2;  // in the used ring

// What the driver has to be told of at least, besides what it was offered.
constexpr uint64_t kNeeded = kVirtioVersion1;

std::string Text(uint64_t features) {
  char text[19];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(features));
  return text;
}

}  // namespace

Result<std::unique_ptr<Session>> Session::Open(const SessionSettings& settings) {
  std::unique_ptr<Session> self(new Session(settings));
  self->timer_.reset(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!self->timer_.valid()) return ErrnoStatus("timer of " + settings.id, errno);
  TRY_ASSIGN(self->worker_,
             WorkerLoop::Start(
                 {.name = "vhost-" + settings.id, .cpus = settings.cpus, .kind = ThreadKind::kDevices}));
  self->loop_ = &self->worker_->loop();
  TRY(self->loop().Add(self->timer_.get(), EPOLLIN, [raw = self.get()](uint32_t) { raw->OnTimer(); }));
  {
    std::lock_guard lock(self->mutex_);
    if (settings.guest) self->shown_.emplace(*settings.guest->memory);
    TRY(self->Connect());
    self->features_ = self->frontend_->features();
  }
  if (settings.guest) TRY(settings.guest->converter->AddListener(*self));
  return self;
}

Session::~Session() {
  if (settings_.guest) settings_.guest->converter->RemoveListener(*this);
  Stop();
  worker_.reset();
}

Status Session::Connect() {
  const uint64_t features = settings_.protocol_features | (shown_ ? kMemorySlots : 0);
  TRY_ASSIGN(Frontend frontend, Frontend::Connect(settings_.socket, features, settings_.patience));
  TRY(Check(frontend));
  if (settings_.mtu && frontend.has(kMtu)) TRY(frontend.SetMtu(*settings_.mtu));
  if (settings_.config_bytes > 0) {
    TRY_ASSIGN(config_, frontend.ReadConfig(settings_.config_bytes));
  }
  Channel requests;
  if (frontend.has(kBackendRequests) && frontend.has(kConfig)) {
    TRY_ASSIGN(requests, frontend.OpenRequests());
  }
  frontend_.emplace(std::move(frontend));
  requests_ = std::move(requests);
  if (shown_) {
    if (Status told = TellOfMemory(); !told.ok()) {
      frontend_.reset();
      requests_.Close();
      return told;
    }
  }
  Status watched = WatchBackend();
  if (!watched.ok()) Disconnect();
  return watched;
}

Status Session::Check(const Frontend& frontend) const {
  const auto lacks = [this](const std::string& what) {
    return FailedPrecondition("the vhost-user back end at " + settings_.socket + " " + what, "socket");
  };
  if ((frontend.features() & kNeeded) != kNeeded) return lacks("is older than virtio 1.0");
  if ((frontend.features() & features_) != features_) {
    return lacks("offers features " + Text(frontend.features()) + ", the guest was told of " +
                 Text(features_));
  }
  if (settings_.config_bytes > 0 && !frontend.has(kConfig)) {
    return lacks("does not tell of its configuration space (protocol feature CONFIG)");
  }
  if (shown_ && frontend.memory_slots() == 0) {
    return lacks(
        "cannot be told of memory piece by piece (protocol feature CONFIGURE_MEM_SLOTS), as a "
        "confidential guest shares it");
  }
  const uint32_t most = frontend.queues_max() * (settings_.counts_pairs ? 2u : 1u);
  if (most < settings_.queues) {
    return lacks("serves " + std::to_string(most) + " queues, num_queues asks for " +
                 std::to_string(settings_.queues));
  }
  return OkStatus();
}

Status Session::WatchBackend() {
  // Not for input: answers are read by whoever asked.
  TRY(loop().Add(frontend_->fd(), EPOLLRDHUP, [this](uint32_t) { OnGone(); }));
  if (!requests_.open()) return OkStatus();
  return loop().Add(requests_.fd(), EPOLLIN, [this](uint32_t) { OnRequest(); });
}

void Session::Disconnect() {
  // From the loop's own callbacks, or before there can be any: nobody waits for us here.
  if (requests_.open()) loop().Remove(requests_.fd());
  requests_.Close();
  if (frontend_) loop().Remove(frontend_->fd());
  frontend_.reset();
}

std::vector<uint8_t> Session::config() {
  std::lock_guard lock(mutex_);
  return config_;
}

Status Session::WriteConfig(uint64_t offset, std::span<const uint8_t> data) {
  std::lock_guard lock(mutex_);
  if (!frontend_) return Unavailable("the back end is not connected");
  if (offset > settings_.config_bytes || data.size() > settings_.config_bytes - offset) {
    return OutOfRange("behind the configuration space");
  }
  TRY(frontend_->WriteConfig(static_cast<uint32_t>(offset), data));
  TRY_ASSIGN(config_, frontend_->ReadConfig(settings_.config_bytes));
  return OkStatus();
}

Status Session::Start(const VirtioActivation& activation, uint16_t queues, uint16_t enabled) {
  CHECK(queues <= settings_.queues);
  std::lock_guard lock(mutex_);
  active_.emplace(Active());
  active_->activation = &activation;
  active_->rings.resize(queues);
  for (uint16_t i = 0; i < queues; ++i) {
    if (!activation.queues[i].ring) continue;
    Ring& ring = active_->rings[i];
    ring.queue = &activation.queues[i];
    ring.call.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    ring.error.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    ring.enabled = i < enabled;
    if (!ring.call.valid() || !ring.error.valid()) return ErrnoStatus("eventfd", errno);
    TRY(loop().Add(ring.call.get(), EPOLLIN, [this, i](uint32_t) { OnCall(i); }));
    TRY(loop().Add(ring.error.get(), EPOLLIN, [this, i](uint32_t) {
      DrainEvent(active_->rings[i].error.get());
      active_->activation->interrupt->Fail(
          Internal("the vhost-user back end has met an error in queue " + std::to_string(i)));
    }));
  }
  // Without a back end the requests wait for one.
  return frontend_ ? HandOver(false) : OkStatus();
}

Status Session::HandOver(bool resume) {
  const VirtioActivation& activation = *active_->activation;
  TRY(frontend_->SetFeatures(activation.features & frontend_->features()));
  if (frontend_->has(kInflight)) {
    if (!resume) {
      TRY_ASSIGN(active_->inflight, frontend_->MakeInflight(settings_.queues, settings_.queue_size));
    }
    if (active_->inflight) TRY(frontend_->SetInflight(*active_->inflight));
  }
  if (!shown_) TRY(frontend_->SetMemory(*activation.memory));
  const auto rings = static_cast<uint16_t>(active_->rings.size());
  for (uint16_t i = 0; i < rings; ++i) {
    const Ring& ring = active_->rings[i];
    if (ring.queue == nullptr) continue;
    uint16_t next = 0;
    if (resume) {
      const Gpa used = ring.queue->ring->config().device;
      TRY_ASSIGN(next, activation.memory->ReadObject<uint16_t>(used + kUsedIndexAt));
    }
    TRY(StartRing(i, next));
  }
  return EnableRings();
}

Status Session::StartRing(uint16_t index, uint16_t next) {
  const Ring& ring = active_->rings[index];
  Frontend::Ring start;
  start.config = ring.queue->ring->config();
  start.base = next;
  start.kick_fd = ring.queue->kick_fd;
  start.call_fd = ring.call.get();
  start.error_fd = ring.error.get();
  return frontend_->StartRing(*active_->activation->memory, index, start);
}

Status Session::EnableRings() {
  const auto rings = static_cast<uint16_t>(active_->rings.size());
  for (uint16_t i = 0; i < rings; ++i) {
    const Ring& ring = active_->rings[i];
    if (ring.queue == nullptr) continue;
    TRY(frontend_->EnableRing(i, ring.enabled));
    // What came while nobody listened.
    SignalEvent(ring.queue->kick_fd);
  }
  return OkStatus();
}

void Session::Enable(uint16_t queue, bool enabled) {
  std::lock_guard lock(mutex_);
  if (!active_ || queue >= active_->rings.size() || active_->rings[queue].queue == nullptr) return;
  if (std::exchange(active_->rings[queue].enabled, enabled) == enabled || !frontend_) return;
  if (Status told = frontend_->EnableRing(queue, enabled); !told.ok()) {
    LOG(kWarning, "vhost_user_queue_not_switched", {{"device", settings_.id}, {"reason", told}});
  }
}

void Session::Stop() {
  {
    std::lock_guard lock(mutex_);
    if (!active_) return;
    active_->stopping = true;
    for (uint16_t i = 0; frontend_ && i < active_->rings.size(); ++i) {
      if (active_->rings[i].queue == nullptr) continue;
      Result<uint16_t> stopped = frontend_->StopRing(i);
      if (stopped.has_value()) continue;
      LOG(kWarning, "vhost_user_queue_not_stopped", {{"device", settings_.id}, {"reason", stopped.error()}});
      break;  // the connection is of no use any more, which OnGone sees
    }
  }
  // Without the lock, because these wait for callbacks that take it.
  for (const Ring& ring : active_->rings) {
    if (ring.call.valid()) loop().Remove(ring.call.get());
    if (ring.error.valid()) loop().Remove(ring.error.get());
  }
  std::lock_guard lock(mutex_);
  active_.reset();
}

void Session::Fail(const Status& reason) {
  LOG(kError, "vhost_user_device_lost", {{"device", settings_.id}, {"reason", reason}});
  if (!active_ || active_->stopping || std::exchange(active_->failed, true)) return;
  active_->activation->interrupt->Fail(reason);
}

void Session::OnCall(size_t index) {
  DrainEvent(active_->rings[index].call.get());
  active_->activation->interrupt->SignalQueue(static_cast<uint16_t>(index));
}

void Session::OnGone() {
  std::lock_guard lock(mutex_);
  if (!frontend_) return;
  const bool tracked = settings_.in_order || frontend_->has(kInflight);
  Disconnect();
  LOG(kWarning, "vhost_user_back_end_gone", {{"device", settings_.id}, {"socket", settings_.socket}});
  if (active_ && !active_->stopping && !tracked) {
    Fail(Unavailable("the vhost-user back end has gone, and nobody knows which requests were under way"));
  }
  ArmTimer();
}

void Session::ArmTimer() {
  itimerspec spec{};
  const auto ms = settings_.retry.count();
  spec.it_value.tv_sec = ms / 1000;
  spec.it_value.tv_nsec = ms % 1000 * 1'000'000;
  timerfd_settime(timer_.get(), 0, &spec, nullptr);
}

void Session::OnTimer() {
  DrainEvent(timer_.get());
  std::function<void()> changed;
  {
    std::lock_guard lock(mutex_);
    if (frontend_) return;
    Status connected = Connect();
    if (connected.ok() && active_ && !active_->stopping && !active_->failed) connected = HandOver(true);
    if (!connected.ok()) {
      Disconnect();
      // One that is there and does not fit is told of; waiting for one goes on without a word.
      if (connected.code() == StatusCode::kFailedPrecondition) Fail(connected);
      return ArmTimer();
    }
    changed = config_changed_;
  }
  LOG(kInfo, "vhost_user_back_end_back", {{"device", settings_.id}});
  if (changed) changed();
}

void Session::OnRequest() {
  std::function<void()> changed;
  {
    std::lock_guard lock(mutex_);
    if (!requests_.open()) return;
    Result<Message> message = requests_.Receive();
    if (!message.has_value()) {
      loop().Remove(requests_.fd());
      requests_.Close();
      return;
    }
    const bool known = message->header.request == static_cast<uint32_t>(BackendRequest::kConfigChanged);
    if (message->header.flags & Header::kNeedReply) {
      const uint64_t result = known ? 0 : 1;
      static_cast<void>(requests_.Send(message->header.request, Header::kReply, BytesOf(result)).ok());
    }
    if (!known || !frontend_) return;
    Result<std::vector<uint8_t>> config = frontend_->ReadConfig(settings_.config_bytes);
    if (!config.has_value()) return;  // it is going away, which OnGone sees
    config_ = *std::move(config);
    changed = config_changed_;
  }
  if (changed) changed();
}

}  // namespace berth::vmm::vhost_user
