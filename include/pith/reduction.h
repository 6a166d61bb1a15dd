// A reduction, compiled once for a model and handed to every call that reads a context.
#ifndef PITH_REDUCTION_H_
#define PITH_REDUCTION_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace pith {

// How a context is reduced (docs/reductions.md). Const and cheap to copy; Engine::Compile makes one
// from text. Decode steps and scored continuations are never reduced.
class Reduction {
 public:
  Reduction();  // `none`, for any model

  // The canonical spelling, with overriding sites; Compile reads it back to the same.
  const std::string& text() const;
  const std::string& method() const;
  std::optional<double> wanted() const;  // N of `@N%`, as a share

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

}  // namespace pith

#endif  // PITH_REDUCTION_H_
