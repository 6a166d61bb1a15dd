#include "reduce/blocks.h"

#include <algorithm>
#include <vector>

#include "core/error.h"
#include "reduce/edges.h"

namespace pith {
namespace {

struct Block {
  int64_t begin = 0;
  int64_t rows = 0;
  int64_t protected_tail = 0;
  int64_t remove = 0;
};

std::vector<Block> Split(const SiteView& site, int64_t size) {
  const int64_t tail = site.rows - site.protected_tail;
  std::vector<Block> blocks;
  for (int64_t begin = 0; begin < site.rows; begin += size) {
    const int64_t rows = std::min(size, site.rows - begin);
    blocks.push_back({begin, rows, std::clamp<int64_t>(begin + rows - tail, 0, rows)});
  }
  return blocks;
}

void Share(int64_t remove, int64_t eligible, Limit limit, std::vector<Block>& blocks) {
  const auto room = [&](const Block& b) { return MaxRemovable(limit, b.rows, b.protected_tail); };
  int64_t seen = 0, given = 0;
  for (Block& b : blocks) {
    seen += b.rows - b.protected_tail;
    const int64_t aim = eligible == 0 ? 0 : (2 * remove * seen + eligible) / (2 * eligible);
    b.remove = std::clamp<int64_t>(aim - given, 0, room(b));
    given += b.remove;
  }
  for (Block& b : blocks) {
    const int64_t more = std::min(remove - given, room(b) - b.remove);
    b.remove += more;
    given += more;
  }
  PITH_CHECK(given == remove);
}

template <class T>
std::span<const T> Part(std::span<const T> all, const Block& b) {
  return all.empty() ? all : all.subspan(b.begin, b.rows);
}

void Append(const Block& b, Plan part, Plan& plan, int64_t site_rows) {
  if (part.removed.empty()) return;
  for (Plan::Removed& r : part.removed) {
    r.row += static_cast<int32_t>(b.begin);
    if (r.target >= 0) r.target += static_cast<int32_t>(b.begin);
    plan.removed.push_back(r);
  }
  plan.hidden_rule = part.hidden_rule;
  plan.residual_rule = part.residual_rule;
  if (part.weights.empty()) return;
  plan.weights.resize(site_rows, 1);
  std::ranges::copy(part.weights, plan.weights.begin() + b.begin);
}

// Rows of a block to rows of the site.
void Shift(const Block& b, std::span<Edge> edges) {
  for (Edge& edge : edges) {
    edge.row += static_cast<int32_t>(b.begin);
    if (edge.match.target >= 0) edge.match.target += static_cast<int32_t>(b.begin);
  }
}

}  // namespace

Plan PlanInBlocks(const ReductionPolicy& policy, const SiteView& site, int64_t remove,
                  int64_t block, Limit limit) {
  PITH_CHECK(block >= 2 && block % 2 == 0);
  std::vector<Block> blocks = Split(site, block);
  Share(remove, site.rows - site.protected_tail, limit, blocks);
  Plan plan;
  for (size_t i = 0; i < blocks.size(); ++i) {
    const Block& b = blocks[i];
    SiteView view = site;
    view.rows = b.rows;
    view.positions = Part(site.positions, b);
    view.importance = Part(site.importance, b);
    view.sizes = Part(site.sizes, b);
    if (!site.features.empty()) view.features = site.features.Rows(b.begin, b.rows);
    view.protected_tail = b.protected_tail;
    view.block = static_cast<int64_t>(i);
    const size_t seen = site.edges_seen == nullptr ? 0 : site.edges_seen->size();
    Append(b, policy.MakePlan(view, b.remove), plan, site.rows);
    if (site.edges_seen != nullptr) Shift(b, std::span(*site.edges_seen).subspan(seen));
  }
  return plan;
}

}  // namespace pith
