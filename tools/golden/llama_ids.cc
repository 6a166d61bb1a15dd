// Prints the ids that llama.cpp gives to texts: a line of ids for each line of standard input, a
// text's bytes in hexadecimal. Special tokens are read as such and none is added. Built beside a
// llama.cpp tree (tools/golden/gguf_pieces.py says how); no part of pith.
//   llama_ids MODEL.gguf < TEXTS
#include <cstdio>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "llama.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  llama_model_params params = llama_model_default_params();
  params.vocab_only = true;
  llama_model* const model = llama_model_load_from_file(argv[1], params);
  if (model == nullptr) return 3;
  const llama_vocab* const vocab = llama_model_get_vocab(model);
  for (std::string line; std::getline(std::cin, line);) {
    std::string text;
    for (size_t i = 0; i + 1 < line.size(); i += 2) {
      text += static_cast<char>(std::stoi(line.substr(i, 2), nullptr, 16));
    }
    std::vector<llama_token> ids(text.size() + 16);
    try {
      const int count = llama_tokenize(vocab, text.data(), static_cast<int>(text.size()),
                                       ids.data(), static_cast<int>(ids.size()), false, true);
      if (count < 0) return 4;
      for (int i = 0; i < count; ++i) std::printf(i == 0 ? "%d" : " %d", ids[i]);
    } catch (
        const std::out_of_range&) {  // a character without a token, in a vocabulary without bytes
      std::printf("none");
    }
    std::printf("\n");
  }
  return 0;
}
