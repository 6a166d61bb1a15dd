// The grammar of reductions: what is accepted means what docs/reductions.md says, the canonical
// spelling parses to the same spec, and every refusal names the wrong part and what was expected.
#include "pith/reduction_spec.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <random>

#include "core/error.h"
#include "tests/reduce/test_site.h"

namespace pith {
namespace {

using test::MessageOf;

TEST(ReductionSpec, TakesTheGrammarApart) {
  EXPECT_EQ(ReductionSpec::Parse("none"), ReductionSpec());
  const ReductionSpec spec = ReductionSpec::Parse("prefix-thin@12.5%:sites=5+7-9,seed=3");
  EXPECT_EQ(spec.method, "prefix-thin");
  EXPECT_EQ(spec.reduction, 0.125);
  EXPECT_EQ(spec.params, (std::map<std::string, std::string>{{"sites", "5+7-9"}, {"seed", "3"}}));
  EXPECT_EQ(ReductionSpec::Parse("utrc@30").reduction, 0.3);
  EXPECT_EQ(ReductionSpec::Parse("utrc@30%").reduction, 0.3);
  EXPECT_EQ(ReductionSpec::Parse("utrc@0%").reduction, 0.0);
  EXPECT_EQ(ReductionSpec::Parse("utrc:horizon=1e-2").params.at("horizon"), "1e-2");
  EXPECT_EQ(ReductionSpec::Parse("utrc:from=a=b@c:d").params.at("from"), "a=b@c:d");
}

TEST(ReductionSpec, CanonicalSpellingSortsKeysAndShortensNumbers) {
  EXPECT_EQ(ReductionSpec::Parse("utrc@030.00:seed=1,keep=0.9").ToString(),
            "utrc@30%:keep=0.9,seed=1");
  EXPECT_EQ(ReductionSpec::Parse("utrc@29").ToString(), "utrc@29%");
  EXPECT_EQ(ReductionSpec::Parse("utrc@0.05").ToString(), "utrc@0.05%");
  EXPECT_EQ(ReductionSpec::Parse("utrc@0.00").ToString(), "utrc@0%");
  EXPECT_EQ(ReductionSpec::Parse("utrc@7%").ToString(), "utrc@7%");
  EXPECT_EQ(ReductionSpec::Parse("utrc@99.9%").ToString(), "utrc@99.9%");
  EXPECT_EQ(ReductionSpec::Parse("none").ToString(), "none");
}

TEST(ReductionSpec, CanonicalSpellingParsesToTheSameSpec) {
  std::mt19937_64 rng(1);
  for (int i = 0; i < 20000; ++i) {
    ReductionSpec spec;
    spec.method = "utrc";
    // Any double in [0, 1), from denormals to all 53 bits.
    spec.reduction = std::ldexp(static_cast<double>(rng() >> 11), -53 - static_cast<int>(i % 1000));
    if (i % 3 == 0) spec.params["seed"] = std::to_string(rng());
    EXPECT_EQ(ReductionSpec::Parse(spec.ToString()), spec) << spec.ToString();
  }
}

TEST(ReductionSpec, RefusalsNameThePartAndWhatWasExpected) {
  struct Case {
    const char* text;
    const char* part;
    const char* expected;
  };
  const Case cases[] = {
      {"", "method", "METHOD"},
      {"Utrc@30%", "'Utrc'", "METHOD"},
      {"@30%", "'@30%'", "command line only"},
      {"@/etc/passwd", "'@/etc/passwd'", "command line only"},
      {" utrc", "' utrc'", "METHOD"},
      {"utrc@", "wanted reduction", "percentage"},
      {"utrc@%", "wanted reduction", "percentage"},
      {"utrc@-5%", "'-5%'", "at least 0"},
      {"utrc@nan", "'nan'", "percentage"},
      {"utrc@inf%", "'inf%'", "percentage"},
      {"utrc@1e1%", "'1e1%'", "percentage"},
      {"utrc@100%", "'100%'", "less than 100"},
      {"utrc@99999999999999999999999999", "9999", "less than 100"},
      {"utrc@3.0.0%", "'3.0.0%'", "percentage"},
      {"utrc@30%%", "'30%%'", "percentage"},
      {"utrc@30@40%", "'30@40%'", "percentage"},
      {"utrc:", "option", "key=value"},
      {"utrc:keep", "'keep'", "key=value"},
      {"utrc:=3", "'=3'", "key=value"},
      {"utrc:keep=", "keep", "a value"},
      {"utrc:keep=0.9,", "option", "key=value"},
      {"utrc:keep=0.9,keep=0.9", "'keep=0.9'", "each key once"},
      {"utrc:seed=1 2", "seed", "without blanks"},
      {"utrc:K=1", "'K=1'", "key=value"},
  };
  for (const Case& c : cases) {
    const std::string message = MessageOf([&] { ReductionSpec::Parse(c.text); });
    EXPECT_NE(message.find(c.part), message.npos) << c.text << " -> " << message;
    EXPECT_NE(message.find(c.expected), message.npos) << c.text << " -> " << message;
  }
  EXPECT_NE(MessageOf([] { ReductionSpec::Parse(std::string_view("utrc\0x", 6)); }), "");
}

class SpecFile : public ::testing::Test {
 protected:
  void SetUp() override { path_ = ::testing::TempDir() + "reduction_spec_test.txt"; }
  void TearDown() override { std::filesystem::remove(path_); }
  void Write(const std::string& text) { std::ofstream(path_) << text; }
  std::string path_;
};

TEST_F(SpecFile, HoldsOneSpec) {
  Write("  utrc@30%:seed=1\n");
  EXPECT_EQ(ReductionSpec::ParseOrRead("@" + path_), ReductionSpec::Parse("utrc@30%:seed=1"));
  EXPECT_EQ(ReductionSpec::ParseOrRead("utrc@30%"), ReductionSpec::Parse("utrc@30%"));
}

TEST_F(SpecFile, SkipsLinesOfComment) {
  const ReductionSpec spec = ReductionSpec::Parse("skim:full=0-3,window=16");
  for (const char* text :
       {"# why\nskim:full=0-3,window=16\n", "#\r\n#\n\nskim:full=0-3,window=16",
        "skim:full=0-3,window=16\n# none", "#none\n skim:full=0-3,window=16 \n#"}) {
    Write(text);
    EXPECT_EQ(ReductionSpec::ParseOrRead("@" + path_), spec) << text;
  }
  // Within a line the character is a part of the spec.
  Write("ltmp@10%:thresholds=a#b");
  EXPECT_EQ(ReductionSpec::ParseOrRead("@" + path_).params.at("thresholds"), "a#b");
}

TEST_F(SpecFile, RefusalsNameTheFile) {
  EXPECT_NE(MessageOf([&] { ReductionSpec::ParseOrRead("@" + path_); }).find(path_),
            std::string::npos);
  // Empty, blank, two specs, a file that points to a file, and one that is no spec at all.
  for (const std::string& text :
       {std::string(), std::string(" \n"), std::string("none\nnone"), std::string("# none"),
        std::string("none # why"), "@" + path_, std::string(1 << 17, 'a')}) {
    Write(text);
    EXPECT_NE(MessageOf([&] { ReductionSpec::ParseOrRead("@" + path_); }).find(path_),
              std::string::npos)
        << text.substr(0, 20);
  }
}

}  // namespace
}  // namespace pith
