#include "placement/rest/consumer_body.h"

#include <gtest/gtest.h>

#include "placement/rest/json_value.h"

// Bodies as large as the listener lets them be: what takes each with each would not come to an end.
namespace berth::placement::rest {
namespace {

constexpr int kMany = 150'000;

Uuid Numbered(int number) {
  Uuid uuid;
  uuid.bytes[0] = 0xBE;
  for (size_t i = 0; i < 4; ++i) uuid.bytes[15 - i] = static_cast<uint8_t>(number >> (8 * i));
  return uuid;
}

TEST(ConsumerBody, ReadsAListOfManyProvidersAndKeepsTheLastOfEach) {
  std::string text = R"({"allocations": [)";
  for (int i = 0; i < kMany; ++i) {
    text += R"({"resource_provider": {"uuid": ")" + Numbered(i % (kMany - 1)).ToString() +
            R"("}, "resources": {"VCPU": )" + std::to_string(i + 1) + "}},";
  }
  text.back() = ']';
  auto body = ParseJson(text + "}");
  ASSERT_TRUE(body) << body.error();

  auto consumer = ReadConsumer(Numbered(1), *body, {1, 8});

  ASSERT_TRUE(consumer.has_value());
  ASSERT_EQ(consumer->allocations.size(), size_t{kMany - 1});
  EXPECT_EQ(consumer->allocations.front().provider, Numbered(1));
  EXPECT_EQ(consumer->allocations.back().provider, Numbered(0));  // where it came last
  EXPECT_EQ(consumer->allocations.back().amount, kMany);
}

TEST(ConsumerBody, ReadsManyConsumersAndRefusesOneThatComesTwice) {
  std::string text = "{";
  for (int i = 0; i < kMany; ++i) text += "\"" + Numbered(i).ToString() + R"(": {"allocations": {}},)";
  std::string twice = Numbered(7).ToString();
  twice.erase(8, 1);  // another spelling of the same UUID
  auto body = ParseJson(text.substr(0, text.size() - 1) + "}");
  auto again = ParseJson(text + "\"" + twice + R"(": {"allocations": {}}})");
  ASSERT_TRUE(body && again);

  auto consumers = ReadConsumers(*body, {1, 13});
  auto refused = ReadConsumers(*again, {1, 13});

  ASSERT_TRUE(consumers.has_value());
  EXPECT_EQ(consumers->size(), size_t{kMany});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().status, 400);
}

}  // namespace
}  // namespace berth::placement::rest
