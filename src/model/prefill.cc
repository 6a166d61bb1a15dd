// The pass is a small machine: its place is a group of layers, in it first the far rows (by
// sequence and layer, where the backend does not take them all at once), then the chunks of near
// rows, and one piece of work is done at a time. So it can rest between any two pieces and needs no
// thread of its own. Groups are the outer loop and chunks the inner one, because a site must have
// seen a whole context before it plans (docs/design/0003-segment-major-prefill.md); within a group
// a chunk goes through all layers while its rows are in the cache.
#include "model/prefill.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "core/error.h"
#include "model/chunks.h"
#include "model/far_rows.h"
#include "model/layer_groups.h"
#include "model/stream.h"
#include "ops/rows.h"

namespace pith {

class PrefillPass::Impl {
 public:
  Impl(const Model& model, const Exec& exec, StatePool& pool, std::span<const SequenceInput> batch,
       const PrefillOptions& options, Workspace& ws)
      : model_(model),
        pool_(pool),
        batch_(batch.begin(), batch.end()),
        options_(options),
        ws_(ws),
        context_{.exec = exec,
                 .mode = LayerMode::kPrefill,
                 .ssd_chunk = options.ssd_chunk,
                 .chunk_rows = std::max(options.rows_per_chunk, options.ssd_chunk),
                 .ws = ws} {
    for (const SequenceInput& input : batch_) {
      Require(!input.ids.empty(), ErrorCode::kInvalidArgument,
              "prompt: got no tokens, expected at least one");
      CheckTokenIds(model.config(), input.ids);
      lengths_.push_back(static_cast<int64_t>(input.ids.size()));
      CheckLength(model, input.sequence->tokens + lengths_.back());
    }
    const bool reduces = options.reduction != nullptr && !options.reduction->none();
    groups_ = GroupLayers(model.n_layer(), reduces ? options.reduction : nullptr);
    if (reduces) Reduces(*options.reduction);
    work_total_ = ExpectedWork();
  }

  bool done() const { return group_ == groups_.size(); }

  void Advance(int64_t rows, const RowSink& sink) {
    PITH_CHECK(!broken_);
    broken_ = true;  // until this call ends without a throw
    if (!started_) Start();
    for (double left = static_cast<double>(rows); !done();) {
      const double spent = DoNext(sink);
      left -= spent;
      if (spent > 0 && left <= 0) break;
    }
    // What ends a group costs nothing: the pass is done as soon as its last chunk is.
    while (!done() && AtEndOfGroup()) EndGroup();
    if (done() && !counted_) CountTokens();
    broken_ = false;
  }

  PrefillResult TakeResult() {
    PITH_CHECK(done());
    PrefillResult result;
    if (!stream_) return result;
    CountTogether();
    result.schedules = stream_->TakeSchedules();
    result.maps = stream_->TakeMaps();
    double saved = 0;
    double tokens = 0;
    for (size_t s = 0; s < batch_.size(); ++s) {
      Schedule& schedule = result.schedules[s];
      if (skim_ != nullptr) schedule.realised = skim_->RealisedBy(far_[s].work, lengths_[s]);
      saved += schedule.realised * static_cast<double>(lengths_[s]);
      tokens += static_cast<double>(lengths_[s]);
    }
    result.realised = tokens > 0 ? saved / tokens : 0;
    result.far = std::move(far_);
    return result;
  }

 private:
  const LayerGroup& Group() const { return groups_[group_]; }
  std::span<const int64_t> Lengths() const { return stream_ ? stream_->lengths() : lengths_; }
  bool IsLast() const { return Group().end == model_.n_layer() && Group().site < 0; }

  void Reduces(const CompiledReduction& reduction) {
    std::vector<std::span<const int32_t>> ids;
    for (const SequenceInput& input : batch_) ids.push_back(input.ids);
    stream_.emplace(model_, context_.exec, reduction, std::move(ids), options_.on_site);
    skim_ = reduction.skim();
    if (skim_ == nullptr) return;
    far_.resize(batch_.size());
    for (size_t s = 0; s < far_.size(); ++s) {
      far_[s].region = skim_->Region(lengths_[s]);
      far_[s].needed.resize(model_.n_layer());
    }
  }

  // What happens before the first layer.
  void Start() {
    started_ = true;
    if (stream_ && skim_ == nullptr && options_.reduction->removal()->sites.front() < 0) {
      stream_->Reduce(0);
    }
    if (Group().skim) EmbedStream();
    BeginGroup();
  }

