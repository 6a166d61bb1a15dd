// Blocks of a report from what the engine says became of each token.
#ifndef PITH_EVAL_REPORT_INSPECT_BLOCKS_H_
#define PITH_EVAL_REPORT_INSPECT_BLOCKS_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "eval/report/report.h"
#include "pith/engine.h"

namespace pith {

// Pieces of one text, cut anew: a character whose bytes several of them hold belongs whole to the
// first. Bytes that make no character stay where they are.
std::vector<std::string> WholeCharacters(std::span<const std::string> pieces);

// The text of each token, in whole characters.
std::vector<std::string> TokenTexts(const Engine& engine, std::span<const TokenFate> tokens);

// Rows: sites; columns: tenths of the context; values: the share of the tenth's tokens that are
// left after the site, mean over the contexts. No rows for methods without sites. Throws as
// Engine::Inspect does.
ReportMap KeptPositions(const Engine& engine, std::span<const std::vector<int32_t>> contexts,
                        const Reduction& reduction, const RunControl& control);

// Rows: layer and head; columns: chunks of the far region; 1 where skim wrote the pair's state.
ReportMap WrittenPairs(const InspectReport& report);

// The text with the fate of each token: in the end, or of those that enter the site with this index
// as they leave it.
ReportTokens FateTokens(const InspectReport& report, const Engine& engine,
                        std::optional<int> site = std::nullopt);

}  // namespace pith

#endif  // PITH_EVAL_REPORT_INSPECT_BLOCKS_H_
