#include "eval/reproduce/models.h"

#include <algorithm>

#include "core/error.h"

namespace pith {
namespace {

std::string KindName(std::string_view kind) { return kind == kMamba1Kind ? "Mamba-1" : "Mamba-2"; }

std::string Join(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
  return out;
}

// Only of the names that the checkpoints have: nothing under the name is no model.
bool Holds(const std::filesystem::path& directory) {
  std::error_code error;
  return std::filesystem::exists(directory / "config.json", error);
}

std::vector<std::string> TablesOf(const PaperTables& paper, const std::vector<std::string>& tables,
                                  std::string_view model) {
  std::vector<std::string> out;
  for (const std::string& table : tables) {
    if (!paper.Rows(table, model).empty()) out.push_back(table);
  }
  return out;
}

std::filesystem::path TokenizerPath(const std::filesystem::path& directory,
                                    const std::filesystem::path& data) {
  std::error_code error;
  if (std::filesystem::exists(directory / "tokenizer.json", error)) return {};
  return data / "tokenizer/gpt-neox-20b.tokenizer.json.xz";
}

}  // namespace

std::string DirectoryName(const std::filesystem::path& directory) {
  const std::filesystem::path path = std::filesystem::absolute(directory).lexically_normal();
  return (path.has_filename() ? path : path.parent_path()).filename().string();
}

std::string MissingModel::Describe() const {
  std::string places;
  for (const auto& path : looked_for) {
    places += (places.empty() ? "" : " and ") + (path / "config.json").string();
  }
  return StrCat(name, " (", Join(tables), ") is missing: looked for ", places,
                ". Get state-spaces/", name,
                " from Hugging Face: config.json and the weights; put the tokenizer.json of "
                "EleutherAI/gpt-neox-20b beside them, or leave it out to use the shipped copy");
}

ReproduceModels FindPaperModels(const PaperTables& paper, const std::vector<std::string>& tables,
                                const std::filesystem::path& directory,
                                const std::filesystem::path& data) {
  ReproduceModels out;
  for (const PaperModel& model : PaperModels()) {
    const std::string name(model.name);
    const std::vector<std::string> own = TablesOf(paper, tables, name);
    if (own.empty()) continue;
    const std::vector<std::filesystem::path> places = {directory / name,
                                                       directory / "state-spaces" / name};
    const auto place = std::ranges::find_if(places, Holds);
    if (place == places.end()) {
      out.missing.push_back({name, {std::string(model.kind), model.n_layer}, own, places});
      continue;
    }
    const ModelShape shape = ReadModelShape(*place);
    Require(shape.kind == model.kind && shape.n_layer == model.n_layer, ErrorCode::kInvalidArgument,
            (*place / "config.json").string(), ": got ", KindName(shape.kind), " with ",
            shape.n_layer, " layers, expected the checkpoint ", name, ": ", KindName(model.kind),
            " with ", model.n_layer, " layers (any other model goes with --model)");
    out.found.push_back({name, *place, TokenizerPath(*place, data), true, shape, own});
  }
  return out;
}

ReproduceModels OpenModels(const std::vector<std::string>& tables,
                           const std::vector<std::string>& directories) {
  ReproduceModels out;
  for (const std::string& directory : directories) {
    ReproduceModel model{.name = DirectoryName(directory), .directory = directory, .tokenizer = {}};
    Require(std::ranges::find(out.found, model.name, &ReproduceModel::name) == out.found.end(),
            ErrorCode::kInvalidArgument, "--model: got two directories of the name ", model.name,
            ", expected names that differ");
    model.shape = ReadModelShape(directory);
    std::ranges::copy_if(tables, std::back_inserter(model.tables), [&](const std::string& table) {
      return TableFits(table, model.shape.kind);
    });
    Require(!model.tables.empty(), ErrorCode::kInvalidArgument, directory, ": got ", Join(tables),
            " for a ", KindName(model.shape.kind),
            " model, expected table1 for Mamba-2 and table2 ", "for Mamba-1");
    out.found.push_back(std::move(model));
  }
  return out;
}

}  // namespace pith
