// auto@N%: what it stands for is a reduction that the model accepts, is never less than what was
// asked by the study's own count of far writes while the length allows it, and never skims earlier
// than the study allows. The cases of docs/reductions.md are the shipped models'.
#include "reduce/auto.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "core/error.h"
#include "core/file.h"
#include "reduce/reduction.h"
#include "tests/reduce/test_site.h"

namespace pith {
namespace {

using test::Mamba1Facts;
using test::Mamba2Facts;
using test::MessageOf;

std::string Resolve(const std::string& spec, const ModelFacts& facts, int64_t tokens) {
  return ResolveAuto(ReductionSpec::Parse(spec), facts, tokens).ToString();
}

TEST(Auto, TheDocumentedCases) {
  const ModelFacts mamba2 = Mamba2Facts(384, 24);
  EXPECT_EQ(Resolve("auto@30%", mamba2, 2048), "skim:full=0-13,horizon=1e-2,window=256");
  EXPECT_EQ(Resolve("auto@40%", mamba2, 4096), "skim:full=0-11,horizon=1e-2,window=256");
  EXPECT_EQ(Resolve("auto@45%", mamba2, 4096), "skim:full=0-10,mass=0.1,window=256");
  EXPECT_EQ(Resolve("auto@20%", mamba2, 94), "skim:chunk=16,full=0-14,horizon=1e-2,window=16");
  const ModelFacts mamba1 = Mamba1Facts(256, 24);
  EXPECT_EQ(Resolve("auto@20%", mamba1, 2048), "skim:full=0-13,window=256");
  EXPECT_EQ(Resolve("auto@30%", mamba1, 2048), "span-drop@30%:score=delta");
  EXPECT_EQ(Resolve("auto@30%", mamba1, 94), "skim:full=0-9,window=16");
  for (const ModelFacts& facts : {mamba1, mamba2}) {
    EXPECT_EQ(Resolve("auto@0%", facts, 2048), "none");
    EXPECT_EQ(Resolve("auto@30%", facts, 0), "none");
  }
}

int Last(const ReductionSpec& spec) { return std::stoi(spec.params.at("full").substr(2)); }

// With all pairs written a skim saves what its bounds say; the study's count is at least that.
TEST(Auto, ReachesWhatIsWantedAndSkimsNoEarlierThanTheStudyAllows) {
  for (const bool is_mamba2 : {true, false}) {
    for (const int64_t layers : {1, 2, 7, 8, 24, 48, 64}) {
      const ModelFacts facts = is_mamba2 ? Mamba2Facts(384, layers) : Mamba1Facts(384, layers);
      for (const int64_t tokens : {1, 20, 94, 511, 512, 2048, 4096, 100000}) {
        double last_kept = 1e9;
        bool reaches = true;
        for (int percent = 1; percent < 100; ++percent) {
          const double wanted = percent / 100.;
          ReductionSpec spec;
          try {
            spec = ResolveAuto(ReductionSpec::Parse(StrCat("auto@", percent, "%")), facts, tokens);
          } catch (const Error& error) {
            EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
            EXPECT_GT(percent, layers > 2 ? 20 : 0);
            break;  // and more is refused too: RefusalsNameWhatIsPossible
          }
          if (spec.method == "none") {
            reaches = false;
            continue;
          }
          const Reduction compiled = CompileReduction(spec, facts);
          const CompiledReduction& reduction = compiled.impl().Compiled();
          const double most = spec.method == "span-drop"
                                  ? reduction.Lengths(tokens).realised + 1. / tokens
                                  : reduction.skim()->Realised(tokens).no_pairs;
          if (most < wanted) reaches = false;
          EXPECT_EQ(most >= wanted, reaches) << "what is less than reachable is reachable";
          if (spec.method == "span-drop") {
            EXPECT_FALSE(is_mamba2);
            continue;
          }
          if (!is_mamba2 && reaches) {
            EXPECT_GE(reduction.skim()->Realised(tokens).all_pairs, wanted);
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
  const ModelFacts mamba2 = Mamba2Facts(384, 24);
  const auto message = [&](const char* spec, const ModelFacts& facts, int64_t tokens) {
    return MessageOf([&] { Resolve(spec, facts, tokens); });
  };
  EXPECT_NE(message("auto", mamba2, 2048).find("auto@30%"), std::string::npos);
  EXPECT_NE(message("auto@30%:window=3", mamba2, 2048).find("no options"), std::string::npos);
  for (const auto& facts : {mamba2, Mamba1Facts(256, 24)}) {
    const std::string text = message("auto@90%", facts, 2048);
    EXPECT_NE(text.find("skim@N%"), std::string::npos) << text;
    const size_t at = text.find("at most ") + 8;
    const double most = std::stod(text.substr(at));
    EXPECT_NO_THROW(Resolve(StrCat("auto@", most, "%"), facts, 2048)) << "the named maximum";
    EXPECT_THROW(Resolve(StrCat("auto@", most + 0.1, "%"), facts, 2048), Error);
    EXPECT_THROW(Resolve(StrCat("auto@", most + 0.1, "%"), facts, 16), Error);
    EXPECT_EQ(Resolve(StrCat("auto@", most, "%"), facts, 16), "none") << "all of it is window";
  }
}

TEST(AutoRules, OursAreTheFileBesideTheModels) {
  const std::string path = PITH_SOURCE_DIR "/models/auto.json";
  const AutoRules file = AutoRules::Parse(ReadFile(path), path);
  const AutoRules& ours = AutoRules::Ours();
  EXPECT_EQ(file.layers, ours.layers);
  ASSERT_EQ(file.kinds.size(), ours.kinds.size());
  for (const auto& [kind, steps] : ours.kinds) {
    ASSERT_EQ(file.kinds.at(kind).size(), steps.size());
    for (size_t i = 0; i < steps.size(); ++i) {
      EXPECT_EQ(file.kinds.at(kind)[i].last_full, steps[i].last_full);
      EXPECT_EQ(file.kinds.at(kind)[i].keys, steps[i].keys);
    }
  }
}

// Other findings, another reduction; a kind that was not studied has none.
TEST(AutoRules, DecideWhatIsChosen) {
  const AutoRules rules = AutoRules::Parse(R"({"format": "pith-auto-1", "layers": 10,
      "contexts": [{"from": 0, "window": 7}],
      "kinds": {"mamba2": [{"method": "skim", "last_full": 1}]}})",
                                           "x.json");
  const ReductionSpec spec = ReductionSpec::Parse("auto@30%");
  EXPECT_TRUE(ResolveAuto(spec, Mamba2Facts(384, 20), 5, rules).ToString() == "none");
  const ReductionSpec here = ResolveAuto(spec, Mamba2Facts(384, 20), 100, rules);
  EXPECT_EQ(here.method, "skim");
  EXPECT_EQ(here.params.at("window"), "7");
  const std::string message =
      MessageOf([&] { ResolveAuto(spec, Mamba1Facts(384, 20), 100, rules); });
  EXPECT_NE(message.find("mamba1"), message.npos) << message;
}

TEST(AutoRules, RefusalsNameFileAndField) {
  const std::string ends = R"(]}})";
  const std::string top =
      R"({"format":"pith-auto-1","layers":24,"contexts":[{"from":0,"window":16}],"kinds":{"a":[)";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"{}", "format"},
      {R"({"format":"pith-auto-2"})", "pith-auto-1"},
      {R"({"format":"pith-auto-1","layers":0})", "layers"},
      {R"({"format":"pith-auto-1","layers":24,"depth":1})", "depth"},
      {R"({"format":"pith-auto-1","layers":24,"contexts":[]})", "contexts"},
      {R"({"format":"pith-auto-1","layers":24,"contexts":[{"from":1,"window":16}]})",
       "contexts[0].from"},
      {R"({"format":"pith-auto-1","layers":24,"contexts":[{"from":0,"window":0}]})",
       "contexts[0].window"},
      {top + ends, "kinds.a"},
      {top + R"({"method":"utrc"})" + ends, "kinds.a[0].method"},
      {top + R"({"method":"skim"})" + ends, "last_full"},
      {top + R"({"method":"skim","last_full":25})" + ends, "last_full"},
      {top + R"({"method":"skim","last_full":9,"written":3})" + ends, "written"},
      {top + R"({"method":"skim","last_full":9,"keys":{"mass":"0.1"}})" + ends, "written"},
      {top + R"({"method":"skim","last_full":9,"keys":{"depth":"3"}})" + ends, "keys"},
      {top + R"({"method":"skim","last_full":9,"protected":3})" + ends, "protected"},
      {top + R"({"method":"span-drop","from":288,"protected":288})" + ends, "from"},
      {top + R"({"method":"skim","last_full":9},7)" + ends, "kinds.a[1]"}};
  for (const auto& [json, part] : cases) {
    const std::string message = MessageOf([&] { AutoRules::Parse(json, "x.json"); });
    EXPECT_NE(message.find("x.json"), message.npos) << json;
    EXPECT_NE(message.find(part), message.npos) << json << " -> " << message;
  }
}

}  // namespace
}  // namespace pith
