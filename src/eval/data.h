// Texts and questions to measure reductions on.
#ifndef PITH_EVAL_DATA_H_
#define PITH_EVAL_DATA_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "pith/engine.h"

namespace pith {

// Documents separated by a line `<|endoftext|>`; plain or .xz.
std::vector<std::string> ReadDocuments(const std::filesystem::path& path);

// A text with facts hidden in it, and questions about them (data/README.md).
struct RecallItem {
  struct Question {
    std::string prompt;
    std::string answer;  // with its leading blank
    double depth = 0;    // where the fact stands in the context, 0 … 1
  };
  std::string context;
  std::vector<Question> questions;
};

// One JSON object a line; plain or .xz. Throws kCorruptData naming file, line and field.
std::vector<RecallItem> ReadRecall(const std::filesystem::path& path);

// Each question alone after its context: the text read is context + prompt + answer, byte for byte.
struct RecallSet {
  std::vector<ScoreItem> items;        // continuation: prompt and answer
  std::vector<int64_t> answer_tokens;  // the last ones of each continuation
  std::vector<double> depths;
};
RecallSet MakeRecall(const Engine& engine, const std::vector<RecallItem>& contexts);

}  // namespace pith

#endif  // PITH_EVAL_DATA_H_
