// What the numbers of an evaluation depend on, as a flat object: two runs with equal fingerprints
// give equal numbers for the same task, reduction and item.
#ifndef PITH_EVAL_FINGERPRINT_H_
#define PITH_EVAL_FINGERPRINT_H_

#include <filesystem>

#include "core/json.h"
#include "eval/task.h"
#include "pith/engine.h"

namespace pith {

// Reads config and tokenizer whole, and of weight files the size, the first and the last MiB: a
// checkpoint of many gigabytes costs no second pass. Threads, rows_per_chunk, batches and directory
// names change no number and are left out; the source revision too, which does not tell what an
// edited tree was built from: the version stands for the code. Left out as well is
// TaskOptions::limit but in scoring mode `published-tail`, where results depend on all items of the
// task.
OrderedJson Fingerprint(const Engine& engine, const EngineOptions& engine_options,
                        const std::filesystem::path& model, const std::filesystem::path& tokenizer,
                        const TaskOptions& task, ScoringMode mode);

}  // namespace pith

#endif  // PITH_EVAL_FINGERPRINT_H_
