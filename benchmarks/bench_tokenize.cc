// How fast text becomes ids, on one thread: one JSON object on standard output, with the best and
// the median of the repeats in MB (10^6 bytes of UTF-8) per second, and the best per second of CPU
// time, which a busy machine disturbs less.
//
//   bench_tokenize TOKENIZER_JSON TEXT_FILE [repeats=5] [whole|paragraphs|ids|each]
//
// whole: one Encode of all the text; paragraphs: one Encode per stretch between blank lines, in
// turn. Without timing, for tools/tokenizer_parity.py: ids prints {"ids": [...]}; each takes a file
// with a JSON array of texts and prints their ids, and the texts that these decode to.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "core/file.h"
#include "core/json.h"
#include "core/utf8.h"
#include "pith/error.h"
#include "tokenize/tokenizer.h"

namespace {

std::vector<std::string_view> Paragraphs(std::string_view text) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const size_t cut = std::min(text.find("\n\n"), text.size());
    if (cut > 0) parts.push_back(text.substr(0, cut));
    text.remove_prefix(std::min(cut + 2, text.size()));
  }
  return parts;
}

int Run(const std::string& tokenizer_path, const std::string& text_path, int repeats,
        const std::string& mode) {
  using Clock = std::chrono::steady_clock;
  const auto load_start = Clock::now();
  const auto tokenizer = pith::Tokenizer::FromFile(tokenizer_path);
  const std::chrono::duration<double> load = Clock::now() - load_start;
  const std::string text = pith::ReadFile(text_path);
  if (mode == "ids") {
    std::cout << pith::Json{{"ids", tokenizer.Encode(text)}} << "\n";
    return 0;
  }
  if (mode == "each") {
    pith::Json ids = pith::Json::array(), decoded = pith::Json::array();
    for (const pith::Json& item : pith::ParseJson(text, text_path)) {
      ids.push_back(tokenizer.Encode(item.get<std::string>()));
      decoded.push_back(
          pith::ReplaceInvalidUtf8(tokenizer.Decode(ids.back().get<std::vector<int32_t>>())));
    }
    std::cout << pith::Json{{"ids", ids}, {"texts", decoded}} << "\n";
    return 0;
  }
  const auto parts = mode == "paragraphs" ? Paragraphs(text) : std::vector<std::string_view>{text};
  std::vector<double> rates, cpu_rates;
  size_t bytes = 0, tokens = 0;
  for (int i = 0; i < repeats; ++i) {
    bytes = tokens = 0;
    const std::clock_t cpu_start = std::clock();
    const auto start = Clock::now();
    for (const std::string_view part : parts) {
      bytes += part.size();
      tokens += tokenizer.Encode(part).size();
    }
    const std::chrono::duration<double> spent = Clock::now() - start;
    const double cpu = static_cast<double>(std::clock() - cpu_start) / CLOCKS_PER_SEC;
    rates.push_back(static_cast<double>(bytes) / 1e6 / spent.count());
    cpu_rates.push_back(static_cast<double>(bytes) / 1e6 / cpu);
  }
  std::sort(rates.begin(), rates.end());
  std::cout << pith::Json{{"mode", mode},
                          {"bytes", bytes},
                          {"texts", parts.size()},
                          {"tokens", tokens},
                          {"load_seconds", load.count()},
                          {"best_mb_per_s", rates.back()},
                          {"best_mb_per_cpu_s",
                           *std::max_element(cpu_rates.begin(), cpu_rates.end())},
                          {"median_mb_per_s", rates[rates.size() / 2]}}
            << "\n";
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const int repeats = argc > 3 ? std::atoi(argv[3]) : 5;
  const std::string mode = argc > 4 ? argv[4] : "whole";
  if (argc < 3 || repeats < 1 ||
      (mode != "whole" && mode != "paragraphs" && mode != "ids" && mode != "each")) {
    std::cerr
        << "usage: bench_tokenize TOKENIZER_JSON TEXT_FILE [repeats] [whole|paragraphs|ids|each]\n";
    return 2;
  }
  try {
    return Run(argv[1], argv[2], repeats, mode);
  } catch (const pith::Error& e) {
    std::cerr << e.what() << "\n";
    return 1;
  }
}
