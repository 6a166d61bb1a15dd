// A spec on a model: defaults, canonical text, and refusals that name what was expected.
#include "reduce/reduction.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/file.h"
#include "reduce/blocks.h"
#include "reduce/registry.h"
#include "tests/reduce/test_site.h"

namespace pith {
namespace {

using test::Mamba1Facts;
using test::Mamba2Facts;
using test::MessageOf;

Reduction Make(const std::string& text, const std::vector<int>& sites = {}) {
  return CompileReduction(ReductionSpec::Parse(text), Mamba2Facts(768, 24), sites);
}

Schedule Lengths(const std::string& text, int64_t tokens) {
  return Make(text).impl().Compiled().Lengths(tokens);
}

Removal MakeRemoval(const std::string& text, const std::vector<int>& sites = {}) {
  return *Make(text, sites).impl().Compiled().removal();
}

TEST(Reduction, NoneReducesNothing) {
  for (const Reduction& none : {Make("none", {5, 7}), Reduction()}) {
    EXPECT_TRUE(none.none());
    EXPECT_FALSE(none.by_length());
    EXPECT_EQ(none.text(), "none");
    EXPECT_TRUE(none.impl().Compiled().none());
    EXPECT_TRUE(none.impl().Compiled().Lengths(100).sites.empty());
    EXPECT_EQ(none.impl().Compiled().Lengths(100).realised, 0);
  }
}

TEST(Reduction, SitesComeFromOverrideThenSpecThenDepth) {
  EXPECT_EQ(MakeRemoval("utrc@10%").sites, (std::vector<int>{5, 7, 9, 11, 13, 15}));
  EXPECT_EQ(MakeRemoval("utrc@10%:sites=9+3-5").sites, (std::vector<int>{3, 4, 5, 9}));
  EXPECT_EQ(MakeRemoval("utrc@10%:sites=9", {7, 5}).sites, (std::vector<int>{5, 7}));
  EXPECT_EQ(Make("utrc@10%:sites=9", {7, 5}).text(), "utrc@10%:sites=5+7");
  EXPECT_EQ(MakeRemoval("span-drop@10%").sites, (std::vector<int>{5}));
  EXPECT_EQ(MakeRemoval("span-drop@10%:sites=3+9").sites, (std::vector<int>{3, 9}));
  EXPECT_EQ(MakeRemoval("truncate@10%", {5, 7}).sites, (std::vector<int>{-1}));
  EXPECT_EQ(Make("truncate@10%", {5, 7}).text(), "truncate@10%");
}

TEST(Reduction, ProtectsTheConvolutionsWindowByDefault) {
  EXPECT_EQ(MakeRemoval("utrc@10%").protected_tail, 4);
  EXPECT_EQ(MakeRemoval("utrc@10%:protect=0").protected_tail, 1);  // the next token comes from it
  EXPECT_EQ(MakeRemoval("span-drop@10%").protected_tail, 256);
  // 400 tokens: 32 first and 256 last ones stay.
  EXPECT_EQ(Lengths("span-drop@60%", 400).sites[0].out, 288);
}

TEST(Reduction, ControlsHaveTheLengthsOfUtrc) {
  for (int64_t tokens : {1, 2, 3, 5, 16, 31, 64, 65, 257, 2048}) {
    const Schedule utrc = Lengths("utrc@30%", tokens);
    for (const char* text :
         {"prefix-drop@30%", "prefix-thin@30%", "random@30%", "stride@30%", "utrc-published@30%",
          "evit@30%", "pumer@30%", "tome@30%", "ltmp@30%:block=64"}) {
      const Schedule control = Lengths(text, tokens);
      EXPECT_EQ(control.realised, utrc.realised);
      ASSERT_EQ(control.sites.size(), utrc.sites.size());
      for (size_t k = 0; k < utrc.sites.size(); ++k) {
        EXPECT_EQ(control.sites[k].layer, utrc.sites[k].layer);
        EXPECT_EQ(control.sites[k].out, utrc.sites[k].out);
      }
    }
  }
}

TEST(Reduction, ShortContextsAreLeftAlone) {
  for (const Method& method : Methods()) {
    if (method.removal() == nullptr) continue;
    for (int64_t tokens : {0, 1, 2, 3, 4}) {
      EXPECT_EQ(Lengths(StrCat(method.name, "@30%"), tokens).realised, 0) << method.name;
    }
  }
}

TEST(Reduction, LengthsReachTheWantedReductionOnLongContexts) {
  for (const Method& method : Methods()) {
    if (method.removal() == nullptr) continue;
    EXPECT_NEAR(Lengths(StrCat(method.name, "@30%"), 2048).realised, 0.3, 0.5 / 2048)
        << method.name;
  }
}

TEST(Reduction, RefusalsNameThePartAndWhatWasExpected) {
  struct Case {
    const char* text;
    std::vector<int> sites;
    std::vector<const char*> parts;
  };
  const Case cases[] = {
      {"utcr@30%",
       {},
       {"'utcr'",
        "utrc, utrc-published, evit, pumer, tome, ltmp, span-drop, truncate, prefix-drop"}},
      {"utrc@30%:foo=1",
       {},
       {"'foo'", "keep, sites, protect, seed, lengths, block, importance, from, table"}},
      {"truncate@30%:sites=5", {}, {"'sites'", "keep, protect, seed"}},
      {"none:keep=1", {}, {"none", "'keep'", "no options"}},
      {"none@30%", {}, {"none@30%", "without"}},
      {"utrc", {}, {"'utrc'", "utrc@30%", "keep"}},
      {"utrc@30%:keep=0.9", {}, {"both @N% and keep"}},
      {"utrc:keep=0.5", {}, {"keep", "'0.5'", "above 0.5"}},
      {"utrc:keep=1.01", {}, {"keep", "'1.01'", "from 0.5 to 1"}},
      {"utrc:keep=nan", {}, {"keep", "'nan'", "a number"}},
      {"utrc:keep=0.9x", {}, {"keep", "'0.9x'", "a number"}},
      {"truncate:keep=0", {}, {"keep", "'0'", "above 0"}},
      {"utrc@90%", {}, {"90%", "less than 66.4%", "5+7+9+11+13+15"}},
      {"utrc@30%:protect=-1", {}, {"protect", "'-1'", "whole number"}},
      {"utrc@30%:protect=9999999999", {}, {"protect", "'9999999999'", "whole number"}},
      {"utrc@30%:seed=1.5", {}, {"seed", "'1.5'", "whole number"}},
      {"utrc@30%:importance=max", {}, {"importance", "'max'", "clip, noclip, l1, l2, delta"}},
      {"utrc@30%:importance=delta,from=block", {}, {"from", "'block'", "clip, noclip, l1 or l2"}},
      {"utrc@30%:table=x.json", {}, {"x.json"}},
      {"evit@30%:match=h", {}, {"'match'", "mode"}},
      {"span-drop@30%:score=l1", {}, {"score", "'l1'", "rarity, delta, tail-query or random"}},
      {"span-drop@30%:block=64", {}, {"'block'", "keep, sites, protect"}},
      {"pumer@30%:mode=published,window=3", {}, {"window", "'3'", "mismatched"}},
      {"ltmp@30%:thresholds=nosuch.json", {}, {"nosuch.json"}},
      {"utrc@30%:block=63", {}, {"block", "'63'", "even"}},
      {"utrc@30%:lengths=ceil", {}, {"lengths", "'ceil'", "cumulative or published"}},
      {"utrc@30%:q-hidden=1.5", {}, {"q-hidden", "'1.5'", "from 0 to 1"}},
      {"utrc@30%:sites=5+5", {}, {"sites", "'5+5'", "each once"}},
      {"utrc@30%:sites=4-6+5", {}, {"sites", "each once"}},
      {"utrc@30%:sites=24", {}, {"sites", "'24'", "0 to 23"}},
      {"utrc@30%:sites=0-2000000000", {}, {"sites", "0 to 23"}},
      {"utrc@30%:sites=7-5", {}, {"sites", "'7-5'"}},
      {"utrc@30%:sites=-1", {}, {"sites", "'-1'"}},
      {"utrc@30%:sites=5+", {}, {"sites", "'5+'"}},
      {"utrc@30%", {5, 24}, {"sites", "24", "0 to 23"}},
      {"utrc@30%", {-1}, {"sites", "-1", "0 to 23"}},
      {"none", {5, 5}, {"sites", "5 twice"}},
  };
  for (const Case& c : cases) {
    const std::string message = MessageOf([&] { Make(c.text, c.sites); });
    for (const char* part : c.parts) {
      EXPECT_NE(message.find(part), message.npos) << c.text << " -> " << message;
    }
  }
  ReductionSpec by_hand;
  by_hand.method = "utrc";
  for (double bad : {-0.1, 1.0, std::nan("")}) {
    by_hand.reduction = bad;
    EXPECT_THROW(CompileReduction(by_hand, Mamba2Facts(768, 24)), Error) << bad;
  }
}

// The documentation and the defaults that the command line prints are the methods' own.
TEST(Registry, KeysAreDocumentedAndTheirDefaultsHold) {
  const std::string guide = ReadFile(PITH_SOURCE_DIR "/docs/reductions.md");
  for (const Method& method : Methods()) {
    EXPECT_NE(guide.find(StrCat("`", method.name, "`")), guide.npos) << method.name;
    for (const MethodKey& key : AllKeys(method)) {
      EXPECT_NE(guide.find(StrCat("| `", key.name, "` |")), guide.npos) << key.name;
    }
    if (method.removal() == nullptr) continue;
    for (const MethodKey& key : method.keys) {
      const std::map<std::string, std::string> spelled = {
          {std::string(key.name), std::string(key.fallback)}};
      const PolicySetup made = test::MakeSetup(std::string(method.name), spelled);
      const PolicySetup plain = test::MakeSetup(std::string(method.name), {});
      const auto& with = made.policy;
      const auto& without = plain.policy;
      EXPECT_EQ(made.protected_head, plain.protected_head) << key.name;
      EXPECT_EQ(made.counts_vary, plain.counts_vary) << key.name;
      const test::TestSite site(64, 3);
      const SiteView view = site.View(Device::kReference, 1, 4);
      const int64_t remove = std::min<int64_t>(
          20, MaxRemovable(method.removal()->limit, 64, 4 + plain.protected_head));
      EXPECT_EQ(with->MakePlan(view, remove), without->MakePlan(view, remove)) << key.name;
      EXPECT_EQ(with->Needs().importance, without->Needs().importance) << key.name;
      EXPECT_EQ(with->Needs().importance_from, without->Needs().importance_from) << key.name;
      EXPECT_EQ(with->Needs().match_on, without->Needs().match_on) << key.name;
    }
  }
}

TEST(Registry, SaysWhichFilesSpecsRead) {
  const auto files = [](const char* text) {
    const ReductionSpec spec = ReductionSpec::Parse(text);
    return FilesOf(spec, FindMethod(spec.method));
  };
  const std::vector<std::string> x = {"x"};
  EXPECT_TRUE(files("none").empty());
  EXPECT_TRUE(files("ltmp@30%:thresholds=none").empty());
  EXPECT_EQ(files("ltmp@30%:thresholds=x"), x);
  EXPECT_EQ(files("span-drop@30%:table=x"), x);
}

TEST(Reduction, PlansInBlocksWhereToldTo) {
  const test::TestSite site(64, 3);
  const SiteView view = site.View(Device::kReference, 1, 4);
  EXPECT_EQ(MakeRemoval("utrc@10%").MakePlan(view, 20),
            test::MakeSetup("utrc").policy->MakePlan(view, 20));
  EXPECT_EQ(MakeRemoval("utrc@10%:block=16").MakePlan(view, 20),
            PlanInBlocks(*test::MakeSetup("utrc").policy, view, 20, 16, Limit::kHalf));
}

// Where nothing lies below the sites, no reduction is within reach; none at all always is.
TEST(Reduction, OneLayerReachesNothing) {
  const ModelFacts facts = Mamba2Facts(768, 1);
  EXPECT_THROW(test::Compile("utrc@1%", facts), Error);
  EXPECT_EQ(test::Compile("utrc@0%", facts).Lengths(100).realised, 0);
}

TEST(Reduction, AutoIsResolvedByLength) {
  const Reduction reduction = Make("auto@030");
  EXPECT_EQ(reduction.text(), "auto@30%");
  EXPECT_EQ(reduction.method(), "auto");
  EXPECT_EQ(reduction.wanted(), 0.3);
  EXPECT_TRUE(reduction.by_length());
  EXPECT_FALSE(reduction.none());
  EXPECT_TRUE(reduction.For(1).none());
  const Reduction here = reduction.For(2048);
  EXPECT_EQ(here.method(), "skim");
  EXPECT_FALSE(here.by_length());
  EXPECT_EQ(here.For(1).text(), here.text()) << "it is one reduction for any length now";
}

TEST(Reduction, OfAnotherModelIsRefused) {
  const Reduction reduction = Make("utrc@30%");
  EXPECT_NO_THROW(reduction.impl().CheckModel(Mamba2Facts(768, 24)));
  EXPECT_NO_THROW(Reduction().impl().CheckModel(Mamba2Facts(768, 12)));
  const std::string message = MessageOf([&] { reduction.impl().CheckModel(Mamba2Facts(768, 12)); });
  EXPECT_NE(message.find("another model"), message.npos) << message;
}

// Far rows are written into f32 states only: what skims, or may, is refused where it is compiled
// and where it meets a model that is held otherwise; all else runs on both.
TEST(Reduction, SkimWantsStatesInF32) {
  for (const DType state : {DType::kBF16, DType::kF16}) {
    for (ModelFacts wide : {Mamba2Facts(768, 24), Mamba1Facts(768, 24)}) {
      ModelFacts half = wide;
      half.state = state;
      for (const char* text : {"skim", "skim@20%", "skim:full=0-3", "auto@20%"}) {
        const ReductionSpec spec = ReductionSpec::Parse(text);
        const Reduction reduction = CompileReduction(spec, wide);
        EXPECT_NO_THROW(reduction.impl().CheckModel(wide));
        for (const auto& refused : {MessageOf([&] { CompileReduction(spec, half); }),
                                    MessageOf([&] { reduction.impl().CheckModel(half); })}) {
          for (const std::string_view part : {spec.method == "auto" ? "auto@20%" : "skim",
                                              "state-dtype", Name(state).data(), "f32"}) {
            EXPECT_NE(refused.find(part), refused.npos) << text << ": " << refused;
          }
        }
      }
      for (const char* text : {"none", "utrc@20%", "truncate@20%", "stride@20%", "auto@0%"}) {
        const ReductionSpec spec = ReductionSpec::Parse(text);
        const Reduction there = CompileReduction(spec, wide), here = CompileReduction(spec, half);
        EXPECT_NO_THROW(there.impl().CheckModel(half)) << text;
        EXPECT_NO_THROW(here.impl().CheckModel(wide)) << text;
      }
    }
  }
}

}  // namespace
}  // namespace pith
