#include "eval/compare.h"

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <numeric>
#include <sstream>
#include <utility>

#include "core/error.h"
#include "eval/peak_memory.h"

namespace pith {
namespace {

double Mean(const std::vector<double>& values) {
  if (values.empty()) return 0;
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

// The scores of the last `count` tokens of a continuation.
struct AnswerScore {
  int64_t right = 0;
  bool all = false;
};
AnswerScore ScoreAnswer(const ScoreResult& result, int64_t count) {
  AnswerScore score;
  PITH_CHECK(count <= static_cast<int64_t>(result.token_logprobs.size()));
  for (size_t t = result.token_logprobs.size() - count; t < result.token_logprobs.size(); ++t) {
    score.right += result.token_logprobs[t].id == result.token_logprobs[t].top_id ? 1 : 0;
  }
  score.all = score.right == count;
  return score;
}

// Progress of one of two parts of the work, by their share of tokens.
RunControl PartOf(const RunControl& control, double begin, double share) {
  RunControl part{.cancel = control.cancel, .progress = nullptr};
  if (control.progress) {
    part.progress = [&control, begin, share](double done) {
      control.progress(begin + share * done);
    };
  }
  return part;
}

OrderedJson ByDepth(const std::vector<double>& answers, const std::vector<double>& depths) {
  OrderedJson out = OrderedJson::array();
  for (int third = 0; third < 3; ++third) {
    std::vector<double> here;
    for (size_t i = 0; i < answers.size(); ++i) {
      if (std::clamp(static_cast<int>(depths[i] * 3), 0, 2) == third) here.push_back(answers[i]);
    }
    out.push_back({{"n", here.size()}, {"answers_right", Mean(here)}});
  }
  return out;
}

}  // namespace

double CompareRow::MeanNll() const { return Mean(nll); }
double CompareRow::AnswersRight() const { return Mean(answers); }
double CompareRow::AnswerTokensRight() const {
  return answer_tokens > 0
             ? static_cast<double>(answer_tokens_right) / static_cast<double>(answer_tokens)
             : 0;
}

Paired PairedDifference(const std::vector<double>& values, const std::vector<double>& base) {
  PITH_CHECK(values.size() == base.size());
  std::vector<double> differences;
  for (size_t i = 0; i < values.size(); ++i) differences.push_back(values[i] - base[i]);
  Paired paired{.mean = Mean(differences), .standard_error = 0};
  const auto n = static_cast<double>(differences.size());
  if (n < 2) return paired;
  double squares = 0;
  for (const double d : differences) squares += (d - paired.mean) * (d - paired.mean);
  paired.standard_error = std::sqrt(squares / (n - 1) / n);
  return paired;
}

CompareRow Compare(const Engine& engine, const CompareSet& set, const Reduction& reduction,
                   const RunControl& control) {
  ResetPeakMemory();
  CompareRow row{.reduce = reduction.text()};
  ScoreStats window_stats;
  ScoreStats recall_stats;
  const double windows = static_cast<double>(set.windows.size());
  const double contexts = std::max(1.0, static_cast<double>(set.recall.items.size()) / 10);
  const double share = windows / (windows + contexts);

  ScoreOptions options{.reduction = reduction};
  options.control = PartOf(control, 0, share);
  const auto scored = engine.Score(set.windows, options, &window_stats);
  options.control = PartOf(control, share, 1 - share);
  options.logprobs = true;
  const auto asked = engine.Score(set.recall.items, options, &recall_stats);
  row.peak_memory = PeakMemory();

  for (const ScoreResult& result : scored) {
    row.nll.push_back(-result.logprob / static_cast<double>(result.tokens));
    row.realised += result.realised / windows;
    row.rows_left += static_cast<double>(result.context_rows) /
                     static_cast<double>(result.context_tokens) / windows;
  }
  for (size_t i = 0; i < asked.size(); ++i) {
    const AnswerScore score = ScoreAnswer(asked[i], set.recall.answer_tokens[i]);
    row.answers.push_back(score.all ? 1 : 0);
    row.answer_tokens += set.recall.answer_tokens[i];
    row.answer_tokens_right += score.right;
  }
  row.tokens_per_second =
      static_cast<double>(window_stats.context_tokens + recall_stats.context_tokens) /
      (window_stats.context_seconds + recall_stats.context_seconds);
  return row;
}

std::string FormatTable(const std::vector<CompareRow>& rows) {
  std::ostringstream out;
  size_t width = 9;
  for (const CompareRow& row : rows) width = std::max(width, row.reduce.size());
  const auto name = [&](const std::string& text) {
    out << std::left << std::setw(static_cast<int>(width)) << text << std::right;
  };
  name("reduction");
  out << "  realised  tokens left  tail NLL    difference ± s.e.   answers  ans. tokens"
         "   tok/s     ×  peak MiB\n";
  for (const CompareRow& row : rows) {
    const Paired paired = PairedDifference(row.nll, rows[0].nll);
    name(row.reduce);
    out << std::fixed << std::setprecision(1) << std::setw(9) << 100 * row.realised << "%"
        << std::setw(12) << 100 * row.rows_left << "%" << std::setprecision(4) << std::setw(10)
        << row.MeanNll() << std::showpos << std::setw(12) << paired.mean << std::noshowpos << " ± "
        << std::setw(6) << paired.standard_error << std::setprecision(1) << std::setw(9)
        << 100 * row.AnswersRight() << "%" << std::setw(12) << 100 * row.AnswerTokensRight() << "%"
        << std::setprecision(0) << std::setw(8) << row.tokens_per_second << std::setprecision(2)
        << std::setw(6) << row.tokens_per_second / rows[0].tokens_per_second;
    if (row.peak_memory) {
      out << std::setprecision(0) << std::setw(10)
          << static_cast<double>(*row.peak_memory) / (1 << 20);
    } else {
      out << std::setw(10) << "unknown";
    }
    out << "\n";
  }
  return out.str();
}

OrderedJson RowsToJson(const std::vector<CompareRow>& rows, const std::vector<double>& depths) {
  OrderedJson out = OrderedJson::array();
  for (const CompareRow& row : rows) {
    const Paired nll = PairedDifference(row.nll, rows[0].nll);
    const Paired answers = PairedDifference(row.answers, rows[0].answers);
    out.push_back({{"reduce", row.reduce},
                   {"realised", row.realised},
                   {"rows_left", row.rows_left},
                   {"windows", row.nll.size()},
                   {"nll", row.MeanNll()},
                   {"nll_difference", {{"mean", nll.mean}, {"standard_error", nll.standard_error}}},
                   {"nll_per_window", row.nll},
                   {"questions", row.answers.size()},
                   {"answers_right", row.AnswersRight()},
                   {"answers_difference",
                    {{"mean", answers.mean}, {"standard_error", answers.standard_error}}},
                   {"answers_by_depth", ByDepth(row.answers, depths)},
                   {"answer_tokens", row.answer_tokens},
                   {"answer_tokens_right", row.AnswerTokensRight()},
                   {"tokens_per_second", row.tokens_per_second},
                   {"peak_memory_bytes",
                    row.peak_memory ? OrderedJson(*row.peak_memory) : OrderedJson(nullptr)}});
  }
  return out;
}

}  // namespace pith
