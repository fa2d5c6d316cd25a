#include <gtest/gtest.h>

#include "vmm/state/state_reader.h"
#include "vmm/state/state_writer.h"

namespace berth::vmm {
namespace {

struct Registers {
  uint64_t rip = 0;
  uint32_t flags = 0;
  uint32_t padding = 0;
};

std::vector<uint8_t> Written() {
  StateWriter out;
  out.Put(uint8_t{0x12});
  out.PutPart("timer", 3, [](StateWriter& part) {
    part.Put(uint32_t{0x01020304});
    part.Put(true);
    part.PutText("pit");
  });
  out.PutObject(Registers{0xffffffff81000000, 2, 0});
  out.Put(int16_t{-2});
  return std::move(out).Take();
}

// Everything that Written wrote; the status tells whether it was all there.
Status Read(std::span<const uint8_t> bytes, Registers& registers) {
  StateReader in(bytes);
  if (in.Get<uint8_t>() != 0x12) in.Fail(InvalidArgument("first byte"));
  StateReader part = in.GetPart("timer", 3);
  if (part.Get<uint32_t>() != 0x01020304) part.Fail(InvalidArgument("number"));
  if (!part.Get<bool>()) part.Fail(InvalidArgument("flag"));
  if (part.GetText(8) != "pit") part.Fail(InvalidArgument("text"));
  in.Leave(part);
  in.GetObject(registers);
  if (in.Get<int16_t>() != -2) in.Fail(InvalidArgument("last number"));
  return in.Finish();
}

TEST(State, ReadsWhatWasWritten) {
  Registers registers;
  EXPECT_EQ(Read(Written(), registers), OkStatus());
  EXPECT_EQ(registers.rip, 0xffffffff81000000);
  EXPECT_EQ(registers.flags, 2u);
}

TEST(State, FailsWhereverItIsCutOff) {
  const std::vector<uint8_t> bytes = Written();
  Registers registers;
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(Read(std::span(bytes).first(size), registers).ok()) << size;
  }
  std::vector<uint8_t> longer = bytes;
  longer.push_back(0);
  EXPECT_EQ(Read(longer, registers).message(), "1 bytes too many");
}

TEST(State, SaysWhichPartIsWrongAndWhy) {
  StateWriter out;
  out.PutPart("clock", 2, [](StateWriter& part) { part.Put(uint8_t{7}); });
  const std::vector<uint8_t> bytes = std::move(out).Take();
  {
    StateReader in(bytes);
    in.GetPart("clock", 1);
    EXPECT_EQ(in.status().message(), "state of clock has version 2, this program knows 1 to 1");
  }
  {
    StateReader in(bytes);
    in.GetPart("ioapic", 2);
    EXPECT_EQ(in.status().message(), "state of clock where that of ioapic belongs");
  }
  {
    StateReader in(bytes);
    StateReader part = in.GetPart("clock", 2);
    EXPECT_EQ(part.version(), 2);
    in.Leave(part);
    EXPECT_EQ(in.status().message(), "clock: 1 bytes too many");
  }
}

TEST(State, KeepsTheFirstErrorAndReadsZerosAfterIt) {
  StateWriter out;
  out.Put(uint8_t{2});
  out.Put(uint8_t{9});
  const std::vector<uint8_t> bytes = std::move(out).Take();
  StateReader in(bytes);
  EXPECT_FALSE(in.Get<bool>());
  EXPECT_EQ(in.Get<uint8_t>(), 0);
  in.Fail(Internal("a later one"));
  EXPECT_EQ(in.Finish().message(), "a truth value of 2");
}

// A number of elements that there cannot be must not lead to an allocation.
TEST(State, BoundsCountsByWhatIsLeft) {
  StateWriter out;
  out.Put(uint32_t{1000});
  for (int i = 0; i < 16; ++i) out.Put(uint8_t{0});
  const std::vector<uint8_t> bytes = std::move(out).Take();
  StateReader good(bytes), small(bytes), few(bytes);
  EXPECT_EQ(StateReader(bytes).GetCount(1000, 0), 1000u);
  EXPECT_EQ(small.GetCount(999, 0), 0u);
  EXPECT_EQ(few.GetCount(1000, 8), 0u);
  EXPECT_FALSE(few.ok());
}

}  // namespace
}  // namespace berth::vmm
