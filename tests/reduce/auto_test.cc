// auto@N%: what it stands for is a reduction that the model accepts, is never less than what was
// asked by the study's own count of far writes while the length allows it, and never skims earlier
// than the study allows. The cases of docs/reductions.md are the shipped models'.
#include "reduce/auto.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "core/error.h"
#include "reduce/reducer.h"
#include "tests/reduce/test_site.h"

namespace pith {
namespace {

using test::Mamba1Config;
using test::Mamba2Config;
using test::MessageOf;

std::string Resolve(const std::string& spec, const ModelConfig& config, int64_t tokens) {
  return ResolveAuto(ReductionSpec::Parse(spec), config, tokens).ToString();
}

TEST(Auto, TheDocumentedCases) {
  const ModelConfig mamba2 = Mamba2Config(384, 24);
  EXPECT_EQ(Resolve("auto@30%", mamba2, 2048), "skim:full=0-13,horizon=1e-2,window=256");
  EXPECT_EQ(Resolve("auto@40%", mamba2, 4096), "skim:full=0-11,horizon=1e-2,window=256");
  EXPECT_EQ(Resolve("auto@45%", mamba2, 4096), "skim:full=0-10,mass=0.1,window=256");
  EXPECT_EQ(Resolve("auto@20%", mamba2, 94), "skim:chunk=16,full=0-13,horizon=1e-2,window=16");
  const ModelConfig mamba1 = Mamba1Config(256, 24);
  EXPECT_EQ(Resolve("auto@20%", mamba1, 2048), "skim:full=0-14,window=256");
  EXPECT_EQ(Resolve("auto@30%", mamba1, 2048), "span-drop@30%:score=delta");
  EXPECT_EQ(Resolve("auto@30%", mamba1, 94), "skim:full=0-9,window=16");
  for (const ModelConfig& config : {mamba1, mamba2}) {
    EXPECT_EQ(Resolve("auto@0%", config, 2048), "none");
    EXPECT_EQ(Resolve("auto@30%", config, 0), "none");
  }
}

int Last(const ReductionSpec& spec) { return std::stoi(spec.params.at("full").substr(2)); }

// With all pairs written a skim saves what its Reducer says; the study's count is at least that.
TEST(Auto, ReachesWhatIsWantedAndSkimsNoEarlierThanTheStudyAllows) {
  for (const bool is_mamba2 : {true, false}) {
    for (const int64_t layers : {1, 2, 7, 8, 24, 48, 64}) {
      const ModelConfig config = is_mamba2 ? Mamba2Config(384, layers) : Mamba1Config(384, layers);
      for (const int64_t tokens : {1, 20, 94, 511, 512, 2048, 4096, 100000}) {
        double last_kept = 1e9;
        bool reaches = true;
        for (int percent = 1; percent < 100; ++percent) {
          const double wanted = percent / 100.;
          ReductionSpec spec;
          try {
            spec = ResolveAuto(ReductionSpec::Parse(StrCat("auto@", percent, "%")), config, tokens);
          } catch (const Error& error) {
            EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
            EXPECT_GT(percent, layers > 2 ? 20 : 0);
            break;  // and more is refused too: RefusalsNameWhatIsPossible
          }
          if (spec.method == "none") {
            reaches = false;
            continue;
          }
          const Reducer reducer(spec, config);
          const double most = spec.method == "span-drop"
                                  ? reducer.Lengths(tokens).realised + 1. / tokens
                                  : reducer.skim()->Realised(tokens).no_pairs;
          if (most < wanted) reaches = false;
          EXPECT_EQ(most >= wanted, reaches) << "what is less than reachable is reachable";
          if (spec.method == "span-drop") {
            EXPECT_FALSE(is_mamba2);
            continue;
          }
          if (!is_mamba2 && reaches) {
            EXPECT_GE(reducer.skim()->Realised(tokens).all_pairs, wanted);
          }
          const double earliest = spec.params.contains("horizon") ? 11 : 9;
          EXPECT_GE(Last(spec), std::lround(earliest * layers / 24));
          EXPECT_LE(Last(spec), last_kept) << "more is wanted: not fewer layers skimmed";
          last_kept = Last(spec);
        }
      }
    }
  }
}

TEST(Auto, RefusalsNameWhatIsPossible) {
  const ModelConfig mamba2 = Mamba2Config(384, 24);
  const auto message = [&](const char* spec, const ModelConfig& config, int64_t tokens) {
    return MessageOf([&] { Resolve(spec, config, tokens); });
  };
  EXPECT_NE(message("auto", mamba2, 2048).find("auto@30%"), std::string::npos);
  EXPECT_NE(message("auto@30%:window=3", mamba2, 2048).find("no options"), std::string::npos);
  for (const auto& config : {mamba2, Mamba1Config(256, 24)}) {
    const std::string text = message("auto@90%", config, 2048);
    EXPECT_NE(text.find("skim@N%"), std::string::npos) << text;
    const size_t at = text.find("at most ") + 8;
    const double most = std::stod(text.substr(at));
    EXPECT_NO_THROW(Resolve(StrCat("auto@", most, "%"), config, 2048)) << "the named maximum";
    EXPECT_THROW(Resolve(StrCat("auto@", most + 0.1, "%"), config, 2048), Error);
    EXPECT_THROW(Resolve(StrCat("auto@", most + 0.1, "%"), config, 16), Error);
    EXPECT_EQ(Resolve(StrCat("auto@", most, "%"), config, 16), "none") << "all of it is window";
  }
}

}  // namespace
}  // namespace pith