  void BeginGroup() {
    chunk_ = 0;
    far_layer_ = Group().begin;
    far_sequence_ = Group().skim ? 0 : far_.size();
    far_begun_ = false;
    far_taken_.assign(far_.size(), false);
    chunks_ = NearChunks(Group());
  }

  bool AtEndOfGroup() const { return far_sequence_ == far_.size() && chunk_ == chunks_.size(); }

  void EndGroup() {
    if (Group().site >= 0) stream_->Reduce(Group().site);
    if (++group_ < groups_.size()) BeginGroup();
  }

  // The next piece of work: the far rows of all sequences, or of one in one layer, or one chunk of
  // near rows through the group. Returns what it cost, in rows through the whole model.
  double DoNext(const RowSink& sink) {
    if (AtEndOfGroup()) {
      EndGroup();
      return 0;
    }
    if (far_sequence_ < far_.size()) return WriteFarRows();
    const Chunk& chunk = chunks_[chunk_++];
    // The host sorts out what became of the tokens while the device does the last of its work.
    if (stream_ && IsLast() && chunk_ == chunks_.size()) stream_->FetchPlans();
    Load(chunk);
    if (IsLast()) FindWanted(chunk);
    RunLayers(chunk);
    if (IsLast()) {
      Emit(sink);
    } else {
      stream_->Store(ws_, chunk, Group().end - 1, !context_.sum.empty());
    }
    const double share =
        static_cast<double>(Group().layers()) / static_cast<double>(model_.n_layer());
    return std::max(1.0, static_cast<double>(CountRows(chunk)) * share);
  }

  // Of all texts at once in all layers of the group, where the backend can; else of one in one
  // layer.
  double WriteFarRows() {
    CheckCancelled();
    if (!std::exchange(far_begun_, true)) return WriteTogether();
    const size_t s = far_sequence_;
    const FarRegion region = far_[s].region;
    if (region.far == 0 || far_taken_[s]) {
      ++far_sequence_;
      return 0;
    }
    const int64_t layer = far_layer_;
    const Sequence& sequence = *batch_[s].sequence;
    const LayerStates states = pool_.layer(layer);
    FarWritten written = model_.layer(layer).WriteFar(
        context_, stream_->FirstRows(static_cast<int64_t>(s), region.far), region, skim_->horizon(),
        {.states = states,
         .slot = sequence.slot,
         .first_position = sequence.tokens,
         .ids = batch_[s].ids.first(static_cast<size_t>(region.far))});
    const double work = written.work;
    Add(s, layer, std::move(written));
    if (++far_layer_ == Group().end) {
      far_layer_ = Group().begin;
      ++far_sequence_;
    }
    return work / model_.facts().LayersWork();
  }

  // What was written is not known yet: the cost is that of all writes.
  double WriteTogether() {
    std::vector<FarText> texts;
    std::vector<size_t> sequences;
    for (size_t s = 0; s < far_.size(); ++s) {
      const FarRegion region = far_[s].region;
      if (region.far == 0) continue;
      texts.push_back({.region = region,
                       .stream = stream_->FirstRows(static_cast<int64_t>(s), region.far),
                       .slot = batch_[s].sequence->slot});
      sequences.push_back(s);
    }
    FarTogether together =
        WriteFarTogether(context_, model_, Group(), pool_, skim_->horizon(), texts);
    double work = 0;
    for (size_t& text : together.texts) {
      text = sequences[text];
      far_taken_[text] = true;
      for (int64_t l = Group().begin; l < Group().end; ++l) {
        work += model_.layer(l).work().FarWritten() * static_cast<double>(far_[text].region.far);
      }
    }
    if (!together.texts.empty()) together_.push_back(std::move(together));
    return work / model_.facts().LayersWork();
  }

  void Add(size_t sequence, int64_t layer, FarWritten written) {
    far_[sequence].work += written.work;
    far_[sequence].needed[layer] = std::move(written.needed);
  }

  void CountTogether() {
    for (const FarTogether& together : std::exchange(together_, {})) {
      auto written = pith::CountTogether(context_.exec, model_, together);
      for (size_t t = 0; t < written.size(); ++t) {
        for (int64_t l = together.group.begin; l < together.group.end; ++l) {
          Add(together.texts[t], l, std::move(written[t][l - together.group.begin]));
        }
      }
    }
  }

  // The stream that far rows keep where even the first layer skims them.
  void EmbedStream() {
    for (const Chunk& chunk : PackChunks(Lengths(), context_.chunk_rows, options_.ssd_chunk)) {
      EmbedChunk(chunk);
      stream_->StoreEmbedding(ws_, chunk);
    }
    embedded_ = true;
  }

