#include "model/stream.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "core/error.h"
#include "ops/apply_plan.h"
#include "ops/importance.h"
#include "ops/rows.h"
#include "ops/scan_features.h"
#include "ops/scan_importance.h"

namespace pith {
namespace {

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

VecView<const float> ViewOf(const std::vector<float>& v) {
  return {v.data(), static_cast<int64_t>(v.size())};
}

}  // namespace

Stream::Stream(const Model& model, const Reducer& reducer, std::span<const SequenceInput> batch,
               Workspace& ws)
    : model_(model), config_(model.config()), reducer_(reducer), ws_(ws), batch_(batch) {
  if (reducer.skim() == nullptr) {
    needs_ = reducer.policy().Needs();
    counts_vary_ = reducer.policy().counts_vary();
  }
  for (const SequenceInput& input : batch) {
    const auto length = static_cast<int64_t>(input.ids.size());
    schedules_.push_back(reducer.Lengths(length));
    maps_.emplace_back(length);
    lengths_.push_back(length);
    bases_.push_back(tokens_);
    tokens_ += length;
  }
  // Nothing stands between groups of layers.
  if (reducer.skim() == nullptr && reducer.sites().back() < 0) return;
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

void Stream::Load(const Exec& exec, const Chunk& chunk) const {
  int64_t row = 0;
  for (const Piece& piece : chunk) {
    const int64_t base = bases_[piece.sequence] + piece.begin;
    CopyRows(exec, ws_.stream_x.view().Rows(base, piece.count),
             ws_.x.view().Rows(row, piece.count));
    if (needs_.branches) {
      CopyRows(exec, ws_.stream_h.view().Rows(base, piece.count),
               ws_.h.view().Rows(row, piece.count));
    }
    row += piece.count;
  }
}

void Stream::StoreEmbedding(const Exec& exec, const Chunk& chunk) {
  int64_t row = 0;
  for (const Piece& piece : chunk) {
    CopyRows(exec, ws_.x.view().Rows(row, piece.count),
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
      CopyRows(exec, x, stream_x);
      CopyRows(exec, h, ws_.stream_h.view().Rows(base, piece.count));
    } else {
      AddRows(exec, x, h, stream_x);
    }
    if (needs_.importance_from == Source::kScan) {
      StoreScan(exec, piece, row);
    } else if (needs_.importance_from != Source::kNone &&
               needs_.importance_from != Source::kTokens) {
      RowImportance(exec, needs_.importance,
                    Activations(ws_, needs_.importance_from).Rows(row, piece.count),
                    {ws_.scores.data() + base, piece.count});
    }
    if (needs_.match_on != Source::kNone) StoreFeatures(exec, piece, row);
    row += piece.count;
  }
}

void Stream::StoreFeatures(const Exec& exec, const Piece& piece, int64_t row) {
  const MatView<float> to =
      ws_.features.view().Rows(bases_[piece.sequence] + piece.begin, piece.count);
  if (needs_.match_on == Source::kCombined) {
    AddRows(exec, ws_.x.view().Rows(row, piece.count), ws_.h.view().Rows(row, piece.count), to);
    return;
  }
  const MatView<const float> from = needs_.match_on == Source::kKeys
                                        ? InputsOfScan(config_, ws_).b
                                        : Activations(ws_, needs_.match_on);
  const auto transfer = needs_.match_on == Source::kHiddenClipped ? ClipRows : CopyRows;
  transfer(exec, from.Rows(row, piece.count), to);
}

void Stream::StoreScan(const Exec& exec, const Piece& piece, int64_t row) {
  const ScanInputs in = InputsOfScan(config_, ws_);
  const bool bounded = config_.kind == BlockKind::kMamba2;
  const int64_t base = bases_[piece.sequence] + piece.begin;
  ScanFeatures(exec, {.shape = ShapeOfScan(config_),
                      .dt = in.dt.Rows(row, piece.count),
                      .dt_bias = ViewOf(model_.layer(reducer_.sites()[next_site_]).dt_bias),
                      .dt_min = bounded ? config_.dt_min : 0,
                      .dt_max = bounded ? config_.dt_max : std::numeric_limits<float>::infinity(),
                      .x = in.x.Rows(row, piece.count),
                      .b = in.b.Rows(row, piece.count),
                      .c = in.c.Rows(row, piece.count),
                      .out = scan_.view().Rows(base, piece.count)});
}

void Stream::ScoreSequence(const Exec& exec, int64_t sequence, int layer) {
  const int64_t rows = lengths_[sequence];
  if (needs_.importance_from == Source::kScan) {
    const ScanShape shape = ShapeOfScan(config_);
    ScanImportance(exec,
                   {.kind = needs_.importance,
                    .shape = shape,
                    .a = {model_.a(layer), shape.units * (shape.a_per_state ? shape.d_state : 1)},
                    .rows = scan_.view().Rows(bases_[sequence], rows),
                    .tail = std::min(reducer_.protected_tail(), rows),
                    .importance = {ws_.scores.data() + bases_[sequence], rows}});
  } else if (needs_.importance_from == Source::kTokens) {
    TokenRarity(needs_.unigrams.get(), batch_[sequence].ids, maps_[sequence].positions(),
                {ws_.scores.data() + bases_[sequence], static_cast<size_t>(rows)});
  }
}

SiteView Stream::ViewSite(const Exec& exec, int64_t sequence, int layer) const {
  SiteView view{.layer = layer,
                .rows = lengths_[sequence],
                .positions = maps_[sequence].positions(),
                .importance = {},
                .features = {},
                .sizes = {},
                .protected_tail = std::min(reducer_.protected_tail(), lengths_[sequence]),
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
  const SiteView view = ViewSite(exec, sequence, length.layer);
  if (!counts_vary_) {
    PITH_CHECK(length.in == rows);
    Plan plan = reducer_.MakePlan(view, length.in - length.out);
    PITH_CHECK(static_cast<int64_t>(plan.removed.size()) == length.in - length.out);
    return plan;
  }
  Plan plan = reducer_.MakePlan(view, 0);
  length.in = rows;
  length.out = rows - static_cast<int64_t>(plan.removed.size());
  PITH_CHECK(length.out >= 1);
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
    if (counts_vary_) {
      schedules_[s].realised = reducer_.RealisedBy(schedules_[s].sites, maps_[s].tokens());
    }
    saved += schedules_[s].realised * static_cast<double>(maps_[s].tokens());
  }
  return {.schedules = std::move(schedules_),
          .maps = std::move(maps_),
          .realised = tokens_ > 0 ? saved / static_cast<double>(tokens_) : 0};
}

}  // namespace pith
