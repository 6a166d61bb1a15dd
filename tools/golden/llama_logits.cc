// Prints the logits that llama.cpp computes: all rows of one text, one line a row, as f32 with nine
// digits. Built beside a llama.cpp tree (tools/golden/gguf_logits.py says how); no part of pith.
//   llama_logits MODEL.gguf ID...
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "llama.h"

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  llama_model* const model = llama_model_load_from_file(argv[1], llama_model_default_params());
  if (model == nullptr) return 3;
  std::vector<llama_token> ids;
  for (int i = 2; i < argc; ++i) ids.push_back(std::atoi(argv[i]));
  llama_context_params params = llama_context_default_params();
  params.n_ctx = params.n_batch = params.n_ubatch = 2048;
  params.n_threads = params.n_threads_batch = 1;
  // As exact as llama.cpp can be: its default rounds keys and values to f16.
  params.type_k = params.type_v = GGML_TYPE_F32;
  params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
  llama_context* const context = llama_init_from_model(model, params);
  if (context == nullptr) return 4;
  llama_batch batch = llama_batch_init(static_cast<int>(ids.size()), 0, 1);
  for (size_t i = 0; i < ids.size(); ++i) {
    batch.token[i] = ids[i];
    batch.pos[i] = static_cast<int>(i);
    batch.n_seq_id[i] = 1;
    batch.seq_id[i][0] = 0;
    batch.logits[i] = 1;
  }
  batch.n_tokens = static_cast<int>(ids.size());
  if (llama_decode(context, batch) != 0) return 5;
  const int vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
  for (size_t i = 0; i < ids.size(); ++i) {
    const float* const row = llama_get_logits_ith(context, static_cast<int>(i));
    for (int j = 0; j < vocab; ++j) std::printf(j == 0 ? "%.9g" : " %.9g", row[j]);
    std::printf("\n");
  }
  return 0;
}
