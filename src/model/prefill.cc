#include "model/prefill.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "core/error.h"
#include "model/block.h"
#include "model/chunks.h"
#include "model/head.h"
#include "model/stream.h"
#include "ops/embed.h"

namespace pith {
namespace {

// Layers [begin, end) that all rows pass between two sites; `site` follows them, −1: none.
struct LayerGroup {
  int64_t begin = 0;
  int64_t end = 0;
  int site = -1;
};

std::vector<LayerGroup> SplitAtSites(int64_t n_layer, std::span<const int> sites) {
  std::vector<LayerGroup> groups;
  int64_t begin = 0;
  for (size_t k = 0; k < sites.size(); ++k) {
    if (sites[k] < 0) continue;  // before the first layer: reduced ahead of all groups
    groups.push_back({begin, sites[k] + 1, static_cast<int>(k)});
    begin = sites[k] + 1;
  }
  groups.push_back({begin, n_layer, -1});  // empty where the last layer is a site
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
        context_{model, exec, BlockMode::kPrefill, options.ssd_chunk, ws} {
    for (const SequenceInput& input : batch) {
      Require(!input.ids.empty(), ErrorCode::kInvalidArgument,
              "prompt: got no tokens, expected at least one");
      CheckTokenIds(model.config(), input.ids);
      lengths_.push_back(static_cast<int64_t>(input.ids.size()));
    }
    if (options.reducer != nullptr && !options.reducer->none()) {
      stream_.emplace(model.config(), *options.reducer, batch, ws);
    }
    work_total_ = ExpectedWork();
  }

  PrefillResult Run(const RowSink& sink) {
    const auto sites =
        stream_ ? std::span<const int>(options_.reducer->sites()) : std::span<const int>();
    if (!sites.empty() && sites[0] < 0) stream_->Reduce(context_.exec, 0);
    for (const LayerGroup& group : SplitAtSites(config().n_layer, sites)) {
      for (const Chunk& chunk : PackChunks(Lengths(), chunk_rows_, options_.ssd_chunk)) {
        Load(group, chunk);
        RunLayers(group, chunk);
        if (group.site < 0) {
          Emit(chunk, group.begin < group.end || stream_->keeps_branches(), sink);
        } else {
          stream_->Store(context_.exec, chunk);
        }
      }
      if (group.site >= 0) stream_->Reduce(context_.exec, group.site);
    }
    for (const SequenceInput& input : batch_) {
      input.state->AddTokens(static_cast<int64_t>(input.ids.size()));
    }
    return stream_ ? stream_->TakeResult() : PrefillResult{};
  }

 private:
  const ModelConfig& config() const { return context_.model.config(); }

  std::span<const int64_t> Lengths() const { return stream_ ? stream_->lengths() : lengths_; }

  int32_t Position(const Piece& piece, int64_t row) const {
    const int64_t index = piece.begin + row;
    return stream_ ? stream_->map(piece.sequence).positions()[index] : static_cast<int32_t>(index);
  }

  // Scratch ← the chunk's rows as the group finds them.
  void Load(const LayerGroup& group, const Chunk& chunk) {
    ws_.Reserve(config(), std::min(chunk_rows_, CountRows(chunk)));
    if (group.begin > 0) {
      stream_->Load(chunk);
      return;
    }
    std::vector<int32_t> ids;
    for (const Piece& piece : chunk) {
      for (int64_t r = 0; r < piece.count; ++r) {
        ids.push_back(batch_[piece.sequence].ids[Position(piece, r)]);
      }
    }
    Embed(context_.exec, context_.model.weights().embedding, ids,
          ws_.x.view().Rows(0, static_cast<int64_t>(ids.size())));
  }

  void RunLayers(const LayerGroup& group, const Chunk& chunk) {
    BlockRows rows;
    for (const Piece& piece : chunk) {
      rows.segments.push_back({rows.rows, piece.count});
      rows.states.push_back(batch_[piece.sequence].state);
      rows.rows += piece.count;
    }
    // T = x + h stands in x already where the stream does not keep the branches apart.
    const bool whole = group.begin == 0 || !stream_->keeps_branches();
    for (int64_t layer = group.begin; layer < group.end; ++layer) {
      Require(options_.cancel == nullptr || !options_.cancel->load(), ErrorCode::kCancelled,
              "cancelled");
      Block(context_, rows, layer, whole && layer == group.begin);
      Report(static_cast<double>(rows.rows));
    }
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

  // Gathers the rows that callers want, normalises them and hands them out. `h_apart`: the last
  // mixer's output is still to be added.
  void Emit(const Chunk& chunk, bool h_apart, const RowSink& sink) {
    std::vector<OutputRow> wanted;
    int64_t row = 0;
    for (const Piece& piece : chunk) {
      const WantRows want = batch_[piece.sequence].want;
      const int64_t last = Lengths()[piece.sequence] - 1;
      for (int64_t r = 0; r < piece.count; ++r, ++row) {
        if (want == WantRows::kNone) continue;
        if (want == WantRows::kLast && piece.begin + r != last) continue;
        const float* x = ws_.x.view().Row(row);
        const float* h = ws_.h.view().Row(row);
        float* out = ws_.out.view().Row(static_cast<int64_t>(wanted.size()));
        for (int64_t c = 0; c < config().d_model; ++c) out[c] = h_apart ? x[c] + h[c] : x[c];
        wanted.push_back({piece.sequence, Position(piece, r)});
      }
    }
    if (wanted.empty()) return;
    const MatView<float> out = ws_.out.view().Rows(0, static_cast<int64_t>(wanted.size()));
    FinalNorm(context_.model, context_.exec, out);
    sink(wanted, out);
  }

  std::span<const SequenceInput> batch_;
  const PrefillOptions& options_;
  const int64_t chunk_rows_;
  Workspace& ws_;
  BlockContext context_;
  std::vector<int64_t> lengths_;
  std::optional<Stream> stream_;
  double work_done_ = 0;
  double work_total_ = 0;
};

}  // namespace

PrefillResult Prefill(const Model& model, const Exec& exec, std::span<const SequenceInput> batch,
                      const PrefillOptions& options, Workspace& ws, const RowSink& sink) {
  return Forward(model, exec, batch, options, ws).Run(sink);
}

}  // namespace pith
