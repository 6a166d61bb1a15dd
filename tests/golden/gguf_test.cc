// GGUF files in every type that pith reads, against their own weights in float64, and llama.cpp on
// the same files (tools/golden/gguf_logits.py). Each file is drawn from integers by the generator's
// rules, so none is stored. The bound is twice the peer's own error: llama.cpp's on the same file
// where the weights are quantised, which it multiplies with quantised activations; for F32, F16 and
// BF16, whose weights pith widens exactly, llama.cpp's in f32, or in models with attention that of
// a plain f32 forward if it is larger.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/file.h"
#include "core/json.h"
#include "model/model.h"
#include "tests/device.h"
#include "tests/golden/batch_logits.h"
#include "tests/golden/gguf_models.h"
#include "tests/load/checkpoint_builder.h"

namespace pith {
namespace {

TEST(GgufGolden, EveryTypeIsWithinThePeersError) {
  const auto path = std::filesystem::path(PITH_SOURCE_DIR) / "tests/golden/gguf/expected.json";
  const Json expected = ParseJson(ReadFile(path), path.string());
  const auto ids = expected["ids"].get<std::vector<int32_t>>();
  ASSERT_EQ(expected["cases"].size(), 35u);
  const testing::TempDir dir;
  for (const Json& one : expected["cases"]) {
    const testing::GgufModelType type = testing::FindGgufModelType(one["type"]);
    dir.Write("model.gguf", testing::GgufModelBytes(one["model"], type));
    for (const Device device : testing::ReferenceAndTested()) {
      SCOPED_TRACE(StrCat(one["model"].get<std::string>(), ", ", type.name, ", ",
                          testing::DeviceName(device)));
      const Exec exec = ExecOn(device, 2);
      const Model model = LoadModel(dir.path() / "model.gguf", exec).model;
      const testing::Rows logits = testing::BatchLogits(model, exec, {ids})[0];
      const char* const peer = type.block > 1 ? "peer_error" : "peer_error_f32";
      const double bound = 2 * one[peer].get<double>();
      const size_t first = logits.size() - one["logits"].size();
      for (size_t r = first; r < logits.size(); ++r) {
        for (size_t i = 0; i < logits[r].size(); ++i) {
          ASSERT_NEAR(logits[r][i], one["logits"][r - first][i].get<double>(), bound)
              << "row " << r << ", id " << i;
        }
      }
    }
  }
}

}  // namespace
}  // namespace pith
