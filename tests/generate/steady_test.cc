// The rule of Workspace (model/workspace.h): what a pass and a step take of the heap once memory of
// their shape is there. On the CPU only: the reference has the scratch of each call, and CUDA
// copies of what it is told. With one thread, since the scratch of kernels belongs to the thread
// that first takes a piece of such a loop, which may be any.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <tuple>
#include <vector>

#include "model/prefill.h"
#include "model/step.h"
#include "tests/generate/allocations.h"
#include "tests/model/random_model.h"

namespace pith {
namespace {

using testing::Allocations;
using testing::Kind;
using testing::MakeModel;
using testing::RandomIds;
using testing::TakeAllocations;

constexpr int64_t kRows = 128;  // of a chunk
constexpr int64_t kSsdChunk = 64;

// The most that keys and values take when a text grows from `before` rows to `after`: for each page
// its memory and the count of its owners, and two lists in each layer, which double (KvStates).
int64_t PagesTake(const Model& model, int64_t before, int64_t after) {
  const auto pages = [](int64_t rows) { return (rows + kKvPageRows - 1) / kKvPageRows; };
  const int64_t added = pages(after) - pages(before);
  int64_t doublings = 0;
  for (int64_t room = pages(before); room < pages(after); room = std::max<int64_t>(1, 2 * room)) {
    ++doublings;
  }
  int64_t layers = 0;
  for (int64_t l = 0; l < model.n_layer(); ++l) layers += model.layer(l).state_size().grows();
  return layers * (2 * added + 2 * doublings);
}

// One text of some chunks of kRows rows, read by passes of its own.
class Reader {
 public:
  Reader(const Model& model, const Exec& exec, int64_t chunks, WantRows want)
      : model_(model),
        exec_(exec),
        want_(want),
        ids_(RandomIds(chunks * kRows, model.config().vocab_size, 3)),
        pool_(model, exec, 1),
        sequence_{.slot = pool_.Take()} {}

  PrefillPass Begin() {
    const SequenceInput input{ids_, &sequence_, want_};
    return PrefillPass(model_, exec_, pool_, {&input, 1},
                       {.rows_per_chunk = kRows, .ssd_chunk = kSsdChunk}, ws_);
  }
  // A whole pass.
  Allocations Read() {
    TakeAllocations();
    PrefillPass pass = Begin();
    while (!pass.done()) pass.Advance(1, sink_);
    return TakeAllocations();
  }
  // `chunks` of a pass that goes on.
  Allocations Go(PrefillPass& pass, int64_t chunks) {
    TakeAllocations();
    for (int64_t c = 0; c < chunks; ++c) pass.Advance(1, sink_);
    return TakeAllocations();
  }
  // Some steps.
  Allocations Write(int64_t steps) {
    TakeAllocations();
    for (int64_t s = 0; s < steps; ++s) {
      logits_.Resize(exec_, 1, model_.config().vocab_size);
      Step(model_, exec_, pool_, step_ids_, step_sequences_, ws_, rows_, logits_.view());
    }
    return TakeAllocations();
  }

 private:
  const Model& model_;
  const Exec exec_;
  const WantRows want_;
  const std::vector<int32_t> ids_;
  StatePool pool_;
  Sequence sequence_;
  Workspace ws_;
  const RowSink sink_ = [](std::span<const OutputRow>, MatView<const float>) {};
  const std::vector<int32_t> step_ids_ = {7};
  const std::vector<Sequence*> step_sequences_ = {&sequence_};
  LayerRows rows_;
  DeviceMat<float> logits_;
};

// Behind a pass that has made the workspace's room: chunks of another one behind its first, and
// steps behind the first.
void ExpectSteady(const Model& model, const Exec& exec) {
  for (const WantRows want : {WantRows::kNone, WantRows::kLast, WantRows::kAll}) {
    SCOPED_TRACE(static_cast<int>(want));
    Reader reader(model, exec, 6, want);
    reader.Read();
    PrefillPass pass = reader.Begin();
    reader.Go(pass, 1);
    EXPECT_LE(reader.Go(pass, 4).count, PagesTake(model, 7 * kRows, 11 * kRows));
    // Where its first wanted row is in the last chunk, the three lists of these begin there.
    const int64_t lists = want == WantRows::kLast ? 3 : 0;
    EXPECT_LE(reader.Go(pass, 1).count, PagesTake(model, 11 * kRows, 12 * kRows) + lists);
    ASSERT_TRUE(pass.done());
    reader.Write(1);
    EXPECT_LE(reader.Write(20).count, PagesTake(model, 12 * kRows + 1, 12 * kRows + 21));
  }
}

class Steady : public ::testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    if (testing::DeviceUnderTest() != Device::kCpu) {
      GTEST_SKIP() << "counts the host's memory, where the reference has the scratch of each call "
                      "and CUDA copies of the lists that it is told";
    }
  }
  const Exec exec_ = ExecOn(testing::DeviceUnderTest());
};

