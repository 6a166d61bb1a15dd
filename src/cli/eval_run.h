// What the verbs share that score into a journal: their directory, and how Ctrl-C ends them.
#ifndef PITH_CLI_EVAL_RUN_H_
#define PITH_CLI_EVAL_RUN_H_

#include <filesystem>
#include <functional>
#include <string_view>
#include <vector>

#include "cli/io.h"
#include "eval/journal.h"
#include "eval/runner.h"

namespace pith::cli {

// With its parents. Throws kIo.
void MakeDirectory(const std::filesystem::path& directory);

// Makes the file's directory and sees that it can be written. Throws kIo.
void PrepareFile(const std::filesystem::path& path);

// A file that appears whole or not at all.
void WriteWhole(const std::filesystem::path& path, std::string_view text);

// Runs `evaluate`; where it was cancelled, clears the bar and throws kCancelled with what the
// journal holds and how to go on (`fresh`: the command had --fresh).
std::vector<EvalRow> Resumable(ProgressBar& bar, const Journal& journal, bool fresh,
                               const std::function<std::vector<EvalRow>()>& evaluate);

}  // namespace pith::cli

#endif  // PITH_CLI_EVAL_RUN_H_
