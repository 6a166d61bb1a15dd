// FarWrite: B for all groups first, by products that use all threads; then the heads, which are
// independent, are shared out. A head's x is projected, convolved and written block by block.
#include "ops/far_write.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "backends/cpu/kernels.h"
#include "backends/cpu/state_write.h"
#include "core/parallel.h"

namespace pith::cpu {
namespace {

// Bounds a thread's scratch.
constexpr int64_t kBlockRows = 1024;

// Of a vector that may be empty.
VecView<const float> Part(VecView<const float> v, int64_t begin, int64_t count) {
  return v.empty() ? v : v.Part(begin, count);
}

template <class Fn>
void ForBlocks(const std::vector<RowRun>& runs, const Fn& fn) {
  for (const RowRun& run : runs) {
    for (int64_t begin = run.begin; begin < run.end; begin += kBlockRows) {
      fn(RowRun{begin, std::min(run.end, begin + kBlockRows)});
    }
  }
}

// out = the convolution's inputs, channels [channel, channel + out.cols), of rows [begin, …).
void ProjectChannels(const Exec& exec, const FarWriteArgs& args, int64_t begin, int64_t channel,
                     MatView<float> out) {
  cpu::Linear(exec, args.rows.Rows(begin, out.rows), args.w.Rows(channel, out.cols),
              Part(args.bias, channel, out.cols), out);
}

// Channels [channel, channel + out.cols) after convolution and SiLU, for rows [rows.begin,
// rows.end). Earlier inputs come from the far rows before, or from the carried state.
void ReadChannels(const Exec& exec, const FarWriteArgs& args, const RowRun& rows, int64_t channel,
                  MatView<float> out) {
  const int64_t taps = args.d_conv - 1;
  const int64_t from = std::max<int64_t>(0, rows.begin - taps);
  MatOwner<float> in(rows.end - from, out.cols);
  ProjectChannels(exec, args, from, channel, in.view());
  MatOwner<float> history(taps, out.cols);
  for (int64_t i = 0; i < taps; ++i) {
    const int64_t t = rows.begin - taps + i;
    const float* row =
        t >= 0 ? in.view().Row(t - from) : args.conv_state + (taps + t) * args.w.rows + channel;
    std::copy_n(row, out.cols, history.view().Row(i));
  }
  const Segment segment{0, out.rows};
  const int32_t slot = 0;
  cpu::CausalConv1d(exec,
                    {.x = in.view().Rows(rows.begin - from, out.rows),
                     .weight = args.conv_weight.Part(channel * args.d_conv, out.cols * args.d_conv),
                     .bias = Part(args.conv_bias, channel, out.cols),
                     .d_conv = args.d_conv,
                     .segments = {&segment, 1},
                     .states = {history.view().data, 0, {&slot, 1}},
                     .out = out});
}

// B of the rows that any head of the group writes.
void ReadB(const Exec& exec, const FarWriteArgs& args, int64_t group) {
  const int64_t heads = args.n_heads / args.n_groups;
  const int64_t pairs = heads * CountChunks(args.region);
  const std::vector<uint8_t> any = NeededByAny(args.needed.subspan(group * pairs, pairs), heads);
  const int64_t column = group * args.d_state;
  ForBlocks(NeededRuns(args.region, any), [&](const RowRun& rows) {
    ReadChannels(exec, args, rows, args.n_heads * args.head_dim + column,
                 args.b.Rows(rows.begin, rows.end - rows.begin).Cols(column, args.d_state));
  });
}

void WriteHead(const Exec& exec, const FarWriteArgs& args, int64_t h) {
  const int64_t chunks = CountChunks(args.region);
  const int64_t size = args.d_state * args.head_dim;
  const int64_t column = h / (args.n_heads / args.n_groups) * args.d_state;
  float* const state = args.ssm_state + h * size;
  for (int64_t i = 0; i < size; ++i) state[i] *= args.decay.data[h];
  MatOwner<float> x;
  ForBlocks(NeededRuns(args.region, args.needed.subspan(h * chunks, chunks)),
            [&](const RowRun& rows) {
              x.Resize(rows.end - rows.begin, args.head_dim);
              ReadChannels(exec, args, rows, h * args.head_dim, x.view());
              StateWrite({.x = x.view(),
                          .b = args.b.Rows(rows.begin, x.rows()).Cols(column, args.d_state),
                          .weight = args.weight.Row(h) + rows.begin,
                          .state = state});
            });
}

// Heads that forget slowly need many more rows than others. Begun first, none is left to one thread
// at the end.
std::vector<int64_t> LongestFirst(const FarWriteArgs& args) {
  const int64_t chunks = CountChunks(args.region);
  std::vector<std::pair<int64_t, int64_t>> rows;
  for (int64_t h = 0; h < args.n_heads; ++h) {
    rows.emplace_back(-CountNeededRows(args.region, args.needed.subspan(h * chunks, chunks)), h);
  }
  std::ranges::sort(rows);
  std::vector<int64_t> heads;
  for (const auto& [count, h] : rows) heads.push_back(h);
  return heads;
}

// The last d_conv − 1 inputs of all channels, from the far rows and, where they are fewer, from the
// carried state.
void UpdateConvState(const Exec& exec, const FarWriteArgs& args) {
  const int64_t taps = args.d_conv - 1;
  const int64_t fresh = std::min(taps, args.region.far);
  if (fresh == 0) return;
  const int64_t width = args.w.rows;
  std::copy(args.conv_state + fresh * width, args.conv_state + taps * width, args.conv_state);
  ProjectChannels(exec, args, args.region.far - fresh, 0,
                  {args.conv_state + (taps - fresh) * width, fresh, width});
}

}  // namespace

void FarWrite(const Exec& exec, const FarWriteArgs& args) {
  for (int64_t g = 0; g < args.n_groups; ++g) ReadB(exec, args, g);
  Exec alone = exec;
  alone.threads = 1;
  const std::vector<int64_t> heads = LongestFirst(args);
  ParallelFor(exec.threads, args.n_heads, [&](int64_t i) { WriteHead(alone, args, heads[i]); });
  UpdateConvState(exec, args);
}

}  // namespace pith::cpu
