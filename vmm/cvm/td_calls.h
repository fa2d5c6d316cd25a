#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "common/status.h"
#include "vmm/bus/interrupts.h"
#include "vmm/convert/guest_pages.h"
#include "vmm/kvm/exits.h"
#include "vmm/memory/guest_memory.h"

namespace berth::vmm {

// Calls of a TDX guest that KVM leaves to its VMM (Guest-Host Communication Interface): which calls there
// are, quotes, and the interrupt that tells of a finished quote. A quote is made by a service on a UNIX
// socket, by a thread of this object, while the guest runs on. Thread-safe; calls come from vCPUs' threads.
class TdCalls {
 public:
  static constexpr size_t kMaxWaiting = 16;          // quotes
  static constexpr uint64_t kMaxBuffer = 128 << 10;  // bytes that the guest gives for one

  // All outlive it. Without `socket` the guest learns that there are no quotes.
  TdCalls(const GuestMemory& memory, GuestPages& pages, std::optional<std::string> socket,
          std::function<Status(const MsiMessage&)> interrupt);
  ~TdCalls();
  TdCalls(const TdCalls&) = delete;
  TdCalls& operator=(const TdCalls&) = delete;

  // Leaves the status in the exit. `apic_id`: of the vCPU that calls; the interrupt of finished quotes goes
  // to the one that asked for it (GHCI, TDG.VP.VMCALL<SetupEventNotifyInterrupt>).
  void Serve(uint32_t apic_id, const TdxExit& call);

 private:
  struct Request {
    uint64_t gpa = 0;
    uint64_t size = 0;
    std::vector<uint8_t> report;
  };

  uint64_t GetQuote(uint64_t gpa, uint64_t size);
  void Main();
  void Answer(const Request& request);
  // Writes to the guest, as long as the buffer is shared.
  bool Write(uint64_t gpa, std::span<const uint8_t> bytes);

  const GuestMemory& memory_;
  GuestPages& pages_;
  const std::optional<std::string> socket_;
  const std::function<Status(const MsiMessage&)> interrupt_;

  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::deque<Request> waiting_;
  std::optional<MsiMessage> notify_;  // the interrupt that the guest wants
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace berth::vmm
