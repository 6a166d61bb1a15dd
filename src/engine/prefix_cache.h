// States of prompts that were read, for prompts that begin alike.
#ifndef PITH_ENGINE_PREFIX_CACHE_H_
#define PITH_ENGINE_PREFIX_CACHE_H_

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "model/state_pool.h"

namespace pith {

// A tree over blocks of token ids. Some of its nodes have the state that a sequence is left in by
// the tokens up to there, read without a reduction; every leaf has one. A block is an SSD chunk: a
// pass that is cut between two of them has the bits of one that is not, so a prompt that goes on
// from a state here gets what it gets without. Not shared between threads.
class PrefixCache {
 public:
  // Room for `states` states, which may be 0.
  PrefixCache(const Model& model, const Exec& exec, int64_t states, int64_t block);

  struct Found {
    int64_t tokens = 0;  // of the longest beginning that has a state; 0: none has
    int32_t slot = -1;   // of pool(), until the next Add
    int64_t shared = 0;  // of the longest beginning that others have too; a state there would serve
  };
  // Longer ones than `most` tokens are not looked for. O(most).
  Found Find(std::span<const int32_t> ids, int64_t most);
  // Keeps slot `from` of `pool` as the state after `ids`, whole blocks; the state that was used
  // longest ago goes where there is no room.
  void Add(std::span<const int32_t> ids, const StatePool& pool, int32_t from);

  const StatePool& pool() const { return pool_; }
  int64_t block() const { return block_; }
  bool holds_any() const { return pool_.slots() > 0; }

 private:
  struct Node {
    Node* parent = nullptr;
    std::map<std::vector<int32_t>, Node> children;  // by the next block
    int32_t slot = -1;
    int64_t used = 0;  // when
  };

  void DropOldest();

  const int64_t block_;
  StatePool pool_;
  Node root_;
  std::vector<Node*> with_state_;
  int64_t now_ = 0;
};

}  // namespace pith

#endif  // PITH_ENGINE_PREFIX_CACHE_H_
