#include "model/prefill.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "core/error.h"
#include "model/block.h"
#include "model/chunks.h"
#include "model/far.h"
#include "model/head.h"
#include "model/stream.h"
#include "ops/embed.h"

namespace pith {
namespace {

// Layers [begin, end) whose rows have the same roles; what a caller does after them.
struct LayerGroup {
  int64_t begin = 0;
  int64_t end = 0;
  int site = -1;      // reduces after the group; −1: none
  bool skim = false;  // far rows only write state
};

std::vector<LayerGroup> SplitAtSites(int64_t n_layer, std::span<const int> sites) {
  std::vector<LayerGroup> groups;
  int64_t begin = 0;
  for (size_t k = 0; k < sites.size(); ++k) {
    if (sites[k] < 0) continue;  // before the first layer: reduced ahead of all groups
    groups.push_back({.begin = begin, .end = sites[k] + 1, .site = static_cast<int>(k)});
    begin = sites[k] + 1;
  }
  groups.push_back({.begin = begin, .end = n_layer});  // empty where the last layer is a site
  return groups;
}

std::vector<LayerGroup> SplitByRoles(int64_t n_layer, const Skim& skim) {
  std::vector<LayerGroup> groups;
  for (int64_t l = 0; l < n_layer; ++l) {
    if (groups.empty() || groups.back().skim == skim.full(l)) {
      groups.push_back({.begin = l, .end = l, .skim = !skim.full(l)});
    }
    groups.back().end = l + 1;
  }
  return groups;
}

class Forward {
 public:
  Forward(const Model& model, const Exec& exec, std::span<const SequenceInput> batch,
          const PrefillOptions& options, Workspace& ws)
      : batch_(batch),
        options_(options),
        chunk_rows_(std::max(options.rows_per_chunk, options.ssd_chunk)),
        ws_(ws),
        context_{model, exec, BlockMode::kPrefill, options.ssd_chunk, ws, chunk_rows_} {
    for (const SequenceInput& input : batch) {
      Require(!input.ids.empty(), ErrorCode::kInvalidArgument,
              "prompt: got no tokens, expected at least one");
      CheckTokenIds(model.config(), input.ids);
      lengths_.push_back(static_cast<int64_t>(input.ids.size()));
    }
    const bool reduces = options.reduction != nullptr && !options.reduction->none();
    if (reduces) stream_.emplace(model, *options.reduction, batch, ws, options.on_site);
    if (reduces) skim_ = options.reduction->skim();
    far_.resize(skim_ == nullptr ? 0 : batch.size());
    for (size_t s = 0; s < far_.size(); ++s) {
      far_[s].region = skim_->Region(lengths_[s]);
      far_[s].needed.resize(model.config().n_layer);
    }
    work_total_ = ExpectedWork();
  }

  PrefillResult Run(const RowSink& sink) {
    for (const LayerGroup& group : Start()) {
      if (group.skim) WriteFarRows(group);
      const bool last = group.end == config().n_layer && group.site < 0;
      for (const Chunk& chunk : NearChunks(group)) {
        Load(group, chunk);
        const std::vector<WantedRow> wanted = last ? Wanted(chunk) : std::vector<WantedRow>();
        RunLayers(group, chunk, last ? &wanted : nullptr);
        if (last) {
          Emit(group, wanted, sink);
        } else {
          stream_->Store(context_.exec, chunk);
        }
      }
      if (group.site >= 0) stream_->Reduce(context_.exec, group.site);
    }
    for (const SequenceInput& input : batch_) {
      input.state->AddTokens(static_cast<int64_t>(input.ids.size()));
    }
    return Result();
  }

 private:
  // A row of the chunk whose output a caller wants.
  struct WantedRow {
    int64_t row;  // in the chunk
    OutputRow output;
  };

  const ModelConfig& config() const { return context_.model.config(); }
  std::span<const int64_t> Lengths() const { return stream_ ? stream_->lengths() : lengths_; }

