#include "engine/prefix_cache.h"

#include <algorithm>

#include "core/error.h"

namespace pith {

PrefixCache::PrefixCache(const Model& model, const Exec& exec, const Limits& limits)
    : limits_(limits), pool_(model, exec, limits.states) {}

// From the leaves on: a tree as deep as a prompt is long would be destroyed by as deep a recursion.
PrefixCache::~PrefixCache() {
  while (!with_state_.empty()) DropOldest();
}

PrefixCache::Edge PrefixCache::EdgeOf(const PrefixStep& step) {
  return {std::string(step.reduction), {step.ids.begin(), step.ids.end()}};
}

int64_t PrefixCache::BytesOf(const Edge& edge) {
  constexpr size_t kOfTheTree = 4 * sizeof(void*);  // what std::map adds to a node
  return static_cast<int64_t>(edge.reduction.size() + edge.ids.size() * sizeof(int32_t) +
                              sizeof(Edge) + sizeof(Node) + kOfTheTree);
}

PrefixCache::Found PrefixCache::Find(std::span<const PrefixStep> path) {
  Found found;
  Node* node = &root_;
  for (const PrefixStep& step : path) {
    const auto next = node->children.find(EdgeOf(step));
    if (next == node->children.end()) break;
    node = &next->second;
    ++found.shared;
    if (node->slot < 0) continue;
    found.steps = found.shared;
    found.slot = node->slot;
    found.reading = node->reading;
    node->used = ++now_;  // those on the way, too: the prompts share them
  }
  return found;
}

void PrefixCache::Add(std::span<const PrefixStep> path, const Reading& reading,
                      const StatePool& pool, int32_t from) {
  PITH_CHECK(!path.empty() && holds_any());
  if (pool_.free_slots() == 0) DropOldest();
  Node* node = &root_;
  for (const PrefixStep& step : path) {
    PITH_CHECK(!step.reduction.empty() || std::ssize(step.ids) == limits_.block);
    const auto [next, is_new] = node->children.try_emplace(EdgeOf(step));
    if (is_new) token_bytes_ += BytesOf(next->first);
    next->second.parent = node;
    node = &next->second;
  }
  node->used = ++now_;
  if (node->slot >= 0) return;  // another prompt was faster
  node->slot = pool_.Take();
  node->reading = reading;
  pool_.CopyFrom(pool, from, node->slot);
  with_state_.push_back(node);
  while (token_bytes_ > limits_.token_bytes) DropOldest();
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
    const auto edge = std::ranges::find_if(
        parent->children, [&](const auto& child) { return &child.second == node; });
    token_bytes_ -= BytesOf(edge->first);
    parent->children.erase(edge);
    node = parent;
  }
}

}  // namespace pith
