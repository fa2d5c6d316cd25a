#include "scheduler/whatif/stream.h"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "scheduler/whatif/answer.h"

namespace berth::scheduler::whatif {
namespace {

// Whole lines, and the number of the first.
struct Batch {
  std::string text;
  uint64_t first_line = 1;
  uint64_t turn = 0;
  bool too_long = false;  // a single line above the limit; its text is gone
};

uint64_t CountNewlines(std::string_view text) {
  uint64_t count = 0;
  for (size_t at = text.find('\n'); at != std::string_view::npos; at = text.find('\n', at + 1)) ++count;
  return count;
}

// Cuts the input into batches. Used under a lock by all threads.
class Cutter {
 public:
  Cutter(const ReadBytes& read, const StreamOptions& options) : read_(read), options_(options) {}

  // False at the end of the input.
  Result<bool> Next(Batch& out) {
    out = {};
    out.first_line = line_;
    out.turn = turn_;
    while (!ended_ || !rest_.empty()) {
      size_t end = rest_.rfind('\n');
      if (end == std::string::npos && ended_) end = rest_.size() - 1;  // a last line without newline
      if (end != std::string::npos) {
        out.text = rest_.substr(0, end + 1);
        rest_.erase(0, end + 1);
        break;
      }
      if (rest_.size() > options_.max_line) {
        TRY(SkipLine());
        out.too_long = true;
        break;
      }
      TRY(Fill());
    }
    if (out.text.empty() && !out.too_long) return false;
    uint64_t newlines = CountNewlines(out.text);
    line_ += out.too_long || out.text.back() != '\n' ? newlines + 1 : newlines;
    ++turn_;
    return true;
  }
  uint64_t lines() const { return line_ - 1; }

 private:
  Status Fill() {
    size_t had = rest_.size();
    rest_.resize(had + options_.batch);
    auto got = read_(rest_.data() + had, options_.batch);
    rest_.resize(had + (got.has_value() ? *got : 0));
    if (!got.has_value()) return std::move(got).error();
    if (*got == 0) ended_ = true;
    return OkStatus();
  }

  Status SkipLine() {
    while (!ended_) {
      size_t end = rest_.find('\n');
      if (end != std::string::npos) {
        rest_.erase(0, end + 1);
        return OkStatus();
      }
      rest_.clear();
      TRY(Fill());
    }
    rest_.clear();
    return OkStatus();
  }

  const ReadBytes& read_;
  const StreamOptions& options_;
  std::string rest_;
  uint64_t line_ = 1;
  uint64_t turn_ = 0;
  bool ended_ = false;
};

class Stream {
 public:
  Stream(const ReadBytes& read, const WriteBytes& write, const StreamOptions& options)
      : cutter_(read, options), write_(write), options_(options) {}

  Result<StreamTotals> Run() {
    unsigned count =
        options_.threads == 0 ? std::max(1u, std::thread::hardware_concurrency()) : options_.threads;
    std::vector<std::thread> threads;
    for (unsigned i = 1; i < count; ++i) threads.emplace_back([this] { Work(); });
    Work();
    for (std::thread& thread : threads) thread.join();
    if (!status_.ok()) return status_;
    totals_.lines = cutter_.lines();
    return totals_;
  }

 private:
  bool Take(Batch& batch) {
    std::lock_guard lock(input_);
    auto more = cutter_.Next(batch);
    if (more.has_value()) return *more;
    Fail(std::move(more).error());
    return false;
  }

  void Work() {
    Answerer answerer;
    Batch batch;
    std::string out;
    while (!Failed() && Take(batch)) {
      out.clear();
      uint64_t bad = AnswerBatch(batch, answerer, out);
      std::unique_lock lock(output_);
      my_turn_.wait(lock, [&] { return turn_ == batch.turn || !status_.ok(); });
      if (status_.ok()) status_ = write_(out);
      totals_.bad_lines += bad;
      ++turn_;
      my_turn_.notify_all();
    }
    std::lock_guard lock(output_);
    totals_.undecided += answerer.undecided();
  }

  // The number of bad lines.
  uint64_t AnswerBatch(const Batch& batch, Answerer& answerer, std::string& out) const {
    if (batch.too_long) {
      out = "{\"id\":null,\"line\":" + std::to_string(batch.first_line) +
            ",\"request_error\":\"not a scenario: the line is longer than " +
            std::to_string(options_.max_line) + " bytes\"}\n";
      return 1;
    }
    uint64_t bad = 0;
    uint64_t number = batch.first_line;
    std::string_view text = batch.text;
    while (!text.empty()) {
      size_t end = std::min(text.find('\n'), text.size());
      std::string_view line = text.substr(0, end);
      if (line.ends_with('\r')) line.remove_suffix(1);
      if (!answerer.Answer(line, number++, out)) ++bad;
      text.remove_prefix(std::min(text.size(), end + 1));
    }
    return bad;
  }

  bool Failed() {
    std::lock_guard lock(output_);
    return !status_.ok();
  }
  void Fail(Status status) {
    std::lock_guard lock(output_);
    if (status_.ok()) status_ = std::move(status);
    my_turn_.notify_all();
  }

  std::mutex input_;
  Cutter cutter_;  // guarded by input_
  const WriteBytes& write_;
  const StreamOptions& options_;
  std::mutex output_;  // guards all below, and write_
  std::condition_variable my_turn_;
  uint64_t turn_ = 0;
  Status status_;
  StreamTotals totals_;
};

}  // namespace

Result<StreamTotals> AnswerStream(const ReadBytes& read, const WriteBytes& write,
                                  const StreamOptions& options) {
  return Stream(read, write, options).Run();
}

}  // namespace berth::scheduler::whatif
