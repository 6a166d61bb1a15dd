// The laws of the forward pass (ARCHITECTURE.md, "Laws" 1, 2 and 4), over every kind of model:
//   1. prefill(n) = n × step() to rounding; the same bits for any batch mix and order, thread
//   count,
//      rows in flight, and cut at a multiple of the chunk with carried state.
//   2. A reduction of nothing gives the bits of no reduction.
//   4. A plan depends on its own sequence alone: the same survivors and bits in any batch.
// Bit equality is compared with memcmp semantics (float ==, no NaN is produced), so these tests
// fail at the first changed rounding.

#include "model/prefill.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "model/step.h"
#include "ops/linear.h"
#include "tests/model/random_model.h"

namespace pith {
namespace {

using testing::Compile;
using testing::DeviceUnderTest;
using testing::Kind;
using testing::MakeModel;
using testing::OnHost;
using testing::RandomIds;
using testing::RelativeError;
using testing::Slots;

// Every row that reached the end, and the final state.
struct Output {
  std::vector<int32_t> positions;
  std::vector<float> rows;  // [positions.size(), d_model]
  std::vector<float> state;
  bool operator==(const Output&) const = default;
};

struct RunOptions {
  std::string reduce = "none";
  int64_t rows_per_chunk = 1024;
  int64_t ssd_chunk = 16;
  int threads = 2;
  Precision precision = Precision::kF32;
};

void Collect(const Exec& exec, std::vector<Output>& outputs, std::span<const OutputRow> rows,
             MatView<const float> normed) {
  const std::vector<float> values = OnHost(exec, normed);
  for (size_t r = 0; r < rows.size(); ++r) {
    Output& out = outputs[rows[r].sequence];
    out.positions.push_back(rows[r].position);
    const auto row = values.begin() + static_cast<int64_t>(r) * normed.cols;
    out.rows.insert(out.rows.end(), row, row + normed.cols);
  }
}

// `carried`: states to go on from, and to leave the new ones in.
std::vector<Output> Forward(const Model& model, const std::vector<std::vector<int32_t>>& texts,
                            const RunOptions& options = {}, Slots* carried = nullptr) {
  const Exec exec = ExecOn(DeviceUnderTest(), options.threads, options.precision);
  Slots fresh(model, exec, texts.size());
  Slots& slots = carried != nullptr ? *carried : fresh;
  std::vector<SequenceInput> batch;
  for (size_t i = 0; i < texts.size(); ++i) {
    batch.push_back({texts[i], &slots.sequences[i], WantRows::kAll});
  }
  const CompiledReduction reduction = Compile(options.reduce, model);
  std::vector<Output> outputs(texts.size());
  Workspace ws;
  Prefill(model, exec, slots.pool, batch,
          {.reduction = &reduction,
           .rows_per_chunk = options.rows_per_chunk,
           .ssd_chunk = options.ssd_chunk},
          ws, [&](std::span<const OutputRow> rows, MatView<const float> normed) {
            Collect(exec, outputs, rows, normed);
          });
  for (size_t i = 0; i < texts.size(); ++i) outputs[i].state = slots.State(i);
  return outputs;
}

// Every method, and what reads other activations of the kind's layers; at rates that remove rows
// from all but the shortest texts.
std::vector<std::string> Reductions(Kind kind) {
  std::vector<std::string> specs = {"none",
                                    "truncate@30%",
                                    "utrc:keep=0.8,sites=0+2",
                                    "utrc:keep=0.8,sites=1,block=16,match=T",
                                    "utrc:keep=0.8,sites=1+3,from=block,match=T",
                                    "prefix-thin:keep=0.8,sites=1",
                                    "random:keep=0.75,sites=1",
                                    "utrc-published:keep=0.8,sites=0+2",
                                    "evit:keep=0.7,sites=0+1",
                                    "evit:keep=0.7,sites=0+1,mode=original,lengths=published",
                                    "evit:keep=0.7,sites=0+1,mode=published",
                                    "pumer:keep=0.8,sites=0+2",
                                    "pumer:keep=0.8,sites=0+2,mode=original",
                                    "pumer:keep=0.8,sites=1,mode=published",
                                    "tome:keep=0.8,sites=0+1+2",
                                    "ltmp:keep=0.8,sites=0+2,match=B"};
  specs.emplace_back("evit:keep=0.7,sites=0+2,importance=rarity");
  const bool scans = kind != Kind::kTransformer;  // a scan at layers 0 and 2
  const bool all_scan = scans && kind != Kind::kHybrid;
  for (const char* importance : {"delta", "state-write", "final-state", "tail-query", "last-row"}) {
    if (scans) specs.push_back(StrCat("evit:keep=0.7,sites=0+2,importance=", importance));
  }
  for (const char* score : {"rarity", "random", "delta", "tail-query"}) {
    const bool reads_scan = std::string_view(score) == "delta" || score[0] == 't';
    if (reads_scan && !all_scan) continue;
    specs.push_back(StrCat("span-drop:keep=0.6,sites=1,span=8,first=4,protect=8,score=", score));
  }
  return specs;
}

class PrefillLaws : public ::testing::TestWithParam<Kind> {
 protected:
  Model model_ = MakeModel({.kind = GetParam(), .n_groups = 2});
  std::vector<int32_t> Text(int64_t length) {
    return RandomIds(length, model_.config().vocab_size, 100 + length);
  }
};

constexpr int64_t kLengths[] = {1, 2, 3, 5, 16, 31, 64, 65, 257, 2048};

TEST_P(PrefillLaws, EqualsSteps) {
  for (const int64_t length : kLengths) {
    SCOPED_TRACE(length);
    const std::vector<int32_t> text = Text(length);
    const Output whole = Forward(model_, {text})[0];
    const Exec exec = ExecOn(DeviceUnderTest(), 2);
    Slots slots(model_, exec, 1);
    Sequence* sequences[] = {&slots.sequences[0]};
    Workspace ws;
    LayerRows scratch;
    DeviceMat<float> last, logits, expected;
    logits.Resize(exec, 1, model_.config().vocab_size);
    expected.Resize(exec, 1, model_.config().vocab_size);
    for (const int32_t id : text) {
      Step(model_, exec, slots.pool, {&id, 1}, sequences, ws, scratch, logits.view());
    }
    const int64_t d = model_.config().d_model;
    last.Resize(exec, 1, d);
    UploadRows(exec, {whole.rows.data() + (length - 1) * d, 1, d}, last.view());
    Linear(exec, last.view(), model_.head(), {}, expected.view());
    // Two orders of summation in f32 through 4 layers. Each layer re-reads what the one before
    // rounded; a row passes about 10 rounded operations a layer of eps 6e-8 each, sums of up to
    // 96 terms grow that by √96, and gains stay near 1 through the norms: 4 · 10 · 10 · 6e-8.
    const double bound = 2.4e-5;
    EXPECT_LT(RelativeError(OnHost(exec, logits.view()), OnHost(exec, expected.view())), bound);
    EXPECT_LT(RelativeError(slots.State(0), whole.state), bound);
    EXPECT_EQ(slots.sequences[0].tokens, length);
  }
}

TEST_P(PrefillLaws, SameBitsForAnyChunkOfRowsAndThreads) {
  for (const std::string& reduce : Reductions(GetParam())) {
    SCOPED_TRACE(reduce);
    for (const int64_t length : {1, 5, 31, 65, 257}) {
      const std::vector<int32_t> text = Text(length);
      const Output expected = Forward(model_, {text}, {.reduce = reduce})[0];
      for (const auto& [rows, threads] : {std::pair{16, 1}, {17, 3}, {64, 2}, {100, 3}}) {
        SCOPED_TRACE(::testing::Message()
                     << length << " tokens, " << rows << " rows, " << threads << " threads");
        EXPECT_EQ(Forward(model_, {text},
                          {.reduce = reduce, .rows_per_chunk = rows, .threads = threads})[0],
                  expected);
      }
    }
  }
}

TEST_P(PrefillLaws, SameBitsForAnyBatchMixAndOrder) {
  std::vector<std::vector<int32_t>> texts;
  for (const int64_t length : kLengths) texts.push_back(Text(length));
  for (const std::string& reduce : Reductions(GetParam())) {
    SCOPED_TRACE(reduce);
    std::vector<Output> alone;
    for (const auto& text : texts) alone.push_back(Forward(model_, {text}, {.reduce = reduce})[0]);
    EXPECT_EQ(Forward(model_, texts, {.reduce = reduce, .rows_per_chunk = 80}), alone);
    std::vector<std::vector<int32_t>> reversed(texts.rbegin(), texts.rend());
    std::reverse(alone.begin(), alone.end());
    EXPECT_EQ(Forward(model_, reversed, {.reduce = reduce}), alone);
  }
}

TEST_P(PrefillLaws, CutAtMultiplesOfTheChunkSameBits) {
  for (const int64_t ssd_chunk : {1, 4, 16, 64}) {
    const std::vector<int32_t> text = Text(257);
    const Output whole = Forward(model_, {text}, {.ssd_chunk = ssd_chunk})[0];
    for (const int64_t cut : {ssd_chunk, 2 * ssd_chunk, 3 * ssd_chunk}) {
      SCOPED_TRACE(::testing::Message() << "chunk " << ssd_chunk << ", cut at " << cut);
      const RunOptions options{.ssd_chunk = ssd_chunk};
      Slots slots(model_, ExecOn(DeviceUnderTest(), 2), 1);
      const Output head = Forward(model_, {{text.begin(), text.begin() + cut}}, options, &slots)[0];
      const Output tail = Forward(model_, {{text.begin() + cut, text.end()}}, options, &slots)[0];
      EXPECT_EQ(tail.state, whole.state);
      std::vector<float> rows = head.rows;
      rows.insert(rows.end(), tail.rows.begin(), tail.rows.end());
      EXPECT_EQ(rows, whole.rows);
      EXPECT_EQ(slots.sequences[0].tokens, 257);
    }
  }
}

TEST_P(PrefillLaws, LongTextInAnyChunkOfRows) {
  const std::vector<int32_t> text = Text(2048);
  const Output expected = Forward(model_, {text}, {.rows_per_chunk = 4096, .ssd_chunk = 64})[0];
  EXPECT_EQ(Forward(model_, {text}, {.rows_per_chunk = 192, .ssd_chunk = 64})[0], expected);
}

TEST_P(PrefillLaws, ReducingNothingIsDense) {
  for (const char* reduce :
       {"utrc@0%", "utrc:keep=1", "utrc:keep=1,sites=0+2", "prefix-drop@0%", "truncate@0%",
        "random:keep=1", "utrc-published@0%", "evit:mode=original,keep=1", "pumer@0%", "tome@0%",
        "ltmp@0%", "ltmp@0%:importance=final-state", "span-drop@0%"}) {
    const bool scans = GetParam() == Kind::kMamba1 || GetParam() == Kind::kMamba2;
    if (!scans && std::string_view(reduce).find("final-state") != std::string_view::npos) continue;
    for (const int64_t length : kLengths) {
      SCOPED_TRACE(::testing::Message() << reduce << " of " << length);
      EXPECT_EQ(Forward(model_, {Text(length)}, {.reduce = reduce}),
                Forward(model_, {Text(length)}));
    }
  }
}

TEST_P(PrefillLaws, SurvivorsAreWhatTheScheduleSays) {
  std::vector<std::string> specs = Reductions(GetParam());
  specs.erase(specs.begin());  // none
  for (const std::string& reduce : specs) {
    for (const int64_t length : kLengths) {
      SCOPED_TRACE(::testing::Message() << reduce << " of " << length);
      const Output out = Forward(model_, {Text(length)}, {.reduce = reduce})[0];
      const Schedule schedule = Compile(reduce, model_).Lengths(length);
      EXPECT_EQ(static_cast<int64_t>(out.positions.size()), schedule.sites.back().out);
      EXPECT_TRUE(std::is_sorted(out.positions.begin(), out.positions.end()));
      EXPECT_EQ(std::adjacent_find(out.positions.begin(), out.positions.end()),
                out.positions.end());
      EXPECT_EQ(out.positions.back(), length - 1);
    }
  }
}

// Removing rows before a position that no removed row can reach any more would not be seen here, so
// the test checks that reduction does act: other bits, other state.
TEST_P(PrefillLaws, ReductionChangesTheState) {
  const Output dense = Forward(model_, {Text(64)})[0];
  for (const char* reduce : {"utrc:keep=0.7,sites=0", "truncate@40%", "random:keep=0.6,sites=1"}) {
    EXPECT_NE(Forward(model_, {Text(64)}, {.reduce = reduce})[0].state, dense.state) << reduce;
  }
}

// Rows that are gone before the first layer leave the text that is left, whatever place it has: a
// row's token is that at its position, and rotations are relative. Bound as for steps.
TEST_P(PrefillLaws, TruncatedIsTheTextThatIsLeft) {
  for (const int64_t length : {5, 31, 65, 257}) {
    SCOPED_TRACE(length);
    const std::vector<int32_t> text = Text(length);
    const Output cut = Forward(model_, {text}, {.reduce = "truncate@40%"})[0];
    const auto left = static_cast<int64_t>(cut.positions.size());
    ASSERT_LT(left, length);
    const Output alone = Forward(model_, {{text.end() - left, text.end()}})[0];
    EXPECT_LT(RelativeError(cut.rows, alone.rows), 2.4e-5);
  }
}

// A source that a site's layer has not is an error that names both, never another source.
TEST(Removal, RefusesWhatALayerDoesNotHave) {
  const Model model = MakeModel({.kind = Kind::kHybrid});  // Mamba-2, attention, both, experts
  const auto error = [&](const char* text) {
    try {
      Compile(text, model);
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string("no error");
  };
  for (const auto& [text, what] :
       {std::pair{"utrc:keep=0.8,sites=3", "site 3 is a mixture of experts, which has no y"},
        {"utrc:keep=0.8,sites=3,from=block,match=B", "which has no B"},
        {"utrc:keep=0.8,sites=1,importance=delta",
         "site 1 is an attention layer, which has no scan"},
        {"utrc:keep=0.8,sites=3,from=block,match=T", "no error"},
        {"utrc:keep=0.8,sites=1,match=B", "no error"},
        {"utrc:keep=0.8", "no error"}}) {
    EXPECT_NE(error(text).find(what), std::string::npos) << text << ": " << error(text);
  }
}

TEST_P(PrefillLaws, RejectsBadInput) {
  EXPECT_THROW(Forward(model_, {{}}), Error);
  EXPECT_THROW(Forward(model_, {{0, 97}}), Error);
  EXPECT_THROW(Forward(model_, {{-1}}), Error);
}

// What a state file may say of its text's length.
TEST_P(PrefillLaws, RefusesPositionsThatDoNotFit) {
  Slots slots(model_, ExecOn(DeviceUnderTest(), 2), 1);
  slots.sequences[0].tokens = int64_t{1} << 31;
  if (model_.state_layout().grows()) {
    EXPECT_THROW(Forward(model_, {Text(3)}, {}, &slots), Error);
  } else {
    EXPECT_NO_THROW(Forward(model_, {Text(3)}, {}, &slots));
  }
}

TEST_P(PrefillLaws, CancelThrows) {
  const std::vector<int32_t> text = Text(16);
  const std::atomic<bool> cancel = true;
  const Exec exec = ExecOn(DeviceUnderTest());
  Slots slots(model_, exec, 1);
  const SequenceInput input{text, &slots.sequences[0], WantRows::kLast};
  Workspace ws;
  try {
    Prefill(model_, exec, slots.pool, {&input, 1}, {.cancel = &cancel}, ws, nullptr);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kCancelled);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, PrefillLaws, ::testing::ValuesIn(testing::kKinds),
                         [](const auto& info) { return testing::KindName(info.param); });

// Law 1 with bf16, where the CPU's scan is one of pairs of bf16. (CUDA's mixers have tests of their
// own, and a library multiplies rows there.)
class PrefillInBF16 : public ::testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    if (DeviceUnderTest() == Device::kCuda) GTEST_SKIP() << "mamba2_mixer_test has CUDA's laws";
  }
  static Model Make() {
    testing::RandomTensors tensors(1, DType::kF32);
    return {ExecOn(DeviceUnderTest(), 1, Precision::kBF16),
            testing::MakeConfig({.kind = GetParam(), .n_groups = 2}), tensors};
  }
  std::vector<int32_t> Text(int64_t length) const {
    return RandomIds(length, model_.config().vocab_size, 100 + length);
  }
  Model model_ = Make();
};

TEST_P(PrefillInBF16, SameBitsForAnyChunkOfRowsThreadsBatchAndCut) {
  const RunOptions in{.precision = Precision::kBF16};
  std::vector<std::vector<int32_t>> texts;
  std::vector<Output> alone;
  for (const int64_t length : {1, 5, 16, 65, 257}) {
    texts.push_back(Text(length));
    alone.push_back(Forward(model_, {texts.back()}, in)[0]);
  }
  for (const auto& [rows, threads] : {std::pair{16, 1}, {17, 3}, {100, 2}}) {
    SCOPED_TRACE(::testing::Message() << rows << " rows, " << threads << " threads");
    RunOptions options = in;
    options.rows_per_chunk = rows;
    options.threads = threads;
    EXPECT_EQ(Forward(model_, texts, options), alone);
  }
  for (const int64_t cut : {16, 48, 256}) {
    SCOPED_TRACE(::testing::Message() << "cut at " << cut);
    const auto begin = texts.back().begin();
    Slots slots(model_, ExecOn(DeviceUnderTest(), 2), 1);
    const Output head = Forward(model_, {{begin, begin + cut}}, in, &slots)[0];
    const Output tail = Forward(model_, {{begin + cut, texts.back().end()}}, in, &slots)[0];
    EXPECT_EQ(tail.state, alone.back().state);
    std::vector<float> rows = head.rows;
    rows.insert(rows.end(), tail.rows.begin(), tail.rows.end());
    EXPECT_EQ(rows, alone.back().rows);
  }
}

// What the scan reads is rounded up to four times on its way to y (ssd_test.cc), and projections
// round their input, twice a layer, which another rounding before them may turn: 2 · (4 + 2)
// roundings of 2⁻⁸ in each of 4 layers, between which gains stay near 1. The last line tells that
// bf16 was read at all.
TEST_P(PrefillInBF16, AgreesWithF32) {
  const Model f32 = MakeModel({.kind = GetParam(), .n_groups = 2});
  const std::vector<int32_t> text = Text(257);
  const Output expected = Forward(f32, {text})[0];
  const Output output = Forward(model_, {text}, {.precision = Precision::kBF16})[0];
  EXPECT_LT(RelativeError(output.rows, expected.rows), 4 * 2 * 6 * 0x1p-8);
  EXPECT_LT(RelativeError(output.state, expected.state), 4 * 2 * 6 * 0x1p-8);
  EXPECT_GT(RelativeError(output.rows, expected.rows), 0x1p-12);
}

INSTANTIATE_TEST_SUITE_P(Kinds, PrefillInBF16, ::testing::Values(Kind::kMamba2, Kind::kHybrid),
                         [](const auto& info) { return testing::KindName(info.param); });

}  // namespace
}  // namespace pith