  // The rows that pass the group, packed: all, or those that are not far.
  std::vector<Chunk> NearChunks(const LayerGroup& group) const {
    std::vector<int64_t> lengths(Lengths().begin(), Lengths().end());
    if (!group.skim) return PackChunks(lengths, context_.chunk_rows, options_.ssd_chunk);
    for (size_t s = 0; s < lengths.size(); ++s) lengths[s] -= far_[s].region.far;
    std::vector<Chunk> chunks = PackChunks(lengths, context_.chunk_rows, options_.ssd_chunk);
    for (Chunk& chunk : chunks) {
      for (Piece& piece : chunk) piece.begin += far_[piece.sequence].region.far;
    }
    return chunks;
  }

  int32_t Position(const Piece& piece, int64_t row) {
    const int64_t index = piece.begin + row;
    return stream_ ? stream_->map(piece.sequence).positions()[index] : static_cast<int32_t>(index);
  }

  // Scratch ← the chunk's rows as the group finds them.
  void Load(const Chunk& chunk) {
    if (Group().begin == 0 && !embedded_) {
      EmbedChunk(chunk);
      return;
    }
    ws_.Reserve(context_.exec, model_.config().d_model, CountRows(chunk));
    stream_->Load(ws_, chunk);
  }

  void EmbedChunk(const Chunk& chunk) {
    ws_.Reserve(context_.exec, model_.config().d_model, CountRows(chunk));
    rows_.ids.clear();
    AddTokens(chunk);
    model_.Embed(context_.exec, rows_.ids, ws_.x.view());
  }

  // What stands at each row's position.
  void AddTokens(const Chunk& chunk) {
    for (const Piece& piece : chunk) {
      for (int64_t r = 0; r < piece.count; ++r) {
        rows_.ids.push_back(batch_[piece.sequence].ids[Position(piece, r)]);
      }
    }
  }

  void RunLayers(const Chunk& chunk) {
    rows_.Clear();
    const bool positions = AnyLayer([](const Layer& layer) { return layer.reads_positions(); });
    if (AnyLayer([](const Layer& layer) { return layer.reads_ids(); })) AddTokens(chunk);
    for (const Piece& piece : chunk) {
      const Sequence& sequence = *batch_[piece.sequence].sequence;
      rows_.segments.push_back({rows_.rows, piece.count});
      rows_.slots.push_back(sequence.slot);
      for (int64_t r = 0; positions && r < piece.count; ++r) {
        rows_.positions.push_back(static_cast<int32_t>(sequence.tokens) + Position(piece, r));
      }
      rows_.rows += piece.count;
    }
    const bool last = IsLast();
    const LayerGroup& group = Group();
    for (int64_t layer = group.begin; layer < group.end; ++layer) {
      CheckCancelled();
      const bool all = !last || layer + 1 < model_.n_layer() || std::ssize(wanted_) == rows_.rows;
      rows_.wanted = all ? nullptr : &wanted_;
      const bool add = layer > group.begin;
      const bool ends = layer + 1 == group.end;
      context_.observed = ends && group.site >= 0 ? &stream_->needs() : nullptr;
      context_.sum = ends && !last && add ? stream_->ResidualOf(chunk) : MatView<float>();
      context_.importance =
          context_.observed != nullptr ? stream_->ImportanceOf(chunk) : VecView<float>();
      context_.compact = ends ? !last && stream_->takes_compact()
                              : all && model_.layer(layer + 1).TakesCompact(context_);
      model_.layer(layer).Forward(context_, rows_, pool_.layer(layer), add);
      Report(static_cast<double>(rows_.rows));
    }
    rows_.wanted = nullptr;
  }

  // Whether a layer of the group is such a one.
  template <class Is>
  bool AnyLayer(Is is) const {
    for (int64_t layer = Group().begin; layer < Group().end; ++layer) {
      if (is(model_.layer(layer))) return true;
    }
    return false;
  }

  void CheckCancelled() const {
    Require(options_.cancel == nullptr || !options_.cancel->load(), ErrorCode::kCancelled,
            "cancelled");
  }

  double ExpectedWork() const {
    double tokens = 0;
    for (size_t s = 0; s < batch_.size(); ++s) {
      const double realised = stream_ ? stream_->schedule(s).realised : 0;
      tokens += static_cast<double>(lengths_[s]) * (1 - realised);
    }
    return tokens * static_cast<double>(model_.n_layer());
  }

