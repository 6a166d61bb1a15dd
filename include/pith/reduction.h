// A reduction, compiled once for a model and handed to every call that reads a context.
#ifndef PITH_REDUCTION_H_
#define PITH_REDUCTION_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pith {

// How a context is reduced (docs/reductions.md). Const and cheap to copy; Engine::Compile makes one
// from text. Decode steps and scored continuations are never reduced.
class Reduction {
 public:
  Reduction();  // `none`, for any model

  // The canonical spelling, with overriding sites; Compile reads it back to the same.
  const std::string& text() const;
  const std::string& method() const;
  std::optional<double> wanted() const;    // N of `@N%`, as a share
  std::vector<std::string> files() const;  // that it was made from, by their paths

  bool none() const;
  // Whether what it does depends on the length of the context (`auto`).
  bool by_length() const;
  // What it is in a context of `tokens`: itself, unless by_length().
  Reduction For(int64_t tokens) const;

  struct Impl;  // the library's
  explicit Reduction(std::shared_ptr<const Impl> impl);
  const Impl& impl() const { return *impl_; }

 private:
  std::shared_ptr<const Impl> impl_;
};

struct CompileOptions {
  std::vector<int> sites;   // layers after which to reduce; empty: the method's default
  bool full_flops = false;  // count layers and head for "@N%", not the layers alone
  // False, for texts from a network: one that names a file is refused (kInvalidArgument), unread.
  bool may_read_files = true;
};

// A reduction method as `pith plan --list` and docs/reductions.md list it.
struct MethodInfo {
  struct Key {
    std::string name;
    std::string fallback;
    std::string meaning;
  };
  std::string name;
  std::string description;
  std::vector<Key> keys;
};
std::vector<MethodInfo> ListReductions();

// The paper's sites for 64 layers (12, 17, …, 42) and 48 layers (10, 15, …, 35). Any other depth L:
// 5, 7, 9, 11, 13, 15 times L / 24, rounded to nearest, each once, below the last layer; a single
// layer has site 0.
std::vector<int> DefaultSites(int64_t n_layer);
std::string JoinSites(std::span<const int> sites);  // "5+7+9", as in a reduction

// Where skim stands in a context of `tokens` unless told otherwise.
struct SkimDefaults {
  int64_t window = 0;  // last tokens that pass all layers
  int64_t chunk = 0;   // tokens per chunk of far writes
};
SkimDefaults SkimDefaultsFor(int64_t tokens);

}  // namespace pith

#endif  // PITH_REDUCTION_H_
