#include "model/workspace.h"

namespace pith {

void Workspace::Reserve(const ModelConfig& config, int64_t rows) {
  for (MatOwner<float>* m : {&x, &h, &normed, &out}) m->Resize(rows, config.d_model);
  proj.Resize(rows, config.in_proj_rows() - config.d_inner);
  z.Resize(rows, config.d_inner);
  conv.Resize(rows, config.conv_channels());
  y.Resize(rows, config.d_inner);
  gated.Resize(rows, config.d_inner);
  if (config.kind == BlockKind::kMamba1) {
    x_db.Resize(rows, config.dt_rank + 2 * config.d_state);
    dt.Resize(rows, config.d_inner);
  }
}

size_t Workspace::ChunkBytes() const {
  size_t bytes = 0;
  for (const MatOwner<float>* m :
       {&x, &h, &normed, &proj, &z, &conv, &y, &gated, &x_db, &dt, &out, &gather}) {
    bytes += m->bytes();
  }
  return bytes;
}

size_t Workspace::StreamBytes() const {
  return stream_x.bytes() + stream_h.bytes() + features.bytes() + scores.bytes() +
         far_normed.bytes() + far_dt.bytes() + far_weight.bytes() + far_decay.bytes() +
         far_b.bytes();
}

}  // namespace pith
