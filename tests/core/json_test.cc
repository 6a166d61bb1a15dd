// JSON from hostile files: what is refused, what Python's dialect adds, and that no number wraps
// into a field's range. Messages must name file and field, since users act on them.

#include "core/json.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "core/error.h"
#include "tests/load/checkpoint_builder.h"

namespace pith {
namespace {

using testing::ErrorOf;

constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

ErrorCode CodeOf(const std::string& text) {
  try {
    ParseJson(text, "f.json");
  } catch (const Error& error) {
    EXPECT_TRUE(std::string(error.what()).starts_with("f.json: ")) << error.what();
    return error.code();
  }
  ADD_FAILURE() << "accepted: " << text;
  return ErrorCode::kInternal;
}

std::string Nested(int levels, const std::string& inside) {
  return std::string(levels, '[') + inside + std::string(levels, ']');
}

TEST(Json, RefusesMalformedText) {
  for (const char* text : {"",
                           " ",
                           "{",
                           "[1,]",
                           "{\"a\":}",
                           "{\"a\" 1}",
                           "{a: 1}",
                           "nul",
                           "1 2",
                           "\"a",
                           "\"\\x\"",
                           "+1",
                           "01",
                           "1e999",
                           "-1e999",
                           "InfinityInfinity",
                           "-NaN",
                           "[Inf]",
                           "\"\xff\"",
                           "[1]]",
                           "// comment\n1",
                           "{\"a\": 1,}"}) {
    EXPECT_EQ(CodeOf(text), ErrorCode::kCorruptData) << text;
  }
}

TEST(Json, BoundsDepth) {
  EXPECT_NO_THROW(ParseJson(Nested(64, "1"), "f.json"));
  EXPECT_EQ(CodeOf(Nested(65, "1")), ErrorCode::kCorruptData);
  EXPECT_NO_THROW(ParseJson(Nested(3, "1"), "f.json", 3));
  EXPECT_THROW(ParseJson(Nested(4, "1"), "f.json", 3), Error);
  std::string objects = "1";
  for (int i = 0; i < 65; ++i) objects = "{\"k\":" + objects + "}";
  EXPECT_EQ(CodeOf(objects), ErrorCode::kCorruptData);
  // An error, not an exhausted stack, and without a closing bracket in sight.
  EXPECT_EQ(CodeOf(std::string(1 << 20, '[')), ErrorCode::kCorruptData);
}

TEST(Json, RefusesDuplicateKeysInOneObjectOnly) {
  EXPECT_EQ(CodeOf(R"({"a": 1, "a": 1})"), ErrorCode::kCorruptData);
  EXPECT_EQ(CodeOf(R"({"a": 1, "\u0061": 2})"), ErrorCode::kCorruptData);
  EXPECT_EQ(CodeOf(R"([{"b": {"x": 1, "y": {}, "x": 2}}])"), ErrorCode::kCorruptData);
  EXPECT_EQ(CodeOf(R"({"a": {"c": 1}, "b": 2, "a": 3})"), ErrorCode::kCorruptData);
  EXPECT_NO_THROW(ParseJson(R"({"a": {"a": 1, "b": {"a": 2}}, "b": [{"a": 1}, {"a": 2}]})", "f"));
  EXPECT_EQ(ErrorOf([] { ParseJson(R"({"key": 1, "key": 2})", "f.json"); }),
            "f.json: JSON key \"key\" stands twice in one object");
}

TEST(Json, ReadsPythonsNonFiniteNumbers) {
  const Json json = ParseJson("[Infinity, -Infinity, NaN, {\"a\":-Infinity}]", "f.json");
  EXPECT_EQ(json[0].get<double>(), std::numeric_limits<double>::infinity());
  EXPECT_EQ(json[1].get<double>(), -std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::isnan(json[2].get<double>()));
  EXPECT_EQ(json[3]["a"].get<double>(), -std::numeric_limits<double>::infinity());
}

TEST(Json, LeavesStringsAlone) {
  for (const std::string text :
       {R"(NaN)", R"(-Infinity, NaN)", R"(\" Infinity)", R"(\\)", R"(\\\" NaN)", R"(\u0001)",
        R"(\u0001Inf)", R"(\u0001 Infinity)"}) {
    const std::string quoted = "\"" + text + "\"";
    const Json json = ParseJson("{\"NaN\": " + quoted + ", \"b\": [" + quoted + ", 1]}", "f.json");
    const Json expected = Json::parse(quoted);
    EXPECT_EQ(json["NaN"], expected) << text;
    EXPECT_EQ(json["b"][0], expected) << text;
  }
}

TEST(JsonReader, IntegersKeepTheirRange) {
  const Json json = ParseJson(R"({"max": 9223372036854775807, "min": -9223372036854775808,
      "above": 9223372036854775808, "uint": 18446744073709551615, "far": 18446744073709551616,
      "float": 3.0, "exp": 3e0, "text": "3", "true": true, "null": null, "three": 3})",
                              "f.json");
  const JsonReader reader(json, "f.json", "cfg.");
  EXPECT_EQ(reader.Int("max", kMin, kMax), kMax);
  EXPECT_EQ(reader.Int("min", kMin, kMax), kMin);
  EXPECT_EQ(reader.Int("three", 3, 3), 3);
  EXPECT_EQ(reader.Int("null", 0, 9, 7), 7);
  EXPECT_EQ(reader.Int("absent", 0, 9, 8), 8);
  for (const char* field : {"above", "uint", "far", "float", "exp", "text", "true"}) {
    EXPECT_THROW(reader.Int(field, kMin, kMax), Error) << field;
    EXPECT_THROW(reader.Int(field, kMin, kMax, 1), Error) << field;
  }
  EXPECT_THROW(reader.Int("three", 4, 9), Error);
  EXPECT_THROW(reader.Int("three", -9, 2), Error);
  EXPECT_THROW(reader.Int("min", 0, kMax), Error);
  // As an int64 it would be −1 and inside.
  EXPECT_EQ(ErrorOf([&] { reader.Int("uint", -5, 100); }),
            "f.json: cfg.uint: got 18446744073709551615, expected an integer from -5 to 100");
}

TEST(JsonReader, ReadsFieldsOfTheirType) {
  const Json json = ParseJson(
      R"({"i": 2, "x": 0.5, "inf": Infinity, "nan": NaN, "s": "t", "b": true, "n": null})", "f");
  const JsonReader reader(json, "f");
  EXPECT_EQ(reader.Number("i", 0), 2);
  EXPECT_EQ(reader.Number("x", 0), 0.5);
  EXPECT_EQ(reader.Number("inf", 0), std::numeric_limits<double>::infinity());
  EXPECT_EQ(reader.Number("n", 4), 4);
  EXPECT_THROW(reader.Number("nan", 0), Error);
  EXPECT_THROW(reader.Number("s", 0), Error);
  EXPECT_TRUE(reader.Bool("b", false));
  EXPECT_TRUE(reader.Bool("absent", true));
  EXPECT_THROW(reader.Bool("i", false), Error);
  EXPECT_EQ(reader.String("s"), "t");
  EXPECT_EQ(reader.String("n", "u"), "u");
  EXPECT_THROW(reader.String("i"), Error);
  EXPECT_FALSE(reader.Has("n"));
  EXPECT_EQ(ErrorOf([&] { reader.Field("n"); }), "f: n: missing");
  EXPECT_EQ(ErrorOf([&] { reader.Fail("s", "a number"); }), "f: s: got \"t\", expected a number");
  EXPECT_THROW(JsonReader(json["s"], "f"), Error);
}

}  // namespace
}  // namespace pith
