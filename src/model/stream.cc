#include "model/stream.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "ops/apply_plan.h"
#include "ops/importance.h"
#include "ops/rows.h"
#include "ops/scan_features.h"
#include "ops/scan_importance.h"
#include "reduce/edges.h"

namespace pith {

Stream::Stream(const Model& model, const Exec& exec, const CompiledReduction& reduction,
               std::vector<std::span<const int32_t>> ids, const SiteObserver& on_site)
    : model_(model),
      exec_(exec),
      removal_(reduction.removal()),
      on_site_(on_site),
      ids_(std::move(ids)) {
  if (removal_ != nullptr) needs_ = removal_->setup.policy->Needs();
  for (const auto& context : ids_) {
    const auto length = static_cast<int64_t>(context.size());
    schedules_.push_back(reduction.Lengths(length));
    maps_.emplace_back(length);
    lengths_.push_back(length);
    bases_.push_back(tokens_);
    tokens_ += length;
  }
  // Where all rows that go do so before the first layer, nothing stands between groups.
  if (removal_ == nullptr || removal_->sites.back() >= 0) Reserve();
}

void Stream::Reserve() {
  const int64_t d_model = model_.config().d_model;
  x_.Resize(exec_, tokens_, d_model);
  if (needs_.branches) h_.Resize(exec_, tokens_, d_model);
  if (removal_ == nullptr) return;
  int64_t features = 0;
  int64_t scan = 0;
  for (const int site : removal_->sites) {
    const Layer& layer = model_.layer(site);
    features = std::max(features, layer.width(needs_.match_on));
    scan = std::max(scan, layer.scan_shape().row_width());
  }
  if (needs_.importance_from != Source::kNone) scores_.Resize(exec_, 1, tokens_);
  if (needs_.match_on != Source::kNone) features_.Resize(exec_, tokens_, features);
  if (needs_.importance_from == Source::kScan) scan_.Resize(exec_, tokens_, scan);
  if (needs_.sizes) sizes_.assign(tokens_, 1);
}

void Stream::Load(Workspace& ws, const Chunk& chunk) const {
  int64_t row = 0;
  for (const Piece& piece : chunk) {
    const int64_t base = bases_[piece.sequence] + piece.begin;
    CopyRows(exec_, x_.Rows(base, piece.count), ws.x.Rows(row, piece.count));
    if (needs_.branches) {
      CopyRows(exec_, h_.Rows(base, piece.count), ws.h.Rows(row, piece.count));
    }
    row += piece.count;
  }
}

void Stream::StoreEmbedding(const Workspace& ws, const Chunk& chunk) {
  int64_t row = 0;
  for (const Piece& piece : chunk) {
    CopyRows(exec_, ws.x.Rows(row, piece.count),
             x_.Rows(bases_[piece.sequence] + piece.begin, piece.count));
    row += piece.count;
  }
}

void Stream::Store(const Workspace& ws, const Chunk& chunk, int64_t layer) {
  int64_t row = 0;
  for (const Piece& piece : chunk) {
    const int64_t base = bases_[piece.sequence] + piece.begin;
    const int64_t count = piece.count;
    const MatView<const float> x = ws.x.Rows(row, count);
    const MatView<const float> h = ws.h.Rows(row, count);
    if (needs_.branches) {
      CopyRows(exec_, x, x_.Rows(base, count));
      CopyRows(exec_, h, h_.Rows(base, count));
    } else {
      AddRows(exec_, x, h, x_.Rows(base, count));
    }
    const Source from = needs_.importance_from;
    if (from == Source::kScan) {
      StoreScan(ws, layer, row, base, count);
    } else if (from != Source::kNone && from != Source::kTokens) {
      RowImportance(exec_, needs_.importance, model_.layer(layer).Read(ws, from).Rows(row, count),
                    Scores(base, count));
    }
    if (needs_.match_on != Source::kNone) StoreFeatures(ws, layer, row, base, count);
    row += count;
  }
}

VecView<float> Stream::Scores(int64_t base, int64_t count) const {
  return VecView<float>{scores_.view().data, scores_.cols()}.Part(base, count);
}

MatView<float> Stream::Features(int64_t layer, int64_t row, int64_t count) const {
  return features_.Rows(row, count).Cols(0, model_.layer(layer).width(needs_.match_on));
}

void Stream::StoreFeatures(const Workspace& ws, int64_t layer, int64_t row, int64_t base,
                           int64_t count) {
  const MatView<float> to = Features(layer, base, count);
  if (needs_.match_on == Source::kCombined) {
    AddRows(exec_, ws.x.Rows(row, count), ws.h.Rows(row, count), to);
    return;
  }
  const auto transfer = needs_.match_on == Source::kHiddenClipped ? ClipRows : CopyRows;
  transfer(exec_, model_.layer(layer).Read(ws, needs_.match_on).Rows(row, count), to);
}

void Stream::StoreScan(const Workspace& ws, int64_t layer, int64_t row, int64_t base,
                       int64_t count) {
  ScanFeaturesArgs args = model_.layer(layer).ReadScan(ws);
  for (MatView<const float>* input : {&args.dt, &args.x, &args.b, &args.c}) {
    *input = input->Rows(row, count);
  }
  args.out = scan_.Rows(base, count).Cols(0, args.shape.row_width());
  ScanFeatures(exec_, args);
}

void Stream::FetchImportance(int64_t sequence, int layer) {
  const int64_t rows = lengths_[sequence];
  importance_.resize(rows);
  if (needs_.importance_from == Source::kTokens) {
    TokenRarity(needs_.unigrams.get(), ids_[sequence], maps_[sequence].positions(), importance_);
    return;
  }
  const VecView<float> scores = Scores(bases_[sequence], rows);
  if (needs_.importance_from == Source::kScan) {
    const ScanShape shape = model_.layer(layer).scan_shape();
    ScanImportance(exec_, {.kind = needs_.importance,
                           .shape = shape,
                           .a = model_.layer(layer).a(),
                           .rows = scan_.Rows(bases_[sequence], rows).Cols(0, shape.row_width()),
                           .tail = std::min(removal_->protected_tail, rows),
                           .importance = scores});
  }
  exec_.backend->Download(exec_.queue, scores.data, importance_.data(),
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

void Stream::Reduce(int site) {
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

std::vector<Schedule> Stream::TakeSchedules() {
  if (removal_ != nullptr && removal_->setup.counts_vary) {
    for (size_t s = 0; s < schedules_.size(); ++s) {
      schedules_[s].realised = removal_->RealisedBy(schedules_[s].sites, maps_[s].tokens());
    }
  }
  return std::move(schedules_);
}

}  // namespace pith
