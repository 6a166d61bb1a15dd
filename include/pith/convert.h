// A model's files as another kind of file.
#ifndef PITH_CONVERT_H_
#define PITH_CONVERT_H_

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "pith/error.h"
#include "pith/options.h"

namespace pith {

struct ConvertOptions {
  std::string to = "gguf";  // or "safetensors"
  // What matrices are stored as: "stored" keeps what they are; else one of ConvertWeights(to).
  // Vectors are f32. In GGUF, rows that are no whole blocks of a quantised type become f16. As
  // safetensors, matrices are quantised as EngineOptions::weights quantises them, and "stored" is
  // no choice.
  std::string weights = "stored";
  int threads = 0;  // 0: all processors
};

struct ConvertReport {
  int64_t bytes = 0;  // of the file that holds the weights
  int64_t parameters = 0;
  std::map<std::string, int64_t> stored_types;  // with counts of tensors
  bool tokenizer = false;                       // whether it is in the file
};

// What ConvertOptions::weights may be beside "stored".
std::vector<std::string> ConvertWeights(const std::string& to);

// Writes the model at `model`, a directory or a GGUF file, with its tokenizer (or the file
// `tokenizer`) as one GGUF file, or the model of a directory as a directory of safetensors that is
// new or empty: `output`, which appears whole. Throws pith::Error: kUnsupported for
// what such a file cannot say, so that no model changes on the way.
ConvertReport Convert(const std::filesystem::path& model, const std::filesystem::path& tokenizer,
                      const std::filesystem::path& output, const ConvertOptions& options = {},
                      const RunControl& control = {});

}  // namespace pith

#endif  // PITH_CONVERT_H_
