// A site with its own activations, and configurations of published models.
#ifndef PITH_TESTS_REDUCE_TEST_SITE_H_
#define PITH_TESTS_REDUCE_TEST_SITE_H_

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "core/error.h"
#include "model/facts.h"
#include "ops/backend.h"
#include "pith/reduction_spec.h"
#include "reduce/policy.h"
#include "reduce/reduction.h"
#include "reduce/registry.h"
#include "tests/device.h"
#include "tests/shared_memory.h"

namespace pith::test {

constexpr int kWidth = 16;

// Features whose cosines are exact in f32 and in double: rows of 0, 1, 4 or 16 entries ±k, with
// norms k, 2k and 4k, so that unit rows hold powers of two. Importances are few small integers.
// Both therefore tie often.
struct TestSite {
  TestSite(int64_t rows, uint64_t seed)
      : importance(rows), features(rows * kWidth, 0.0f), positions(rows) {
    std::mt19937_64 rng(seed);
    for (float& s : importance) s = static_cast<float>(rng() % 8);
    for (int64_t r = 0; r < rows; ++r) {
      constexpr int kEntries[] = {0, 1, 4, 4, 16, 16};
      const int entries = kEntries[rng() % 6];
      const float size = static_cast<float>(1 + rng() % 4);
      std::vector<int> columns(kWidth);
      std::iota(columns.begin(), columns.end(), 0);
      std::shuffle(columns.begin(), columns.end(), rng);
      for (int i = 0; i < entries; ++i) {
        features[r * kWidth + columns[i]] = rng() % 2 ? size : -size;
      }
    }
    std::iota(positions.begin(), positions.end(), 0);
    for (int64_t r = 0; r < rows; ++r) sizes.push_back(static_cast<float>(1 + rng() % 4));
  }

  SiteView View(Device device, int threads, int64_t protected_tail, int layer = 5) const {
    const auto rows = static_cast<int64_t>(positions.size());
    SiteView view;
    view.layer = layer;
    view.rows = rows;
    view.positions = positions;
    view.importance = importance;
    view.features = {features.data(), rows, kWidth};
    view.sizes = sizes;
    view.protected_tail = protected_tail;
    view.exec = ExecOn(device, threads);
    return view;
  }

  std::vector<float> importance;
  testing::Shared<float> features;
  std::vector<int32_t> positions;
  std::vector<float> sizes;
};

// Every method, and its modes that plan in another way.
inline std::vector<std::string> AllSpecs() {
  std::vector<std::string> specs = {"evit:mode=original",
                                    "evit:mode=published",
                                    "pumer:mode=original",
                                    "pumer:mode=published",
                                    "utrc:q-residual=1,q-hidden=0",
                                    "utrc:causal=content,window=7",
                                    "tome:causal=content",
                                    "ltmp:causal=content,window=3",
                                    "utrc-published:hidden=prune,residual=hybrid",
                                    "utrc-published:hidden=prune,residual=prune",
                                    "span-drop:score=delta",
                                    "span-drop:score=random",
                                    "span-drop:span=5,first=0"};
  for (const Method& method : Methods()) {
    if (method.removal() != nullptr) specs.emplace_back(method.name);
  }
  return specs;
}

inline const RemovalMethod& RemovalOf(const std::string& spec) {
  const RemovalMethod* const removal = FindMethod(ReductionSpec::Parse(spec).method).removal();
  PITH_CHECK(removal != nullptr);
  return *removal;
}

inline PolicySetup MakeSetup(const std::string& method,
                             const std::map<std::string, std::string>& params) {
  return RemovalOf(method).make(ParamReader(method, params));
}

inline PolicySetup MakeSetup(const std::string& spec) {
  const ReductionSpec parsed = ReductionSpec::Parse(spec);
  return MakeSetup(parsed.method, parsed.params);
}

inline Limit LimitOf(const std::string& spec) { return RemovalOf(spec).limit; }

inline pith::Mamba2Config Mamba2Layer(int64_t d_model) {
  pith::Mamba2Config layer;
  layer.d_inner = 2 * d_model;
  layer.d_state = 128;
  layer.d_conv = 4;
  layer.head_dim = 64;
  layer.n_heads = layer.d_inner / layer.head_dim;
  layer.n_groups = 1;
  layer.chunk_size = 256;
  return layer;
}

inline pith::Mamba1Config Mamba1Layer(int64_t d_model) {
  pith::Mamba1Config layer;
  layer.d_inner = 2 * d_model;
  layer.d_state = 16;
  layer.d_conv = 4;
  layer.dt_rank = d_model / 16;
  return layer;
}

inline ModelConfig ModelOf(const LayerConfig& layer, int64_t d_model, int64_t n_layer,
                           int64_t vocab_size) {
  ModelConfig c;
  c.d_model = d_model;
  c.vocab_size = vocab_size;
  c.layers.assign(n_layer, layer);
  return c;
}

inline ModelConfig Mamba2Model(int64_t d_model, int64_t n_layer) {
  return ModelOf(Mamba2Layer(d_model), d_model, n_layer, 50288);
}

inline ModelConfig Mamba1Model(int64_t d_model, int64_t n_layer) {
  return ModelOf(Mamba1Layer(d_model), d_model, n_layer, 50280);
}

inline ModelFacts Mamba2Facts(int64_t d_model, int64_t n_layer) {
  return FactsOf(Mamba2Model(d_model, n_layer));
}

inline ModelFacts Mamba1Facts(int64_t d_model, int64_t n_layer) {
  return FactsOf(Mamba1Model(d_model, n_layer));
}

// What `text` is for any length.
inline CompiledReduction Compile(const std::string& text, const ModelFacts& facts) {
  return CompileReduction(ReductionSpec::Parse(text), facts).impl().Compiled();
}

// The message of the pith::Error that `fn` throws; empty if it throws none.
inline std::string MessageOf(const std::function<void()>& fn) {
  try {
    fn();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace pith::test

#endif  // PITH_TESTS_REDUCE_TEST_SITE_H_