  void Report(double layer_rows) {
    work_done_ += layer_rows;
    if (options_.progress) options_.progress(std::min(1.0, work_done_ / work_total_));
  }

  void FindWanted(const Chunk& chunk) {
    wanted_.clear();
    outputs_.clear();
    int64_t row = 0;
    for (const Piece& piece : chunk) {
      const WantRows want = batch_[piece.sequence].want;
      const int64_t last = Lengths()[piece.sequence] - 1;
      for (int64_t r = 0; r < piece.count; ++r, ++row) {
        if (want == WantRows::kNone) continue;
        if (want == WantRows::kAll) {
          wanted_.push_back(row);
          outputs_.push_back({piece.sequence, Position(piece, r)});
        } else if (piece.begin + r == last) {  // the last token's row is never removed
          wanted_.push_back(row);
          outputs_.push_back({piece.sequence, static_cast<int32_t>(lengths_[piece.sequence] - 1)});
        }
      }
    }
  }

  // Gathers the wanted rows, normalises them and hands them out. The last layer left its outputs
  // for them alone; a group without layers left everything in the stream.
  void Emit(const RowSink& sink) {
    if (wanted_.empty()) return;
    const MatView<float> out = ws_.out.Rows(0, std::ssize(wanted_));
    GatherRowsArgs gather{.a = ws_.x.view(), .a_rows = wanted_, .b = {}, .b_rows = {}, .out = out};
    if (Group().layers() > 0) {
      first_rows_.resize(wanted_.size());
      std::iota(first_rows_.begin(), first_rows_.end(), 0);
      gather.b = ws_.h.view();
      gather.b_rows = first_rows_;
    }
    GatherRows(context_.exec, gather);
    model_.FinalNorm(context_.exec, out);
    sink(outputs_, out);
  }

  void CountTokens() {
    counted_ = true;
    for (size_t s = 0; s < batch_.size(); ++s) batch_[s].sequence->tokens += lengths_[s];
  }

  const Model& model_;
  StatePool& pool_;
  const std::vector<SequenceInput> batch_;
  const PrefillOptions options_;
  Workspace& ws_;
  LayerContext context_;
  std::vector<int64_t> lengths_;
  std::optional<Stream> stream_;
  const Skim* skim_ = nullptr;
  std::vector<FarReport> far_;
  std::vector<FarTogether> together_;  // whose masks the backend still has
  std::vector<bool> far_taken_;        // whether the group has a sequence's far rows of those
  bool far_begun_ = false;
  // The place: a group of layers, in it first far rows by sequence and layer, then chunks.
  std::vector<LayerGroup> groups_;
  size_t group_ = 0;
  size_t far_sequence_ = 0;
  int64_t far_layer_ = 0;
  std::vector<Chunk> chunks_;
  size_t chunk_ = 0;
  bool started_ = false;
  bool embedded_ = false;
  bool counted_ = false;
  bool broken_ = false;
  // Of a chunk; they keep their room for the next one.
  LayerRows rows_;
  std::vector<int64_t> wanted_;      // of its rows, in the last group: those that are read out
  std::vector<OutputRow> outputs_;   // which these are
  std::vector<int64_t> first_rows_;  // 0, 1, … as many
  double work_done_ = 0;
  double work_total_ = 0;
};

PrefillPass::PrefillPass(const Model& model, const Exec& exec, StatePool& pool,
                         std::span<const SequenceInput> batch, const PrefillOptions& options,
                         Workspace& ws)
    : impl_(std::make_unique<Impl>(model, exec, pool, batch, options, ws)) {}
PrefillPass::~PrefillPass() = default;
PrefillPass::PrefillPass(PrefillPass&&) noexcept = default;
PrefillPass& PrefillPass::operator=(PrefillPass&&) noexcept = default;

bool PrefillPass::done() const { return impl_->done(); }
void PrefillPass::Advance(int64_t rows, const RowSink& sink) { impl_->Advance(rows, sink); }
PrefillResult PrefillPass::TakeResult() { return impl_->TakeResult(); }

PrefillResult Prefill(const Model& model, const Exec& exec, StatePool& pool,
                      std::span<const SequenceInput> batch, const PrefillOptions& options,
                      Workspace& ws, const RowSink& sink) {
  PrefillPass pass(model, exec, pool, batch, options, ws);
  while (!pass.done()) pass.Advance(std::numeric_limits<int32_t>::max(), sink);
  return pass.TakeResult();
}

}  // namespace pith
