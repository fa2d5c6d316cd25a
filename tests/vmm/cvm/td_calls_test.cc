// Calls of a TDX guest: what there is, quotes by a service on a socket, and what is refused.
#include "vmm/cvm/td_calls.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstring>

#include "common/unique_fd.h"
#include "tests/fakes/guest_ram.h"
#include "vmm/cvm/quote_client.h"
#include "vmm/kvm/confidential_abi.h"

namespace berth::vmm {
namespace {

constexpr uint64_t kBuffer = 0x10000;

// A quote generation service that answers one request after the other with `answer`.
class QuoteService {
 public:
  explicit QuoteService(std::vector<uint8_t> answer) : answer_(std::move(answer)) {
    path_ = testing::TempDir() + "qgs-" + std::to_string(::getpid());
    ::unlink(path_.c_str());
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path_.data(), path_.size());
    listener_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(listener_.get(), 4), 0);
    thread_ = std::thread([this] { Serve(); });
  }
  ~QuoteService() {
    ::shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
    ::unlink(path_.c_str());
  }
  const std::string& path() const { return path_; }
  std::vector<uint8_t> request;

 private:
  void Serve() {
    while (true) {
      UniqueFd fd(::accept(listener_.get(), nullptr, nullptr));
      if (!fd.valid()) return;
      uint8_t prefix[4];
      if (::recv(fd.get(), prefix, 4, MSG_WAITALL) != 4) continue;
      request.resize(static_cast<size_t>(prefix[2]) << 8 | prefix[3]);
      if (::recv(fd.get(), request.data(), request.size(), MSG_WAITALL) < 0) continue;
      const uint8_t length[4] = {0, 0, static_cast<uint8_t>(answer_.size() >> 8),
                                 static_cast<uint8_t>(answer_.size())};
      EXPECT_EQ(::send(fd.get(), length, 4, MSG_NOSIGNAL), 4);
      EXPECT_EQ(::send(fd.get(), answer_.data(), answer_.size(), MSG_NOSIGNAL),
                static_cast<ssize_t>(answer_.size()));
    }
  }

  std::vector<uint8_t> answer_;
  std::string path_;
  UniqueFd listener_;
  std::thread thread_;
};

std::vector<uint8_t> QuoteAnswerOf(const std::string& quote, uint32_t error = 0) {
  std::vector<uint8_t> answer(24);
  const uint16_t version[2] = {1, 1};
  const uint32_t words[5] = {1, static_cast<uint32_t>(24 + quote.size()), error, 0,
                             static_cast<uint32_t>(quote.size())};
  std::memcpy(answer.data(), version, 4);
  std::memcpy(answer.data() + 4, words, 20);
  answer.insert(answer.end(), quote.begin(), quote.end());
  return answer;
}

class TdCallsTest : public testing::Test {
 protected:
  TdCallsTest()
      : ram_({{0, 1 << 20}}),
        pages_(*PageStateMap::Create({{0, 1 << 20, std::nullopt, PageState::kPrivate}})) {
    Share(kBuffer, 8192);
  }
  void Share(uint64_t gpa, uint64_t size) {
    pages_.Change([&](PageStateMap& map) { map.Set(gpa, size, PageState::kShared); });
  }
  void Make(std::optional<std::string> socket) {
    calls_ = std::make_unique<TdCalls>(ram_.memory(), pages_, std::move(socket),
                                       [this](const MsiMessage& message) {
                                         destination_ = message.address;
                                         interrupt_.store(message.data);
                                         return OkStatus();
                                       });
  }
  uint64_t Call(uint64_t number, std::vector<uint64_t> data, uint32_t apic_id = 0) {
    data.resize(5);
    uint64_t result = 0;
    calls_->Serve(apic_id, {number, data, &result});
    last_ = data;
    return result;
  }
  void PutReport(uint32_t size, uint64_t version = 1) {
    ASSERT_TRUE(ram_.memory().WriteObject(Gpa{kBuffer}, version).ok());
    ASSERT_TRUE(ram_.memory().WriteObject(Gpa{kBuffer + 16}, size).ok());
    ASSERT_TRUE(ram_.memory()
                    .Write(Gpa{kBuffer + 24}, std::vector<uint8_t>(std::min<size_t>(size, 4096), 0x5a))
                    .ok());
  }
  uint64_t Status() { return *ram_.memory().ReadObject<uint64_t>(Gpa{kBuffer + 8}); }
  void AwaitAnswer() {
    for (int i = 0; i < 2000 && Status() == UINT64_MAX; ++i) ::usleep(5000);
  }

  GuestRam ram_;
  GuestPages pages_;
  std::atomic<uint32_t> interrupt_{0};
  uint64_t destination_ = 0;  // written before interrupt_
  std::vector<uint64_t> last_;
  std::unique_ptr<TdCalls> calls_;
};

