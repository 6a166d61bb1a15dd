// How fast a prompt is read and continued, dense and reduced: one JSON object on standard output.
// Reductions take turns within every repeat, so a machine whose speed drifts disturbs all alike;
// figures are medians, ratios are medians of the ratios within one repeat.
//
//   bench_prefill MODEL_DIR [tokens=2048] [repeats=5] [threads=0] [REDUCTION …]
//
// Token ids are drawn from a seed; weights may be random, since the work is the same.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "core/json.h"
#include "pith/engine.h"
#include "pith/version.h"

namespace {

struct Timing {
  std::vector<double> prefill;  // seconds, one a repeat
  std::vector<double> decode;   // seconds a step
  double realised = 0;
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

std::string Processor() {
  std::ifstream info("/proc/cpuinfo");
  std::string line;
  while (std::getline(info, line)) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

void RunOnce(const pith::Engine& engine, const std::vector<int32_t>& prompt,
             const std::string& reduce, Timing& timing) {
  constexpr int64_t kSteps = 32;
  pith::GenerateOptions options{.max_tokens = kSteps, .sampling = {.greedy = true}};
  options.stop_at_end_of_text = false;
  options.reduction = engine.Compile(reduce);
  const pith::GenerateResult result = engine.Generate(prompt, options);
  timing.prefill.push_back(result.prefill.seconds);
  timing.decode.push_back(result.decode_seconds / kSteps);
  timing.realised = result.prefill.realised;
}

int Run(const std::string& model, int64_t tokens, int repeats, int threads,
        const std::vector<std::string>& reductions) {
  const pith::Engine engine =
      pith::Engine::Load(model, {.threads = threads, .verify_weights = false},
                         std::filesystem::exists(model + "/tokenizer.json")
                             ? ""
                             : "data/tokenizer/gpt-neox-20b.tokenizer.json.xz");
  std::mt19937_64 random(1);
  std::vector<int32_t> prompt(tokens);
  // Ids below 8,000, which every vocabulary here holds.
  for (int32_t& id : prompt) id = static_cast<int32_t>(random() % 8000);
  std::vector<Timing> timings(reductions.size());
  for (int repeat = -1; repeat < repeats; ++repeat) {
    for (size_t i = 0; i < reductions.size(); ++i) {
      Timing warm_up;
      RunOnce(engine, prompt, reductions[i], repeat < 0 ? warm_up : timings[i]);
    }
  }
  pith::OrderedJson rows = pith::OrderedJson::array();
  for (size_t i = 0; i < reductions.size(); ++i) {
    std::vector<double> ratios;
    for (int r = 0; r < repeats; ++r) {
      ratios.push_back(timings[i].prefill[r] / timings[0].prefill[r]);
    }
    rows.push_back(
        {{"reduce", reductions[i]},
         {"realised", timings[i].realised},
         {"prefill_seconds", Median(timings[i].prefill)},
         {"prefill_tokens_per_second", static_cast<double>(tokens) / Median(timings[i].prefill)},
         {"time_beside_first", Median(ratios)},
         {"decode_tokens_per_second", 1 / Median(timings[i].decode)}});
  }
  std::cout
      << pith::OrderedJson{{"model", model},           {"description", engine.info().description},
                           {"processor", Processor()}, {"build", pith::BuildDescription()},
                           {"threads", threads},       {"tokens", tokens},
                           {"repeats", repeats},       {"rows", rows}}
             .dump(2)
      << "\n";
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: bench_prefill MODEL_DIR [tokens] [repeats] [threads] [REDUCTION ...]\n";
    return 2;
  }
  const auto number = [&](int i, int64_t fallback) {
    return argc > i ? std::strtoll(argv[i], nullptr, 10) : fallback;
  };
  std::vector<std::string> reductions = {"none"};
  for (int i = 5; i < argc; ++i) reductions.emplace_back(argv[i]);
  try {
    return Run(argv[1], std::max<int64_t>(1, number(2, 2048)),
               static_cast<int>(std::max<int64_t>(1, number(3, 5))), static_cast<int>(number(4, 0)),
               reductions);
  } catch (const pith::Error& error) {
    std::cerr << "bench_prefill: " << error.what() << "\n";
    return 1;
  }
}
