#include "model/stream.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/error.h"
#include "core/parallel.h"
#include "reduce/apply.h"
#include "reduce/edges.h"
#include "reduce/importance.h"
#include "reduce/scan_importance.h"

namespace pith {
namespace {

void CopyRows(MatView<const float> from, MatView<float> to) {
  for (int64_t r = 0; r < from.rows; ++r) std::copy_n(from.Row(r), from.cols, to.Row(r));
}

void AddRows(MatView<const float> a, MatView<const float> b, MatView<float> to) {
  for (int64_t r = 0; r < a.rows; ++r) {
    for (int64_t c = 0; c < a.cols; ++c) to.Row(r)[c] = a.Row(r)[c] + b.Row(r)[c];
  }
}

ScanShape ShapeOfScan(const ModelConfig& config) {
  if (config.kind == BlockKind::kMamba1) return {config.d_inner, 1, config.d_state, true};
  return {config.n_heads, config.n_groups, config.d_state, false};
}

int64_t FeatureWidth(const ModelConfig& config, Source source) {
  if (source == Source::kKeys) return ShapeOfScan(config).bc_width();
  return source == Source::kSsm || source == Source::kGated ? config.d_inner : config.d_model;
}

MatView<const float> Activations(const Workspace& ws, Source source) {
  if (source == Source::kSsm) return ws.y.view();
  if (source == Source::kGated) return ws.gated.view();
  PITH_CHECK(source == Source::kHidden || source == Source::kHiddenClipped);
  return ws.h.view();
}

// What the last block's mixer fed its scan, where the mixers leave it.
struct ScanInputs {
  MatView<const float> dt;  // [rows, units], before bias and softplus
  MatView<const float> x;   // [rows, d_inner], after the convolution
  MatView<const float> b;   // [rows, groups · d_state]
  MatView<const float> c;
};
ScanInputs InputsOfScan(const ModelConfig& config, const Workspace& ws) {
  const int64_t width = ShapeOfScan(config).bc_width();
  if (config.kind == BlockKind::kMamba1) {
    const MatView<const float> bc = ws.x_db.view();
    return {ws.dt.view(), ws.conv.view(), bc.Cols(config.dt_rank, width),
            bc.Cols(config.dt_rank + width, width)};
  }
  const MatView<const float> conv = ws.conv.view();
  const MatView<const float> proj = ws.proj.view();  // Δ stands last
  return {proj.Cols(proj.cols - config.n_heads, config.n_heads), conv.Cols(0, config.d_inner),
          conv.Cols(config.d_inner, width), conv.Cols(config.d_inner + width, width)};
}

float Norm(const float* v, int64_t n) {
  double square = 0;
  for (int64_t i = 0; i < n; ++i) square += static_cast<double>(v[i]) * v[i];
  return static_cast<float>(std::sqrt(square));
}

}  // namespace

Stream::Stream(const Model& model, const CompiledReduction& reduction,
               std::span<const SequenceInput> batch, Workspace& ws, const SiteObserver& on_site)
    : model_(model),
      config_(model.config()),
      removal_(reduction.removal()),
      on_site_(on_site),
      ws_(ws),
      batch_(batch) {
  if (removal_ != nullptr) needs_ = removal_->setup.policy->Needs();
  for (const SequenceInput& input : batch) {
    const auto length = static_cast<int64_t>(input.ids.size());
    schedules_.push_back(reduction.Lengths(length));
    maps_.emplace_back(length);
    lengths_.push_back(length);
    bases_.push_back(tokens_);
    tokens_ += length;
  }
  // Nothing stands between groups of layers.
  if (removal_ != nullptr && removal_->sites.back() < 0) return;
  ws.stream_x.Resize(tokens_, config_.d_model);
  if (needs_.branches) ws.stream_h.Resize(tokens_, config_.d_model);
  if (needs_.importance_from != Source::kNone) ws.scores.Resize(tokens_);
  if (needs_.match_on != Source::kNone) {
    ws.features.Resize(tokens_, FeatureWidth(config_, needs_.match_on));
  }
  if (needs_.importance_from == Source::kScan) {
    scan_.Resize(tokens_, ShapeOfScan(config_).row_width());
  }
  if (needs_.sizes) sizes_.assign(tokens_, 1);
}

void Stream::Load(const Chunk& chunk) const {
  int64_t row = 0;
  for (const Piece& piece : chunk) {
    const int64_t base = bases_[piece.sequence] + piece.begin;
    CopyRows(ws_.stream_x.view().Rows(base, piece.count), ws_.x.view().Rows(row, piece.count));
    if (needs_.branches) {
      CopyRows(ws_.stream_h.view().Rows(base, piece.count), ws_.h.view().Rows(row, piece.count));
    }
    row += piece.count;
  }
}

void Stream::StoreEmbedding(const Chunk& chunk) {
  int64_t row = 0;
  for (const Piece& piece : chunk) {
    CopyRows(ws_.x.view().Rows(row, piece.count),
             ws_.stream_x.view().Rows(bases_[piece.sequence] + piece.begin, piece.count));
    row += piece.count;
  }
}

void Stream::Store(const Exec& exec, const Chunk& chunk) {
  int64_t row = 0;
  for (const Piece& piece : chunk) {
    const int64_t base = bases_[piece.sequence] + piece.begin;
    const MatView<const float> x = ws_.x.view().Rows(row, piece.count);
    const MatView<const float> h = ws_.h.view().Rows(row, piece.count);
    const MatView<float> stream_x = ws_.stream_x.view().Rows(base, piece.count);
    if (needs_.branches) {
      CopyRows(x, stream_x);
      CopyRows(h, ws_.stream_h.view().Rows(base, piece.count));
    } else {
      AddRows(x, h, stream_x);
    }
    if (needs_.importance_from == Source::kScan) {
      StoreScan(exec, piece, row);
    } else if (needs_.importance_from != Source::kNone &&
               needs_.importance_from != Source::kTokens) {
      RowImportance(exec, needs_.importance,
                    Activations(ws_, needs_.importance_from).Rows(row, piece.count),
                    {ws_.scores.data() + base, static_cast<size_t>(piece.count)});
    }
    if (needs_.match_on != Source::kNone) StoreFeatures(piece, row);
    row += piece.count;
  }
}

void Stream::StoreFeatures(const Piece& piece, int64_t row) {
  const MatView<float> to =
      ws_.features.view().Rows(bases_[piece.sequence] + piece.begin, piece.count);
  if (needs_.match_on == Source::kCombined) {
    AddRows(ws_.x.view().Rows(row, piece.count), ws_.h.view().Rows(row, piece.count), to);
    return;
  }
  const MatView<const float> from = needs_.match_on == Source::kKeys
                                        ? InputsOfScan(config_, ws_).b
                                        : Activations(ws_, needs_.match_on);
  CopyRows(from.Rows(row, piece.count), to);
  if (needs_.match_on != Source::kHiddenClipped) return;
  for (int64_t r = 0; r < to.rows; ++r) {
    for (int64_t c = 0; c < to.cols; ++c) to.Row(r)[c] = to.Row(r)[c] < 0 ? 0 : to.Row(r)[c];
  }
}

void Stream::StoreScan(const Exec& exec, const Piece& piece, int64_t row) {
  const ScanInputs in = InputsOfScan(config_, ws_);
  const ScanShape shape = ShapeOfScan(config_);
  const int64_t width = config_.d_inner / shape.units;
  const float* bias = model_.layer(removal_->sites[next_site_]).dt_bias.data();
  const bool bounded = config_.kind == BlockKind::kMamba2;
  const int64_t base = bases_[piece.sequence] + piece.begin;
  ParallelFor(exec.threads, piece.count, [&](int64_t r) {
    float* out = scan_.view().Row(base + r);
    for (int64_t u = 0; u < shape.units; ++u) {
      const double raw = static_cast<double>(in.dt.Row(row + r)[u]) + bias[u];
      const double delta = std::max(raw, 0.0) + std::log1p(std::exp(-std::abs(raw)));
      out[u] = static_cast<float>(
          bounded ? std::clamp<double>(delta, config_.dt_min, config_.dt_max) : delta);
      out[shape.units + u] = Norm(in.x.Row(row + r) + u * width, width);
    }
    std::copy_n(in.b.Row(row + r), shape.bc_width(), out + 2 * shape.units);
    std::copy_n(in.c.Row(row + r), shape.bc_width(), out + 2 * shape.units + shape.bc_width());
  });
}

void Stream::ScoreSequence(const Exec& exec, int64_t sequence, int layer) {
  const int64_t rows = lengths_[sequence];
  const std::span<float> scores{ws_.scores.data() + bases_[sequence], static_cast<size_t>(rows)};
  if (needs_.importance_from == Source::kScan) {
    ScanImportance(exec, needs_.importance, ShapeOfScan(config_), model_.a(layer),
                   scan_.view().Rows(bases_[sequence], rows),
                   std::min(removal_->protected_tail, rows), scores);
  } else if (needs_.importance_from == Source::kTokens) {
    TokenRarity(needs_.unigrams.get(), batch_[sequence].ids, maps_[sequence].positions(), scores);
  }
}

SiteView Stream::ViewSite(const Exec& exec, int64_t sequence, int layer) const {
  SiteView view{.layer = layer,
                .rows = lengths_[sequence],
                .positions = maps_[sequence].positions(),
                .importance = {},
                .features = {},
                .sizes = {},
                .protected_tail = std::min(removal_->protected_tail, lengths_[sequence]),
                .exec = exec};
  if (layer < 0) return view;  // before the first layer there are positions only
  if (needs_.importance_from != Source::kNone) {
    view.importance = {ws_.scores.data() + bases_[sequence], static_cast<size_t>(view.rows)};
  }
  if (needs_.match_on != Source::kNone) {
    view.features = ws_.features.view().Rows(bases_[sequence], view.rows);
  }
  if (needs_.sizes) {
    view.sizes = std::span(sizes_).subspan(bases_[sequence], view.rows);
  }
  return view;
}

Plan Stream::PlanSite(const Exec& exec, int64_t sequence, int site) {
  SiteLength& length = schedules_[sequence].sites[site];
  const int64_t rows = lengths_[sequence];
  if (length.layer >= 0) ScoreSequence(exec, sequence, length.layer);
  SiteView view = ViewSite(exec, sequence, length.layer);
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

void Stream::Reduce(const Exec& exec, int site) {
  for (size_t s = 0; s < maps_.size(); ++s) {
    const Plan plan = PlanSite(exec, static_cast<int64_t>(s), site);
    const SiteLength& length = schedules_[s].sites[site];
    maps_[s].Apply(plan, site);
    if (length.layer >= 0) {
      const MatView<float> x = ws_.stream_x.view().Rows(bases_[s], length.in);
      ApplyPlan(exec, plan, Branch::kResidual, x);
      if (needs_.branches) {
        ApplyPlan(exec, plan, Branch::kHidden, ws_.stream_h.view().Rows(bases_[s], length.in));
      }
      if (needs_.sizes) ApplyPlanToSizes(plan, std::span(sizes_).subspan(bases_[s], length.in));
    }
    lengths_[s] = length.out;
  }
  next_site_ = site + 1;
}

PrefillResult Stream::TakeResult() {
  double saved = 0;
  for (size_t s = 0; s < maps_.size(); ++s) {
    if (removal_ != nullptr && removal_->setup.counts_vary) {
      schedules_[s].realised = removal_->RealisedBy(schedules_[s].sites, maps_[s].tokens());
    }
    saved += schedules_[s].realised * static_cast<double>(maps_[s].tokens());
  }
  return {.schedules = std::move(schedules_),
          .maps = std::move(maps_),
          .realised = tokens_ > 0 ? saved / static_cast<double>(tokens_) : 0};
}

}  // namespace pith