TEST_F(TdCallsTest, HaveAQuoteSignedByTheService) {
  QuoteService service(QuoteAnswerOf("signed quote"));
  Make(service.path());
  EXPECT_EQ(Call(abi::kTdVmCallSetupEventNotify, {0x40}, 0x103), abi::kTdVmCallSuccess);
  PutReport(1024);

  EXPECT_EQ(Call(abi::kTdVmCallGetQuote, {kBuffer, 8192}), abi::kTdVmCallSuccess);
  AwaitAnswer();

  EXPECT_EQ(Status(), 0u);
  EXPECT_EQ(*ram_.memory().ReadObject<uint32_t>(Gpa{kBuffer + 20}), 12u);
  std::vector<uint8_t> quote(12);
  ASSERT_TRUE(ram_.memory().Read(Gpa{kBuffer + 24}, quote).ok());
  EXPECT_EQ(std::string(quote.begin(), quote.end()), "signed quote");
  ASSERT_EQ(service.request.size(), 24u + 1024u);
  EXPECT_EQ(service.request[24], 0x5a);
  for (int i = 0; i < 2000 && interrupt_.load() == 0; ++i) ::usleep(5000);
  EXPECT_EQ(interrupt_.load(), 0x40u);
  EXPECT_EQ(destination_, 0xfee03000u | uint64_t{1} << 40) << "the vCPU that has asked for it";
}

TEST_F(TdCallsTest, SayWhenTheServiceFails) {
  QuoteService service(QuoteAnswerOf("", 7));
  Make(service.path());
  PutReport(1024);
  EXPECT_EQ(Call(abi::kTdVmCallGetQuote, {kBuffer, 8192}), abi::kTdVmCallSuccess);
  AwaitAnswer();
  EXPECT_EQ(Status(), 0x8000000000000000u);
}

TEST_F(TdCallsTest, SayWhenThereIsNoService) {
  Make(std::nullopt);
  PutReport(1024);
  EXPECT_EQ(Call(abi::kTdVmCallGetQuote, {kBuffer, 8192}), abi::kTdVmCallSuccess);
  EXPECT_EQ(Status(), 0x8000000000000001u);

  Make(testing::TempDir() + "nobody-listens-here");
  EXPECT_EQ(Call(abi::kTdVmCallGetQuote, {kBuffer, 8192}), abi::kTdVmCallSuccess);
  AwaitAnswer();
  EXPECT_EQ(Status(), 0x8000000000000001u);
}

TEST_F(TdCallsTest, RefuseBuffersThatAreNotSharedPages) {
  Make(std::nullopt);
  PutReport(1024);
  EXPECT_EQ(Call(abi::kTdVmCallGetQuote, {kBuffer + 1, 8192}), abi::kTdVmCallAlignError);
  EXPECT_EQ(Call(abi::kTdVmCallGetQuote, {kBuffer, 100}), abi::kTdVmCallAlignError);
  EXPECT_EQ(Call(abi::kTdVmCallGetQuote, {kBuffer, 0}), abi::kTdVmCallInvalidOperand);
  EXPECT_EQ(Call(abi::kTdVmCallGetQuote, {kBuffer, 12288}), abi::kTdVmCallInvalidOperand)
      << "its end is private";
  EXPECT_EQ(Call(abi::kTdVmCallGetQuote, {0x20000, 4096}), abi::kTdVmCallInvalidOperand) << "private";
  EXPECT_EQ(Call(abi::kTdVmCallGetQuote, {uint64_t{1} << 40, 4096}), abi::kTdVmCallInvalidOperand)
      << "no memory";
  PutReport(8192);
  EXPECT_EQ(Call(abi::kTdVmCallGetQuote, {kBuffer, 8192}), abi::kTdVmCallInvalidOperand)
      << "larger than the buffer";
  PutReport(1024, 2);
  EXPECT_EQ(Call(abi::kTdVmCallGetQuote, {kBuffer, 8192}), abi::kTdVmCallInvalidOperand) << "another version";
}

TEST_F(TdCallsTest, TellWhichCallsThereAre) {
  Make(std::nullopt);
  EXPECT_EQ(Call(abi::kTdVmCallGetInfo, {1}), abi::kTdVmCallSuccess);
  EXPECT_EQ(last_[1], 3u);
  EXPECT_EQ(Call(abi::kTdVmCallGetInfo, {2}), abi::kTdVmCallInvalidOperand);
  EXPECT_EQ(Call(abi::kTdVmCallSetupEventNotify, {31}), abi::kTdVmCallInvalidOperand);
  EXPECT_EQ(Call(abi::kTdVmCallSetupEventNotify, {256}), abi::kTdVmCallInvalidOperand);
  EXPECT_EQ(Call(0x10099, {}), abi::kTdVmCallUnsupported);
}

TEST(QuoteClient, RefusesAnswersThatAreNone) {
  std::vector<uint8_t> good = QuoteAnswerOf("quote");
  EXPECT_TRUE(ParseQuoteAnswer(good).has_value());
  for (size_t length = 0; length < good.size(); ++length) {
    EXPECT_FALSE(ParseQuoteAnswer(std::span(good).first(length)).has_value()) << length;
  }
  good[4] = 0;  // a request
  EXPECT_EQ(ParseQuoteAnswer(good).error().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace berth::vmm
