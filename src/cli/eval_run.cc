#include "cli/eval_run.h"

#include "core/error.h"

namespace pith::cli {

void MakeDirectory(const std::filesystem::path& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  Require(!error, ErrorCode::kIo, directory.string(), ": cannot create: ", error.message());
}

void PrepareFile(const std::filesystem::path& path) {
  if (path.has_parent_path()) MakeDirectory(path.parent_path());
  CheckWritable(path.string());
}

void WriteWhole(const std::filesystem::path& path, std::string_view text) {
  Output file(path.string());
  file.Write(text);
  file.Commit();
}

std::vector<EvalRow> Resumable(ProgressBar& bar, const Journal& journal, bool fresh,
                               const std::function<std::vector<EvalRow>()>& evaluate) {
  try {
    return evaluate();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kCancelled) throw;
    bar.Clear();
    Throw(ErrorCode::kCancelled, "cancelled; ", journal.path().string(), " holds ", journal.size(),
          " scored items: the same command", fresh ? " without --fresh" : "",
          " goes on from there");
  }
}

}  // namespace pith::cli
