// What a site does to the rows of a stream: plans are made on the host, sequence by sequence, or
// where the rows lie.
#include <algorithm>
#include <utility>

#include "core/error.h"
#include "model/stream.h"
#include "ops/apply_plan.h"
#include "ops/scan_importance.h"
#include "reduce/edges.h"

namespace pith {

void Stream::ScoreContext(int64_t sequence, int layer) {
  if (needs_.importance_from != Source::kScan) return;
  const int64_t rows = lengths_[sequence];
  const ScanShape shape = model_.layer(layer).scan_shape();
  ScanImportance(exec_, {.kind = needs_.importance,
                         .shape = shape,
                         .a = model_.layer(layer).a(),
                         .rows = scan_.Rows(bases_[sequence], rows).Cols(0, shape.row_width()),
                         .tail = std::min(removal_->protected_tail, rows),
                         .importance = Scores(bases_[sequence], rows)});
}

void Stream::FetchImportance(int64_t sequence, int layer) {
  const int64_t rows = lengths_[sequence];
  importance_.resize(rows);
  if (needs_.importance_from == Source::kTokens) {
    TokenRarity(needs_.unigrams.get(), ids_[sequence], maps_[sequence].positions(), importance_);
    return;
  }
  ScoreContext(sequence, layer);
  exec_.backend->Download(exec_.queue, Scores(bases_[sequence], rows).data, importance_.data(),
                          rows * static_cast<int64_t>(sizeof(float)));
}

SiteView Stream::ViewSite(int64_t sequence, int layer) const {
  SiteView view{.layer = layer,
                .rows = lengths_[sequence],
                .positions = maps_[sequence].positions(),
                .importance = {},
                .features = {},
                .sizes = {},
                .protected_tail = std::min(removal_->protected_tail, lengths_[sequence]),
                .exec = exec_};
  if (layer < 0) return view;  // before the first layer there are positions only
  if (needs_.importance_from != Source::kNone) view.importance = importance_;
  if (needs_.match_on != Source::kNone) {
    view.features = Features(layer, bases_[sequence], view.rows);
  }
  if (needs_.sizes) view.sizes = std::span(sizes_).subspan(bases_[sequence], view.rows);
  return view;
}

Plan Stream::PlanSite(int64_t sequence, int site) {
  SiteLength& length = schedules_[sequence].sites[site];
  const int64_t rows = lengths_[sequence];
  if (length.layer >= 0 && needs_.importance_from != Source::kNone) {
    FetchImportance(sequence, length.layer);
  }
  SiteView view = ViewSite(sequence, length.layer);
  std::vector<Edge> edges;
  if (on_site_) view.edges_seen = &edges;
  const bool counts_vary = removal_->setup.counts_vary;
  PITH_CHECK(counts_vary || length.in == rows);
  Plan plan = removal_->MakePlan(view, counts_vary ? 0 : length.in - length.out);
  if (on_site_) on_site_(view, plan);
  const auto removed = static_cast<int64_t>(plan.removed.size());
  PITH_CHECK(counts_vary ? removed < rows : removed == length.in - length.out);
  length.in = rows;
  length.out = rows - removed;
  return plan;
}

void Stream::ReduceOnDevice(int site) {
  std::vector<PairSequence> sequences;
  int64_t rows = 0;
  int layer = 0;
  for (size_t s = 0; s < lengths_.size(); ++s) {
    const SiteLength& length = schedules_[s].sites[site];
    PITH_CHECK(length.in == lengths_[s]);
    layer = length.layer;
    ScoreContext(static_cast<int64_t>(s), layer);
    sequences.push_back({.begin = rows,
                         .rows = length.in,
                         .protected_tail = std::min(removal_->protected_tail, length.in),
                         .remove = length.in - length.out});
    rows += length.in;
  }
  const bool ranks = needs_.importance_from != Source::kNone;
  planner_->Plan(site, sequences, ranks ? Scores(0, rows) : VecView<float>(),
                 Features(layer, 0, rows));
  if (needs_.branches) {
    planner_->Merge(Branch::kResidual, x_.Rows(0, rows));
    planner_->Merge(Branch::kHidden, h_.Rows(0, rows));
  }
  int64_t base = 0;
  for (size_t s = 0; s < lengths_.size(); ++s) {
    lengths_[s] = schedules_[s].sites[site].out;
    bases_[s] = base;
    base += lengths_[s];
  }
}

void Stream::Reduce(int site) {
  if (planner_) return ReduceOnDevice(site);
  for (size_t s = 0; s < maps_.size(); ++s) {
    const Plan plan = PlanSite(static_cast<int64_t>(s), site);
    const SiteLength& length = schedules_[s].sites[site];
    maps_[s].Apply(plan, site);
    if (length.layer >= 0) {
      ApplyPlan(exec_, plan, Branch::kResidual, x_.Rows(bases_[s], length.in));
      if (needs_.branches) {
        ApplyPlan(exec_, plan, Branch::kHidden, h_.Rows(bases_[s], length.in));
      }
      if (needs_.sizes) ApplyPlanToSizes(plan, std::span(sizes_).subspan(bases_[s], length.in));
    }
    lengths_[s] = length.out;
  }
}

const TokenMap& Stream::map(int64_t sequence) {
  if (planner_) planner_->ApplyTo(maps_);
  return maps_[sequence];
}

std::vector<TokenMap> Stream::TakeMaps() {
  if (planner_) planner_->ApplyTo(maps_);
  return std::move(maps_);
}

std::vector<Schedule> Stream::TakeSchedules() {
  if (removal_ != nullptr && removal_->setup.counts_vary) {
    for (size_t s = 0; s < schedules_.size(); ++s) {
      schedules_[s].realised = removal_->RealisedBy(schedules_[s].sites, maps_[s].tokens());
    }
  }
  return std::move(schedules_);
}

}  // namespace pith