  // What happens before the first layer, and the groups that follow.
  std::vector<LayerGroup> Start() {
    if (skim_ != nullptr) {
      std::vector<LayerGroup> groups = SplitByRoles(config().n_layer, *skim_);
      if (groups[0].skim) EmbedStream();
      return groups;
    }
    const auto sites = stream_ ? std::span<const int>(options_.reduction->removal()->sites)
                               : std::span<const int>();
    if (!sites.empty() && sites[0] < 0) stream_->Reduce(context_.exec, 0);
    return SplitAtSites(config().n_layer, sites);
  }

  // The stream that far rows keep where even the first layer skims them.
  void EmbedStream() {
    for (const Chunk& chunk : PackChunks(Lengths(), chunk_rows_, options_.ssd_chunk)) {
      EmbedChunk(chunk);
      stream_->StoreEmbedding(chunk);
    }
    embedded_ = true;
  }

  // The rows that pass the group, packed: all, or those that are not far.
  std::vector<Chunk> NearChunks(const LayerGroup& group) const {
    std::vector<int64_t> lengths(Lengths().begin(), Lengths().end());
    if (!group.skim) return PackChunks(lengths, chunk_rows_, options_.ssd_chunk);
    for (size_t s = 0; s < lengths.size(); ++s) lengths[s] -= far_[s].region.far;
    std::vector<Chunk> chunks = PackChunks(lengths, chunk_rows_, options_.ssd_chunk);
    for (Chunk& chunk : chunks) {
      for (Piece& piece : chunk) piece.begin += far_[piece.sequence].region.far;
    }
    return chunks;
  }

  void WriteFarRows(const LayerGroup& group) {
    for (size_t s = 0; s < far_.size(); ++s) {
      FarReport& far = far_[s];
      if (far.region.far == 0) continue;
      const auto stream = stream_->FirstRows(static_cast<int64_t>(s), far.region.far);
      for (int64_t layer = group.begin; layer < group.end; ++layer) {
        CheckCancelled();
        FarWritten written =
            WriteFar(context_, layer, stream, far.region, skim_->horizon(), *batch_[s].state);
        far.work += written.work;
        far.needed[layer] = std::move(written.needed);
      }
    }
  }

  int32_t Position(const Piece& piece, int64_t row) const {
    const int64_t index = piece.begin + row;
    return stream_ ? stream_->map(piece.sequence).positions()[index] : static_cast<int32_t>(index);
  }

  // Scratch ← the chunk's rows as the group finds them.
  void Load(const LayerGroup& group, const Chunk& chunk) {
    if (group.begin == 0 && !embedded_) {
      EmbedChunk(chunk);
      return;
    }
    ws_.Reserve(config(), CountRows(chunk));
    stream_->Load(chunk);
  }

  void EmbedChunk(const Chunk& chunk) {
    ws_.Reserve(config(), CountRows(chunk));
    std::vector<int32_t> ids;
    for (const Piece& piece : chunk) {
      for (int64_t r = 0; r < piece.count; ++r) {
        ids.push_back(batch_[piece.sequence].ids[Position(piece, r)]);
      }
    }
    Embed(context_.exec, context_.model.weights().embedding, ids, ws_.x.view());
  }

  // Where the last mixer's output is still to be added to x as the group begins.
  bool HiddenApart(const LayerGroup& group) const {
    return group.begin > 0 && stream_->keeps_branches();
  }