// Both precisions that the CPU has; where it has no products of bf16 they are one.
TEST_P(Steady, ChunksAndStepsAllocateNothing) {
  for (const Precision precision : {Precision::kF32, Precision::kBF16}) {
    SCOPED_TRACE(static_cast<int>(precision));
    const Exec exec = ExecOn(Device::kCpu, 1, precision);
    const testing::Shape shape{.kind = GetParam()};
    testing::RandomTensors tensors(1, shape.dtype);
    ExpectSteady(Model(exec, MakeConfig(shape), tensors), exec);
  }
}

// A pass that begins takes its lists anew: as many for any number of layers, one more for each
// chunk, and none of more than two times the 16 bytes for each row of a chunk, as lists double.
TEST_P(Steady, APassAllocatesListsAlone) {
  const auto read = [&](int64_t n_layer, int64_t chunks) {
    const Model model = MakeModel({.kind = GetParam(), .n_layer = n_layer});
    Reader reader(model, exec_, chunks, WantRows::kAll);
    const Allocations cold = reader.Read();
    Allocations got = reader.Read();
    EXPECT_LT(got.count, cold.count);
    got.count -= PagesTake(model, chunks * kRows, 2 * chunks * kRows);
    return got;
  };
  const Allocations few = read(4, 4), deep = read(8, 4), together = read(4, 8);
  EXPECT_LE(deep.count, few.count);
  EXPECT_LE(together.count, few.count + 4 + 1);  // the list of chunks doubles
  if (MakeModel({.kind = GetParam()}).state_layout().grows()) return;
  for (const Allocations& pass : {few, deep, together}) EXPECT_LE(pass.largest, 2 * 16 * kRows);
}

INSTANTIATE_TEST_SUITE_P(Kinds, Steady, ::testing::ValuesIn(testing::kKinds),
                         [](const auto& info) { return testing::KindName(info.param); });

// The models that ship, whose products are as large as those that people run.
class SteadyShipped : public ::testing::TestWithParam<std::tuple<std::string, WeightsAs>> {};

TEST_P(SteadyShipped, ChunksAndStepsAllocateNothing) {
  if (testing::DeviceUnderTest() != Device::kCpu) GTEST_SKIP() << "counts the host's memory";
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "takes minutes in a build with AddressSanitizer, where the small models suffice";
#endif
  const auto& [name, weights] = GetParam();
  const auto path = std::filesystem::path(PITH_SOURCE_DIR) / "models" / name;
  if (!std::filesystem::exists(path / "model.safetensors")) {
    GTEST_SKIP() << path << " is not unpacked; make models does it";
  }
  for (const Precision precision : {Precision::kF32, Precision::kBF16}) {
    SCOPED_TRACE(static_cast<int>(precision));
    const Exec exec = ExecOn(Device::kCpu, 1, precision);
    ExpectSteady(LoadModel(path, exec, /*verify_finite=*/false, weights).model, exec);
  }
}

std::string NameOf(const ::testing::TestParamInfo<SteadyShipped::ParamType>& info) {
  constexpr const char* kWeights[] = {"Stored", "Int8", "Int4"};
  const auto& [name, weights] = info.param;
  return std::string(name.ends_with("1") ? "Mamba1" : "Mamba2") +
         kWeights[static_cast<size_t>(weights)];
}

INSTANTIATE_TEST_SUITE_P(Models, SteadyShipped,
                         ::testing::Combine(::testing::Values("pith-13m-mamba1", "pith-27m-mamba2"),
                                            ::testing::Values(WeightsAs::kStored, WeightsAs::kInt8,
                                                              WeightsAs::kInt4)),
                         NameOf);

}  // namespace
}  // namespace pith
