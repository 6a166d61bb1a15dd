#include "ops/mamba2_mixer.h"

#include "ops/checks.h"
#include "ops/kernels.h"

namespace pith {

bool TakesMamba2Mixer(const Exec& exec, const Mamba2MixerArgs& args) {
  const auto takes = KernelsFor(exec).takes_mamba2_mixer;
  return takes != nullptr && takes(exec, args);
}

void Mamba2Mixer(const Exec& exec, const Mamba2MixerArgs& args) {
  PITH_CHECK(TakesMamba2Mixer(exec, args));
  const int64_t rows = args.norm.x.rows;
  const int64_t d_inner = args.ssd.n_heads * args.ssd.head_dim;
  PITH_CHECK(args.in_proj.cols == args.norm.x.cols && args.out_proj.cols == d_inner);
  CheckMatrix(args.h, args.h.rows, args.out_proj.rows);
  CheckMatrix(args.squares, rows, args.ssd.n_heads);
  PITH_CHECK(args.h.rows == rows || static_cast<int64_t>(args.wanted.size()) == args.h.rows);
  PITH_CHECK(args.compact == nullptr || (!args.step && args.h.rows == rows));
  PITH_CHECK(args.step || args.added == nullptr);
  if (args.added != nullptr) {
    CheckMatrix(args.residual, rows, args.norm.x.cols);
    PITH_CHECK(args.residual.data == args.norm.x.data);
    CheckMatrix(args.residual_squares, rows, MostSquares(args.norm.x.cols));
  }
  PITH_CHECK(args.add.empty() || args.norm.add.empty());
  if (!args.importance.empty()) CheckVector(args.importance, rows);
  PITH_CHECK(args.importance_kind <= ImportanceKind::kL2);
  if (rows == 0) return;
  KernelsFor(exec).mamba2_mixer(exec, args);
}

void ExpandRows(const Exec& exec, const CompactRows& rows, MatView<float> out) {
  PITH_CHECK(!rows.empty() && KernelsFor(exec).expand_rows != nullptr);
  CheckMatrix(out, out.rows, out.cols);
  if (out.empty()) return;
  KernelsFor(exec).expand_rows(exec, rows, out);
}

}  // namespace pith
