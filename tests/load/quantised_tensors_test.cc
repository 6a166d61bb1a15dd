// Quantised matrices as they are made in memory and as files hold them: the same numbers, and every
// damage is an error that names the tensor.
#include "load/quantised_tensors.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "core/blocks.h"
#include "core/error.h"
#include "load/checkpoint.h"
#include "load/drawn_tensors.h"
#include "load/quantised_files.h"
#include "tests/load/checkpoint_builder.h"

namespace pith {
namespace {

class OneMatrix : public TensorSource {
 public:
  OneMatrix(int64_t rows, int64_t cols) : values(rows * cols) {
    for (size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<float>(i));
  }
  StoredMatrix Matrix(std::string_view /*name*/, int64_t rows, int64_t cols) override {
    return {dtype, values.data(), rows, cols};
  }
  std::vector<float> Vector(std::string_view, const std::vector<int64_t>&) override { return {}; }
  void Drop(const StoredMatrix& /*matrix*/) override { ++dropped; }
  void DropPart(const StoredMatrix& rows) override { part_rows += rows.rows; }
  std::shared_ptr<const void> storage() const override { return nullptr; }

  std::vector<float> values;
  DType dtype = DType::kF32;
  int dropped = 0;
  int64_t part_rows = 0;
};

constexpr const char* kIn = "backbone.layers.0.mixer.in_proj.weight";
constexpr const char* kX = "backbone.layers.0.mixer.x_proj.weight";
constexpr const char* kDt = "backbone.layers.0.mixer.dt_proj.weight";
constexpr const char* kTable = "backbone.embedding.weight";

DType TypeOf(WeightsAs as, bool tied, const char* name) {
  OneMatrix inner(3, 64);
  QuantisedTensors tensors(inner, as, tied, 1);
  return tensors.Matrix(name, 3, 64).dtype;
}

TEST(QuantisedTensors, QuantisesWhatTheContractSays) {
  EXPECT_EQ(TypeOf(WeightsAs::kStored, true, kIn), DType::kF32);
  EXPECT_EQ(TypeOf(WeightsAs::kInt8, true, kIn), DType::kI8);
  EXPECT_EQ(TypeOf(WeightsAs::kInt4, true, kIn), DType::kQ4_0);
  for (const WeightsAs as : {WeightsAs::kInt8, WeightsAs::kInt4}) {
    EXPECT_EQ(TypeOf(as, true, kX), DType::kI8);
    EXPECT_EQ(TypeOf(as, true, kDt), DType::kF32);
    EXPECT_EQ(TypeOf(as, true, kTable), DType::kI8);
    EXPECT_EQ(TypeOf(as, false, kTable), DType::kF32);
    EXPECT_EQ(TypeOf(as, false, "lm_head.weight"), DType::kI8);
  }
}

TEST(QuantisedTensors, TypesOfTransformersMatrices) {
  const std::string mixer = "backbone.layers.3.mixer.";
  for (const char* name : {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj",
                           "down_proj", "shared.up_proj", "experts.12.down_proj"}) {
    const std::string whole = mixer + name + ".weight";
    EXPECT_EQ(TypeOf(WeightsAs::kInt8, false, whole.c_str()), DType::kI8) << name;
    EXPECT_EQ(TypeOf(WeightsAs::kInt4, false, whole.c_str()), DType::kQ4_0) << name;
  }
  EXPECT_EQ(TypeOf(WeightsAs::kInt4, false, (mixer + "router.weight").c_str()), DType::kF32);
}

TEST(QuantisedTensors, ErrorsAreHalfAStepAndTheSourceIsGivenBack) {
  OneMatrix inner(2500, 32);
  QuantisedTensors tensors(inner, WeightsAs::kInt8, true, 2);
  const StoredMatrix matrix = tensors.Matrix(kIn, 2500, 32);
  std::vector<float> row(32);
  for (int64_t r = 0; r < 2500; ++r) {
    WidenRow(matrix, r, row);
    for (int64_t k = 0; k < 32; ++k) {
      // Half a step, and what the quotient and the product are rounded by.
      EXPECT_LE(std::abs(row[k] - inner.values[r * 32 + k]),
                matrix.scales[r] * (0.5 + 127 * 0x1p-23));
    }
  }
  EXPECT_EQ(inner.dropped, 1);
  EXPECT_EQ(inner.part_rows, 2500);
  tensors.Drop(matrix);
  EXPECT_EQ(inner.dropped, 1);
}

TEST(QuantisedTensors, ErrorsNameTheTensor) {
  const auto error = [](WeightsAs as, int64_t cols, const std::function<void(OneMatrix&)>& change) {
    return testing::ErrorOf([&] {
      OneMatrix inner(3, cols);
      change(inner);
      QuantisedTensors tensors(inner, as, true, 1);
      tensors.Matrix(kIn, 3, cols);
    });
  };
  const auto holds = [](const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
    EXPECT_NE(text.find(kIn), std::string::npos) << text;
  };
  for (const WeightsAs as : {WeightsAs::kInt8, WeightsAs::kInt4}) {
    holds(error(as, 32, [](OneMatrix& m) { m.values[40] = std::nanf(""); }), "row 1: got nan");
    holds(error(as, 32, [](OneMatrix& m) { m.values[70] = INFINITY; }), "row 2: got inf");
    holds(error(as, 256, [](OneMatrix& m) { m.dtype = DType::kQ4_K; }), "is q4_k in its file");
  }
  holds(error(WeightsAs::kInt4, 32, [](OneMatrix& m) { m.values[0] = 1e6f; }), "int4");
  holds(error(WeightsAs::kInt4, 48, [](OneMatrix&) {}), "has 48 columns");
}

TEST(QuantisedFiles, TakesItsConfigAndLeavesOthers) {
  const auto take = [](const std::string& text) {
    Json json = Json::parse(text);
    const bool taken = TakeQuantisationConfig(json, "config.json");
    EXPECT_NE(taken, json.contains("quantization_config"));
    return taken;
  };
  EXPECT_TRUE(take(R"({"quantization_config": {"quant_method": "pith", "version": 1}})"));
  EXPECT_FALSE(take(R"({"quantization_config": {"quant_method": "gptq", "version": 1}})"));
  const std::string error = testing::ErrorOf(
      [&] { take(R"({"quantization_config": {"quant_method": "pith", "version": 2}})"); });
  EXPECT_NE(error.find("quantization_config.version: got 2, expected 1"), std::string::npos);
}

}  // namespace
}  // namespace pith
