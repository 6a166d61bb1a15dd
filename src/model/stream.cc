#include "model/stream.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "reduce/apply.h"
#include "reduce/importance.h"

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

int64_t FeatureWidth(const ModelConfig& config, Source source) {
  return source == Source::kSsm || source == Source::kGated ? config.d_inner : config.d_model;
}

MatView<const float> Activations(const Workspace& ws, Source source) {
  PITH_CHECK(source != Source::kNone && source != Source::kCombined);
  if (source == Source::kSsm) return ws.y.view();
  return source == Source::kGated ? ws.gated.view() : ws.h.view();
}

}  // namespace

Stream::Stream(const ModelConfig& config, const Reducer& reducer,
               std::span<const SequenceInput> batch, Workspace& ws)
    : config_(config), reducer_(reducer), needs_(reducer.policy().Needs()), ws_(ws) {
  for (const SequenceInput& input : batch) {
    const auto length = static_cast<int64_t>(input.ids.size());
    schedules_.push_back(reducer.Lengths(length));
    maps_.emplace_back(length);
    lengths_.push_back(length);
    bases_.push_back(tokens_);
    tokens_ += length;
  }
  if (reducer.sites().back() < 0) return;  // nothing stands between groups of layers
  ws.stream_x.Resize(tokens_, config.d_model);
  if (needs_.branches) ws.stream_h.Resize(tokens_, config.d_model);
  if (needs_.importance_from != Source::kNone) ws.scores.Resize(tokens_);
  if (needs_.match_on != Source::kNone) {
    ws.features.Resize(tokens_, FeatureWidth(config, needs_.match_on));
  }
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
    if (needs_.importance_from != Source::kNone) {
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
  } else {
    CopyRows(Activations(ws_, needs_.match_on).Rows(row, piece.count), to);
  }
}

SiteView Stream::ViewSite(const Exec& exec, int64_t sequence, int layer) const {
  SiteView view{.layer = layer,
                .rows = lengths_[sequence],
                .positions = maps_[sequence].positions(),
                .importance = {},
                .features = {},
                .protected_tail = std::min(reducer_.protected_tail(), lengths_[sequence]),
                .exec = exec};
  if (layer < 0) return view;  // before the first layer there are positions only
  if (needs_.importance_from != Source::kNone) {
    view.importance = {ws_.scores.data() + bases_[sequence], static_cast<size_t>(view.rows)};
  }
  if (needs_.match_on != Source::kNone) {
    view.features = ws_.features.view().Rows(bases_[sequence], view.rows);
  }
  return view;
}

void Stream::Reduce(const Exec& exec, int site) {
  for (size_t s = 0; s < maps_.size(); ++s) {
    const SiteLength& length = schedules_[s].sites[site];
    PITH_CHECK(length.in == lengths_[s]);
    const Plan plan = reducer_.policy().MakePlan(
        ViewSite(exec, static_cast<int64_t>(s), length.layer), length.in - length.out);
    PITH_CHECK(static_cast<int64_t>(plan.removed.size()) == length.in - length.out);
    maps_[s].Apply(plan, site);
    if (length.layer >= 0) {
      const MatView<float> x = ws_.stream_x.view().Rows(bases_[s], length.in);
      ApplyPlan(exec, plan, Branch::kResidual, x);
      if (needs_.branches) {
        ApplyPlan(exec, plan, Branch::kHidden, ws_.stream_h.view().Rows(bases_[s], length.in));
      }
    }
    lengths_[s] = length.out;
  }
}

PrefillResult Stream::TakeResult() {
  double saved = 0;
  for (size_t s = 0; s < maps_.size(); ++s) {
    saved += schedules_[s].realised * static_cast<double>(maps_[s].tokens());
  }
  return {.schedules = std::move(schedules_),
          .maps = std::move(maps_),
          .realised = tokens_ > 0 ? saved / static_cast<double>(tokens_) : 0};
}

}  // namespace pith
