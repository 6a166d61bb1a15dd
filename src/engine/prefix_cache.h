// States of prompts that were read, for prompts that begin alike.
#ifndef PITH_ENGINE_PREFIX_CACHE_H_
#define PITH_ENGINE_PREFIX_CACHE_H_

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/state_pool.h"

namespace pith {

// What a prompt is read by, one step after the other: tokens that are one context under a
// reduction, and blocks that are read whole.
struct PrefixStep {
  std::string_view reduction;  // Reduction::Impl::identity; empty: none
  std::span<const int32_t> ids;
};

// A tree over such steps. Some of its nodes have the state that a sequence is left in by the steps
// up to there; every leaf has one. A reduced context is a pass of its own in any prompt, so what
// follows it changes no bit of its state. A block is an SSD chunk: a pass that is cut between two
// of them has the bits of one that is not. So a prompt that goes on from a state here gets what it
// gets without. Not shared between threads.
class PrefixCache {
 public:
  struct Limits {
    int64_t states = 0;
    int64_t token_bytes = 0;  // of the tokens by which states are found
    int64_t block = 0;        // tokens; 0: a cut would change bits, so none is read by blocks
  };
  PrefixCache(const Model& model, const Exec& exec, const Limits& limits);
  ~PrefixCache();
  PrefixCache(const PrefixCache&) = delete;
  PrefixCache& operator=(const PrefixCache&) = delete;

  // What reading the steps up to a state gave.
  struct Reading {
    int64_t rows_left = 0;
    double realised = 0;
  };
  struct Found {
    size_t steps = 0;   // of the longest beginning that has a state; 0: none has
    int32_t slot = -1;  // of pool(), until the next Add
    Reading reading;
    size_t shared = 0;  // of the longest beginning that others have too; a state there would serve
  };
  // O(tokens).
  Found Find(std::span<const PrefixStep> path);
  // Keeps slot `from` of `pool` as the state after `path`, at least one step; those that were used
  // longest ago go where there is no room.
  void Add(std::span<const PrefixStep> path, const Reading& reading, const StatePool& pool,
           int32_t from);

  const StatePool& pool() const { return pool_; }
  int64_t block() const { return limits_.block; }
  bool holds_any() const { return pool_.slots() > 0; }
  int64_t states() const { return std::ssize(with_state_); }
  int64_t bytes() const { return states() * pool_.layout().bytes() + token_bytes_; }

 private:
  struct Edge {
    std::string reduction;
    std::vector<int32_t> ids;

    auto operator<=>(const Edge&) const = default;
  };
  struct Node {
    Node* parent = nullptr;
    std::map<Edge, Node> children;  // by the next step
    int32_t slot = -1;
    Reading reading;
    int64_t used = 0;  // when
  };

  static Edge EdgeOf(const PrefixStep& step);
  static int64_t BytesOf(const Edge& edge);
  void DropOldest();

  const Limits limits_;
  StatePool pool_;
  Node root_;
  std::vector<Node*> with_state_;
  int64_t token_bytes_ = 0;
  int64_t now_ = 0;
};

}  // namespace pith

#endif  // PITH_ENGINE_PREFIX_CACHE_H_
