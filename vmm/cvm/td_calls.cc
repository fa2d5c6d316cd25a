#include "vmm/cvm/td_calls.h"

#include <pthread.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <utility>

#include "common/log.h"
#include "vmm/cvm/bytes.h"
#include "vmm/cvm/quote_client.h"
#include "vmm/kvm/confidential_abi.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kPage = 4096;

// At the start of the guest's buffer.
struct QuoteHeader {
  uint64_t version;
  uint64_t status;
  uint32_t in_size;
  uint32_t out_size;
};
static_assert(sizeof(QuoteHeader) == 24);
constexpr uint64_t kQuoteSuccess = 0;
constexpr uint64_t kQuoteInFlight = UINT64_MAX;
constexpr uint64_t kQuoteError = 0x8000000000000000;
constexpr uint64_t kQuoteUnavailable = 0x8000000000000001;

}  // namespace

TdCalls::TdCalls(const GuestMemory& memory, GuestPages& pages, std::optional<std::string> socket,
                 std::function<Status(const MsiMessage&)> interrupt)
    : memory_(memory), pages_(pages), socket_(std::move(socket)), interrupt_(std::move(interrupt)) {
  if (socket_) thread_ = std::thread([this] { Main(); });
}

TdCalls::~TdCalls() {
  if (!thread_.joinable()) return;
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
    changed_.notify_all();
  }
  thread_.join();
}

void TdCalls::Serve(uint32_t apic_id, const TdxExit& call) {
  uint64_t status = abi::kTdVmCallUnsupported;
  if (call.number == abi::kTdVmCallGetInfo && call.data.size() >= 5) {
    // Leaf 1: which optional calls there are; bits as of GHCI 1.5. KVM adds its own.
    const uint64_t leaf = call.data[0];
    constexpr uint64_t kGetQuote = 1, kSetupEventNotify = 1 << 1;
    call.data[1] = leaf == 1 ? kGetQuote | kSetupEventNotify : 0;
    call.data[2] = call.data[3] = call.data[4] = 0;
    status = leaf <= 1 ? abi::kTdVmCallSuccess : abi::kTdVmCallInvalidOperand;
  } else if (call.number == abi::kTdVmCallGetQuote && call.data.size() >= 2) {
    status = GetQuote(call.data[0], call.data[1]);
  } else if (call.number == abi::kTdVmCallSetupEventNotify && !call.data.empty()) {
    const uint64_t vector = call.data[0];
    if (vector < 32 || vector > 255) {
      status = abi::kTdVmCallInvalidOperand;
    } else {
      std::lock_guard lock(mutex_);
      notify_ = MessageTo(apic_id, static_cast<uint32_t>(vector));
      status = abi::kTdVmCallSuccess;
    }
  }
  *call.result = status;
}

uint64_t TdCalls::GetQuote(uint64_t gpa, uint64_t size) {
  if (gpa % kPage != 0 || size % kPage != 0) return abi::kTdVmCallAlignError;
  if (size == 0 || size > kMaxBuffer) return abi::kTdVmCallInvalidOperand;
  Request request{gpa, size, {}};
  {
    const MemoryUse use(&pages_);
    if (pages_.Visible(gpa, size) != size) return abi::kTdVmCallInvalidOperand;
    auto header = memory_.ReadObject<QuoteHeader>(Gpa{gpa});
    if (!header.has_value() || header->version != 1 || header->in_size == 0 ||
        header->in_size > size - sizeof(QuoteHeader)) {
      return abi::kTdVmCallInvalidOperand;
    }
    request.report.resize(header->in_size);
    if (!memory_.Read(Gpa{gpa + sizeof(QuoteHeader)}, request.report).ok())
      return abi::kTdVmCallInvalidOperand;
  }
  uint64_t state = socket_ ? kQuoteInFlight : kQuoteUnavailable;
  {
    std::lock_guard lock(mutex_);
    if (socket_ && waiting_.size() >= kMaxWaiting) return abi::kTdVmCallRetry;
    // The state is written before anybody can answer.
    if (!Write(gpa + offsetof(QuoteHeader, status), BytesOf(state))) return abi::kTdVmCallInvalidOperand;
    if (!socket_) return abi::kTdVmCallSuccess;
    waiting_.push_back(std::move(request));
    changed_.notify_all();
  }
  return abi::kTdVmCallSuccess;
}

bool TdCalls::Write(uint64_t gpa, std::span<const uint8_t> bytes) {
  const MemoryUse use(&pages_);
  if (pages_.Visible(gpa, bytes.size()) != bytes.size()) return false;
  return memory_.Write(Gpa{gpa}, bytes).ok();
}

void TdCalls::Main() {
  ::pthread_setname_np(::pthread_self(), "quotes");
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stop_ || !waiting_.empty(); });
    if (stop_) return;
    Request request = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    Answer(request);
    lock.lock();
    const std::optional<MsiMessage> notify = notify_;
    if (!notify) continue;
    lock.unlock();
    static_cast<void>(interrupt_(*notify));
    lock.lock();
  }
}

void TdCalls::Answer(const Request& request) {
  Result<std::vector<uint8_t>> quote = RequestQuote(*socket_, request.report);
  uint64_t status = kQuoteSuccess;
  uint32_t size = 0;
  if (!quote.has_value()) {
    LOG(kWarning, "quote_failed", {{"error", quote.error()}});
    status = quote.error().code() == StatusCode::kUnavailable ? kQuoteUnavailable : kQuoteError;
  } else if (quote->size() > request.size - sizeof(QuoteHeader)) {
    LOG(kWarning, "quote_too_large", {{"bytes", quote->size()}});
    status = kQuoteError;
  } else {
    size = static_cast<uint32_t>(quote->size());
    if (!Write(request.gpa + sizeof(QuoteHeader), *quote)) return;
  }
  if (!Write(request.gpa + offsetof(QuoteHeader, out_size), BytesOf(size))) return;
  static_cast<void>(Write(request.gpa + offsetof(QuoteHeader, status), BytesOf(status)));  // last
}

}  // namespace berth::vmm
