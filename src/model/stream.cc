#include "model/stream.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "ops/importance.h"
#include "ops/rows.h"
#include "ops/scan_features.h"

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
  if (PlansOnDevice()) planner_.emplace(exec_, *removal_->setup.policy->Pairs());
  // Where all rows that go do so before the first layer, nothing stands between groups.
  if (removal_ == nullptr || removal_->sites.back() >= 0) Reserve();
}

// Whoever watches a site is shown what stood there on the host.
bool Stream::PlansOnDevice() const {
  return removal_ != nullptr && !on_site_ && PlansPairs(exec_) && removal_->block == 0 &&
         !removal_->setup.counts_vary && needs_.importance_from != Source::kTokens &&
         needs_.match_on != Source::kNone && !needs_.sizes &&
         removal_->setup.policy->Pairs().has_value();
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
  if (needs_.match_on != Source::kNone && !MatchesOnStoredHidden()) {
    features_.Resize(exec_, tokens_, features);
  }
  if (needs_.importance_from == Source::kScan) scan_.Resize(exec_, tokens_, scan);
  if (needs_.sizes) sizes_.assign(tokens_, 1);
}

std::vector<Stream::Run> Stream::RunsOf(const Chunk& chunk) const {
  std::vector<Run> runs;
  int64_t row = 0;
  for (const Piece& piece : chunk) {
    const int64_t base = bases_[piece.sequence] + piece.begin;
    if (runs.empty() || runs.back().base + runs.back().count != base) runs.push_back({row, base});
    runs.back().count += piece.count;
    row += piece.count;
  }
  return runs;
}

void Stream::Load(Workspace& ws, const Chunk& chunk) const {
  const VecView<const int32_t> kept = planner_ ? planner_->kept() : VecView<const int32_t>();
  for (const Run& run : RunsOf(chunk)) {
    const auto stored = [&](const DeviceMat<float>& m) -> MatView<const float> {
      if (!needs_.branches && &m == &h_) return {};
      return kept.empty() ? m.Rows(run.base, run.count) : m.view();
    };
    TakeRows(exec_, {.a = stored(x_),
                     .b = stored(h_),
                     .rows = kept.empty() ? kept : kept.Part(run.base, run.count),
                     .out = ws.x.Rows(run.row, run.count)});
  }
}

void Stream::StoreEmbedding(const Workspace& ws, const Chunk& chunk) {
  for (const Run& run : RunsOf(chunk)) {
    CopyRows(exec_, ws.x.Rows(run.row, run.count), x_.Rows(run.base, run.count));
  }
}

MatView<float> Stream::ResidualOf(const Chunk& chunk) const {
  const std::vector<Run> runs = RunsOf(chunk);
  if (!needs_.branches || runs.size() != 1) return {};
  return x_.Rows(runs[0].base, runs[0].count);
}

VecView<float> Stream::ImportanceOf(const Chunk& chunk) const {
  const std::vector<Run> runs = RunsOf(chunk);
  if (needs_.importance_from != Source::kSsm || runs.size() != 1) return {};
  return Scores(runs[0].base, runs[0].count);
}

void Stream::Store(const Workspace& ws, const Chunk& chunk, int64_t layer, bool x_stored) {
  for (const Run& run : RunsOf(chunk)) {
    StoreBranches(ws, run, x_stored);
    StoreImportance(ws, run, layer);
    StoreFeatures(ws, run, layer);
  }
}

void Stream::StoreBranches(const Workspace& ws, const Run& run, bool x_stored) {
  const MatView<float> x = x_.Rows(run.base, run.count);
  if (!needs_.branches) {
    AddRows(exec_, ws.x.Rows(run.row, run.count), ws.h.Rows(run.row, run.count), x);
    return;
  }
  if (!x_stored) CopyRows(exec_, ws.x.Rows(run.row, run.count), x);
  const MatView<float> h = h_.Rows(run.base, run.count);
  if (ws.compact.empty()) {
    CopyRows(exec_, ws.h.Rows(run.row, run.count), h);
  } else {
    ExpandRows(exec_, ws.compact.From(run.row, h.cols), h);
  }
}

MatView<const float> Stream::Hidden(const Workspace& ws, const Run& run) const {
  return needs_.branches ? h_.Rows(run.base, run.count) : ws.h.Rows(run.row, run.count);
}

void Stream::StoreImportance(const Workspace& ws, const Run& run, int64_t layer) {
  const Source from = needs_.importance_from;
  if (from == Source::kNone || from == Source::kTokens || ws.importance_made) return;
  if (from == Source::kScan) return StoreScan(ws, run, layer);
  RowImportance(exec_, needs_.importance,
                from == Source::kHidden
                    ? Hidden(ws, run)
                    : model_.layer(layer).Read(ws, from).Rows(run.row, run.count),
                Scores(run.base, run.count));
}

VecView<float> Stream::Scores(int64_t base, int64_t count) const {
  return VecView<float>{scores_.view().data, scores_.cols()}.Part(base, count);
}

MatView<const float> Stream::Features(int64_t layer, int64_t base, int64_t count) const {
  if (MatchesOnStoredHidden()) return h_.Rows(base, count);
  return features_.Rows(base, count).Cols(0, model_.layer(layer).width(needs_.match_on));
}

void Stream::StoreFeatures(const Workspace& ws, const Run& run, int64_t layer) {
  if (needs_.match_on == Source::kNone || MatchesOnStoredHidden()) return;
  const Layer& read = model_.layer(layer);
  const MatView<float> to =
      features_.Rows(run.base, run.count).Cols(0, read.width(needs_.match_on));
  switch (needs_.match_on) {
    case Source::kCombined:
      if (needs_.branches) return AddRows(exec_, x_.Rows(run.base, run.count), Hidden(ws, run), to);
      return CopyRows(exec_, x_.Rows(run.base, run.count), to);
    case Source::kHidden:
      return CopyRows(exec_, Hidden(ws, run), to);
    case Source::kHiddenClipped:
      return ClipRows(exec_, Hidden(ws, run), to);
    default:
      return CopyRows(exec_, read.Read(ws, needs_.match_on).Rows(run.row, run.count), to);
  }
}

void Stream::StoreScan(const Workspace& ws, const Run& run, int64_t layer) {
  ScanFeaturesArgs args = model_.layer(layer).ReadScan(ws);
  for (MatView<const float>* input : {&args.dt, &args.x, &args.b, &args.c}) {
    *input = input->Rows(run.row, run.count);
  }
  args.out = scan_.Rows(run.base, run.count).Cols(0, args.shape.row_width());
  ScanFeatures(exec_, args);
}

}  // namespace pith
