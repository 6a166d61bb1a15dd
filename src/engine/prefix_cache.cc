#include "engine/prefix_cache.h"

#include <algorithm>

#include "core/error.h"

namespace pith {

PrefixCache::PrefixCache(const Model& model, const Exec& exec, int64_t states, int64_t block)
    : block_(block), pool_(model, exec, states) {}

PrefixCache::Found PrefixCache::Find(std::span<const int32_t> ids, int64_t most) {
  Found found;
  Node* node = &root_;
  const int64_t end = std::min<int64_t>(std::ssize(ids), most);
  for (int64_t at = 0; at + block_ <= end; at += block_) {
    const auto block = ids.subspan(at, block_);
    const auto next = node->children.find({block.begin(), block.end()});
    if (next == node->children.end()) break;
    node = &next->second;
    found.shared = at + block_;
    if (node->slot < 0) continue;
    found.tokens = found.shared;
    found.slot = node->slot;
    node->used = ++now_;  // those on the way, too: the prompts share them
  }
  return found;
}

void PrefixCache::Add(std::span<const int32_t> ids, const StatePool& pool, int32_t from) {
  PITH_CHECK(!ids.empty() && std::ssize(ids) % block_ == 0 && holds_any());
  if (pool_.free_slots() == 0) DropOldest();
  Node* node = &root_;
  for (; !ids.empty(); ids = ids.subspan(block_)) {
    const auto block = ids.first(block_);
    Node& next = node->children[{block.begin(), block.end()}];
    next.parent = node;
    node = &next;
  }
  node->used = ++now_;
  if (node->slot >= 0) return;  // another prompt was faster
  node->slot = pool_.Take();
  pool_.CopyFrom(pool, from, node->slot);
  with_state_.push_back(node);
}

void PrefixCache::DropOldest() {
  const auto oldest = std::ranges::min_element(with_state_, {}, &Node::used);
  Node* node = *oldest;
  with_state_.erase(oldest);
  pool_.Free(node->slot);
  node->slot = -1;
  // What leads to no state any more goes.
  while (node->parent != nullptr && node->slot < 0 && node->children.empty()) {
    Node* const parent = node->parent;
    std::erase_if(parent->children, [&](const auto& child) { return &child.second == node; });
    node = parent;
  }
}

}  // namespace pith