  // `wanted`: in the last layer, the rows that are read out; null in a group that others follow.
  void RunLayers(const LayerGroup& group, const Chunk& chunk,
                 const std::vector<WantedRow>* wanted) {
    BlockRows rows;
    for (const Piece& piece : chunk) {
      rows.segments.push_back({rows.rows, piece.count});
      rows.states.push_back(batch_[piece.sequence].state);
      rows.rows += piece.count;
    }
    std::vector<int64_t> read_out;
    if (wanted != nullptr) {
      for (const WantedRow& row : *wanted) read_out.push_back(row.row);
    }
    for (int64_t layer = group.begin; layer < group.end; ++layer) {
      CheckCancelled();
      const bool all = wanted == nullptr || layer + 1 < config().n_layer ||
                       static_cast<int64_t>(read_out.size()) == rows.rows;
      rows.wanted = all ? nullptr : &read_out;
      Block(context_, rows, layer, layer == group.begin && !HiddenApart(group));
      Report(static_cast<double>(rows.rows));
    }
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
    return tokens * static_cast<double>(config().n_layer);
  }

  void Report(double layer_rows) {
    work_done_ += layer_rows;
    if (options_.progress) options_.progress(std::min(1.0, work_done_ / work_total_));
  }

  std::vector<WantedRow> Wanted(const Chunk& chunk) const {
    std::vector<WantedRow> wanted;
    int64_t row = 0;
    for (const Piece& piece : chunk) {
      const WantRows want = batch_[piece.sequence].want;
      const int64_t last = Lengths()[piece.sequence] - 1;
      for (int64_t r = 0; r < piece.count; ++r, ++row) {
        if (want == WantRows::kNone) continue;
        if (want == WantRows::kLast && piece.begin + r != last) continue;
        wanted.push_back({row, {piece.sequence, Position(piece, r)}});
      }
    }
    return wanted;
  }

  // Gathers the wanted rows, normalises them and hands them out. The last block left its outputs
  // for them alone; a group without layers left everything in the stream.
  void Emit(const LayerGroup& group, const std::vector<WantedRow>& wanted, const RowSink& sink) {
    if (wanted.empty()) return;
    const bool ran = group.begin < group.end;
    const MatView<float> out = ws_.out.view().Rows(0, static_cast<int64_t>(wanted.size()));
    std::vector<OutputRow> outputs;
    for (size_t i = 0; i < wanted.size(); ++i) {
      const float* x = ws_.x.view().Row(wanted[i].row);
      const float* h = ws_.h.view().Row(ran ? static_cast<int64_t>(i) : wanted[i].row);
      const bool add = ran || HiddenApart(group);
      float* to = out.Row(static_cast<int64_t>(i));
      for (int64_t c = 0; c < config().d_model; ++c) to[c] = add ? x[c] + h[c] : x[c];
      outputs.push_back(wanted[i].output);
    }
    FinalNorm(context_.model, context_.exec, out);
    sink(outputs, out);
  }

  PrefillResult Result() {
    PrefillResult result = stream_ ? stream_->TakeResult() : PrefillResult{};
    if (skim_ == nullptr) return result;
    double saved = 0;
    double tokens = 0;
    for (size_t s = 0; s < far_.size(); ++s) {
      result.schedules[s].realised = skim_->RealisedBy(far_[s].work, lengths_[s]);
      saved += result.schedules[s].realised * static_cast<double>(lengths_[s]);
      tokens += static_cast<double>(lengths_[s]);
    }
    result.realised = saved / tokens;
    result.far = std::move(far_);
    return result;
  }

  std::span<const SequenceInput> batch_;
  const PrefillOptions& options_;
  const int64_t chunk_rows_;
  Workspace& ws_;
  BlockContext context_;
  std::vector<int64_t> lengths_;
  std::optional<Stream> stream_;
  const Skim* skim_ = nullptr;
  std::vector<FarReport> far_;
  bool embedded_ = false;
  double work_done_ = 0;
  double work_total_ = 0;
};

}  // namespace

PrefillResult Prefill(const Model& model, const Exec& exec, std::span<const SequenceInput> batch,
                      const PrefillOptions& options, Workspace& ws, const RowSink& sink) {
  return Forward(model, exec, batch, options, ws).Run(sink);
}

}  // namespace pith
