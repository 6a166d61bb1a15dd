// The models to reproduce tables on: the paper's checkpoints where the user has them, or any other.
#ifndef PITH_EVAL_REPRODUCE_MODELS_H_
#define PITH_EVAL_REPRODUCE_MODELS_H_

#include <filesystem>
#include <string>
#include <vector>

#include "eval/reproduce/grid.h"
#include "eval/reproduce/paper_tables.h"

namespace pith {

// The directory's own name, whatever the path to it looks like.
std::string DirectoryName(const std::filesystem::path& directory);

struct ReproduceModel {
  std::string name;  // the paper's name, or the directory's
  std::filesystem::path directory;
  std::filesystem::path tokenizer;  // empty: the directory's own
  bool of_paper = false;
  ModelShape shape;
  std::vector<std::string> tables;  // to run on it, in the paper's order
};

struct MissingModel {
  std::string name;
  ModelShape shape;
  std::vector<std::string> tables;
  std::vector<std::filesystem::path> looked_for;

  // What is missing, where it was looked for and how to get it.
  std::string Describe() const;
};

struct ReproduceModels {
  std::vector<ReproduceModel> found;
  std::vector<MissingModel> missing;
};

// The models that `tables` are about, as NAME or state-spaces/NAME under `directory`. A checkpoint
// without a tokenizer.json gets the one in `data`. Throws kInvalidArgument where a config.json is
// of another kind or depth than the checkpoint of that name.
ReproduceModels FindPaperModels(const PaperTables& paper, const std::vector<std::string>& tables,
                                const std::filesystem::path& directory,
                                const std::filesystem::path& data);

// Any other models: the tables that fit each one's kind. Throws as ReadModelShape does, and
// kInvalidArgument where two directories have one name or no table fits a model.
ReproduceModels OpenModels(const std::vector<std::string>& tables,
                           const std::vector<std::string>& directories);

}  // namespace pith

#endif  // PITH_EVAL_REPRODUCE_MODELS_H_
