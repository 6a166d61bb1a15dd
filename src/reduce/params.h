// The key=value options of one reduction, read with a check of each value.
#ifndef PITH_REDUCE_PARAMS_H_
#define PITH_REDUCE_PARAMS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pith {

// Messages read "METHOD: KEY: got 'VALUE', expected …". Refers to the map it was made from.
class ParamReader {
 public:
  ParamReader(std::string method, const std::map<std::string, std::string>& params)
      : method_(std::move(method)), params_(&params) {}

  bool Has(const std::string& key) const { return params_->contains(key); }
  int64_t Int(const std::string& key, int64_t min, int64_t max, int64_t fallback) const;
  // A finite number that lies in [min, max].
  double Number(const std::string& key, double min, double max, double fallback) const;
  // The index of the value among `names`.
  size_t Choice(const std::string& key, const std::vector<std::string_view>& names,
                size_t fallback) const;
  std::string Text(const std::string& key, const std::string& fallback) const;
  const std::map<std::string, std::string>& all() const { return *params_; }
  // Layers such as 0+2-3+5 below `n_layer`, in increasing order; nothing where the key is absent.
  std::vector<int> Layers(const std::string& key, int64_t n_layer) const;

  // Throws kInvalidArgument.
  [[noreturn]] void Fail(const std::string& key, std::string_view expected) const;

 private:
  const std::string* Find(const std::string& key) const;

  std::string method_;
  const std::map<std::string, std::string>* params_;
};

}  // namespace pith

#endif  // PITH_REDUCE_PARAMS_H_
